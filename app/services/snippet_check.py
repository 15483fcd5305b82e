"""Has the DHCP servers' own checkers judge a snippet before it is saved: as the affected racks would have it rendered.

The configuration of each rack is made from one snapshot, with the draft in its place, and checked on this host
(`app.services.daemon_check`); where that has no such server, the rack itself is asked, for whose answer the caller waits
some seconds.  What a checker says is brought back to the line of the snippet where that can be told.
A rack whose configuration is refused without the draft too does not say who is at fault, and is told so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from app.services import daemon_check, rack_questions, snippet_rules
from app.services.context import Context
from app.services.errors import Unanswered
from app.services.snippet_rules import Draft
from app.store.dhcp_intent import Scope, place, snippets_in
from app.store.intent import load_intent
from renderers import registry
from renderers.bundle import Bundle
from renderers.dhcp import kea_options
from renderers.dhcp.options import BodyError, parse
from renderers.intent import RackIntent, SnippetIntent

ASK_SECONDS = 8.0
"""How long a rack's answer is waited for."""
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
        intents, more = _intents(session, draft)
    if not intents:
        return Verdict(unchecked=("no enrolled rack serves DHCP there yet; racks check it before they use it",))
    findings: dict[str, Finding] = {}
    checked: list[str] = []
    unchecked: list[str] = []
    for found in _answers(context, intents, draft):
        if isinstance(found, Finding):
            findings.setdefault(found.message, found)
        else:
            (checked if not found.startswith("!") else unchecked).append(found.lstrip("!"))
    if more:
        unchecked.append(f"{more} more rack{'s' if more > 1 else ''}, to check it before they use it")
    if not findings and not checked and not unchecked:
        unchecked.append("no rack there runs a server that reads it")
    return Verdict(tuple(findings.values()), tuple(dict.fromkeys(checked)), tuple(dict.fromkeys(unchecked)))


def _intents(session: Session, draft: Draft) -> tuple[list[tuple[RackIntent, RackIntent]], int]:
    """What racks serve without and with the draft, and how many more there are."""
    rack_ids = snippet_rules.racks_of(session, draft)
    if draft.scope == "machine" and not rack_ids:  # It is in no network yet that is served: any rack can judge it.
        rack_ids = snippet_rules.racks_of(session, replace(draft, scope="global"))[:1]
    made = SnippetIntent(draft.snippet_id, draft.name, draft.kind, draft.body)
    pairs = []
    for rack_id in rack_ids[:MOST_RACKS]:
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
    return pairs, len(rack_ids) - len(pairs)


@dataclass(frozen=True)
class _Case:
    """One service of one rack, rendered with the draft and without."""

    before: RackIntent
    rack: str
    bundle: Bundle

    @property
    def service(self) -> str:
        return self.bundle.service


def _answers(context: Context, intents: list[tuple[RackIntent, RackIntent]], draft: Draft) -> Iterator[Finding | str]:
    """Findings; who has judged; with `!` before it, what nobody has judged and why."""
    here: list[_Case] = []
    elsewhere: list[_Case] = []
    seen: set[str] = set()
    for before, after in intents:
        for service in SERVICES[draft.kind]:
            spec = next((one for one in registry.services() if one.name == service), None)
            if spec is None or not spec.wanted(after):
                continue
            try:
                bundle = spec.render(after)
            except ValueError as error:
                yield Finding(str(error), error.line if isinstance(error, BodyError) else None, after.rack_name)
                continue
            if bundle.digest not in seen:
                seen.add(bundle.digest)
                case = _Case(before, after.rack_name, bundle)
                (here if daemon_check.installed(service) else elsewhere).append(case)
    for case in here:
        yield _meaning(
            draft, case, daemon_check.judge(case.bundle, _reservations(case.service, draft)), "", _judge_here
        )
    if elsewhere:
        yield from _ask_racks(context, elsewhere, draft)


def _judge_here(bundle: Bundle) -> bool:
    return daemon_check.judge(bundle, []).ok


def _ask_racks(context: Context, cases: list[_Case], draft: Draft) -> Iterator[Finding | str]:
    """The same from the racks' own checkers, all at once; a rack with two such services is asked about one after the other."""
    for service in dict.fromkeys(case.service for case in cases):
        mine = [case for case in cases if case.service == service]
        texts = {
            case.before.rack_id: daemon_check.prepared(case.bundle, _reservations(service, draft)) for case in mine
        }
        replies = _ask(context, service, texts)
        for case in mine:
            reply = replies[case.before.rack_id]
            if reply.answer is None:
                program = daemon_check.CHECKERS[service].program
                yield f"!{program} is not on this host, and rack {case.rack} did not judge it: {reply.reason}"
                continue
            said = _heard(service, texts[case.before.rack_id], reply)

            def judge(bundle: Bundle, rack_id: int = case.before.rack_id, service: str = service) -> bool:
                text = daemon_check.prepared(bundle, [])
                reply = _ask(context, service, {rack_id: text})[rack_id]
                return reply.answer is None or _heard(service, text, reply).ok

            yield _meaning(draft, case, said, ", on that rack", judge)


def _ask(context: Context, service: str, texts: dict[int, str]) -> dict[int, rack_questions.Reply]:
    file = daemon_check.CHECKERS[service].file
    bodies = {rack_id: {"service": service, "file": file, "text": text} for rack_id, text in texts.items()}
    try:
        return rack_questions.ask(context, rack_questions.CHECK, bodies, ASK_SECONDS)
    except Unanswered as error:
        return {rack_id: rack_questions.Reply("", None, error.detail) for rack_id in texts}


def _heard(service: str, text: str, reply: rack_questions.Reply) -> daemon_check.Judgement:
    answer = reply.answer or {}
    return daemon_check.judgement(service, text, answer.get("ok") is True, str(answer.get("said", "")))


def _meaning(
    draft: Draft, case: _Case, said: daemon_check.Judgement, where: str, is_good: Callable[[Bundle], bool]
) -> Finding | str:
    """Who has judged, or what is wrong; a rack whose configuration is refused without the draft too is said to be."""
    if said.ok:
        return f"{said.program} for {case.rack}{where}"
    spec = registry.service(case.service)
    if draft.scope != "machine" and not is_good(spec.render(case.before)):
        return Finding(
            f"{said.said} (it refuses the configuration without this snippet too: mend or disable what is wrong first)",
            None, case.rack, said.program,
        )  # fmt: skip
    return Finding(said.said, _line(draft, said), case.rack, said.program)


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
