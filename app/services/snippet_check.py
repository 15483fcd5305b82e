"""Has the DHCP servers' own checkers judge a snippet before it is saved: as the affected racks would have it rendered.

The configuration of each rack is made from one snapshot, with the draft in its place, and checked on this host
(`app.services.daemon_check`).  What a checker says is brought back to the line of the snippet where that can be told.
A rack whose configuration is refused without the draft too does not say who is at fault, and is told so.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from app.services import daemon_check, snippet_rules
from app.services.context import Context
from app.services.snippet_rules import Draft
from app.store.dhcp_intent import Scope, place, snippets_in
from app.store.intent import load_intent
from renderers import registry
from renderers.dhcp import kea_options
from renderers.dhcp.options import BodyError, parse
from renderers.intent import RackIntent, SnippetIntent

MOST_RACKS = 16
"""So many racks are asked about; the others check for themselves before they use it."""
NEAR = 14
"""So many rendered lines around the place that a checker names are looked at."""
SERVICES = {
    "option": ("kea4", "kea6", "dhcpd", "dhcpd6"),
    "kea4": ("kea4",),
    "kea6": ("kea6",),
    "dhcpd": ("dhcpd", "dhcpd6"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. line: of the snippet's body; rack and program: who says so, empty for Muster itself."""

    message: str
    line: int | None = None
    rack: str = ""
    program: str = ""


@dataclass(frozen=True)
class Verdict:
    """What came of a check. checked: `program on rack` for each that was judged; unchecked: what was not, and why."""

    findings: tuple[Finding, ...] = ()
    checked: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing is wrong, as far as it was checked."""
        return not self.findings


def judge(context: Context, draft: Draft) -> Verdict:
    """Check a draft; nothing is saved. NotFound when its target is not there."""
    with context.store.read() as session:
        families = snippet_rules.families_of(session, draft)
        try:
            snippet_rules.read_body(draft, families)
        except BodyError as error:
            return Verdict((Finding(str(error), error.line),))
        intents = _intents(session, draft)
    if not intents:
        return Verdict(unchecked=("no enrolled rack serves DHCP there yet; racks check it before they use it",))
    findings: dict[str, Finding] = {}
    checked: list[str] = []
    unchecked: list[str] = []
    seen: set[str] = set()
    for before, after in intents[:MOST_RACKS]:
        for service in SERVICES[draft.kind]:
            found = _of_service(service, before, after, draft, seen)
            if isinstance(found, Finding):
                findings.setdefault(found.message, found)
            elif found is not None:
                (checked if not found.startswith("!") else unchecked).append(found.lstrip("!"))
    if len(intents) > MOST_RACKS:
        unchecked.append(f"{len(intents) - MOST_RACKS} more racks; they check it before they use it")
    if not findings and not checked and not unchecked:
        unchecked.append("no rack there runs a server that reads it")
    return Verdict(tuple(findings.values()), tuple(dict.fromkeys(checked)), tuple(dict.fromkeys(unchecked)))


def _intents(session: Session, draft: Draft) -> list[tuple[RackIntent, RackIntent]]:
    """What each rack serves without and with the draft; a machine's draft is tried on the racks of all VLANs it is in."""
    rack_ids = snippet_rules.racks_of(session, draft if draft.scope != "machine" else replace(draft, scope="global"))
    made = SnippetIntent(draft.snippet_id, draft.name, draft.kind, draft.body)
    pairs = []
    for rack_id in rack_ids:
        intent = load_intent(session, rack_id)
        others = {
            scope: tuple(one for one in found if not draft.snippet_id or one.snippet_id != draft.snippet_id)
            for scope, found in snippets_in(intent).items()
        }
        before = place(intent, others)
        if draft.scope == "machine":
            pairs.append((before, before))
            continue
        scope: Scope = (draft.scope, draft.target_id)
        mine = sorted((*others.get(scope, ()), made), key=lambda one: (one.snippet_id == 0, one.snippet_id))
        pairs.append((before, place(intent, {**others, scope: tuple(mine)})))
    return pairs[: MOST_RACKS + 1] if draft.scope != "machine" else pairs[:1]


def _of_service(
    service: str, before: RackIntent, after: RackIntent, draft: Draft, seen: set[str]
) -> Finding | str | None:
    """A finding; who has judged it; with `!` before it, why nobody did; None when the rack has no such service."""
    spec = next((one for one in registry.services() if one.name == service), None)
    if spec is None or not spec.wanted(after):
        return None
    rack = after.rack_name
    try:
        bundle = spec.render(after)
    except ValueError as error:
        return Finding(str(error), error.line if isinstance(error, BodyError) else None, rack)
    if not daemon_check.installed(service):
        program = daemon_check.CHECKERS[service].program
        return f"!{program} is not on this host, so {rack}'s configuration was not judged by it"
    if bundle.digest in seen:
        return None
    seen.add(bundle.digest)
    said = daemon_check.judge(bundle, _reservations(service, draft))
    if said.ok:
        return f"{said.program} for {rack}"
    if draft.scope != "machine" and not daemon_check.judge(spec.render(before), []).ok:
        return Finding(
            f"{said.said} (it refuses the configuration without this snippet too: mend or disable what is wrong first)",
            None, rack, said.program,
        )  # fmt: skip
    return Finding(said.said, _line(draft, said), rack, said.program)


def _reservations(service: str, draft: Draft) -> list[dict[str, Any]]:
    """A host that has a machine's options, for Kea to read."""
    if draft.scope != "machine" or not service.startswith("kea"):
        return []
    family = 6 if service == "kea6" else 4
    mine = [kea_options.of(option) for option in parse(draft.body, "machine") if option.family == family]
    return [{"hw-address": "02:00:00:00:00:01", "hostname": "checked", "option-data": mine}]


def _line(draft: Draft, said: daemon_check.Judgement) -> int | None:
    """The line of the body that the checker means, as near as can be told.

    Its place is often that of the object around what is wrong.  So of the rendered lines near it, the first choice is one
    whose words the checker repeats, then the place itself, then what follows, then what is before.
    """
    if said.line is None:
        return None
    lines = said.text.splitlines()
    at = said.line - 1
    near = [at, *range(at + 1, min(at + NEAR, len(lines))), *range(at - 1, max(at - NEAR, -1), -1)]
    words = {number: _words(lines[number]) for number in near if number < len(lines)}
    told = [number for number in near if any(len(word) > 1 and word in said.said for word in words.get(number, ()))]
    for number in (*told, *near):
        found = _in_body(draft, words.get(number, []))
        if found is not None:
            return found
    return None


def _words(text: str) -> list[str]:
    """JSON strings of a line of Kea's file; the whole line of another file."""
    if found := re.findall(r'"(?:[^"\\]|\\.)*"', text):
        return [str(json.loads(word)) for word in found]
    return [] if text.strip() in ("{", "}", "},", "[", "]", "],", "") else [text.strip()]


def _in_body(draft: Draft, words: list[str]) -> int | None:
    """The line that holds all these words; of an option, the line that it was rendered from."""
    for number, line in enumerate(draft.body.splitlines(), 1):
        if words and all(word and word in line for word in words):
            return number
        if draft.kind == "option" and words[:1] == ["comment"] and words[-1].split() == line.split():
            return number
    return None
