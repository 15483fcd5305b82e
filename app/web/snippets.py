"""DHCP snippets: the list, one with its history, and the form that says as one types what the servers' checkers think."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from app.identity import current_context
from app.services import machines, ranges, snippets, subnets, vlans
from app.services.context import Context
from app.services.errors import Forbidden, Invalid, ServiceError, Unauthorized
from app.services.snippet_check import Verdict
from app.services.snippet_rules import KINDS, TARGETS
from app.web.forms import LARGEST, Answer, Field, Form, after_id, ask, both, removal

BACK = ("/snippets", "DHCP snippets")
SNIPPET = f"/snippets/<int(max={LARGEST}):snippet_id>"
PAGE = 100
WORDS = {
    "option": "option, for every server: NAME VALUE, one on a line",
    "kea4": "kea4: a JSON object for Kea, DHCPv4",
    "kea6": "kea6: a JSON object for Kea, DHCPv6",
    "dhcpd": "dhcpd: text of dhcpd.conf",
}


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/snippets", "snippet_list", snippet_list)
    blueprint.add_url_rule(SNIPPET, "snippet_page", snippet_page)
    both(blueprint, "/snippets/new", snippet_new)
    both(blueprint, "/snippets/<#snippet_id>/edit", snippet_edit)
    both(blueprint, "/snippets/<#snippet_id>/delete", snippet_delete)
    blueprint.add_url_rule("/snippets/check", "snippet_check_new", check_new, methods=["POST"])
    blueprint.add_url_rule(f"{SNIPPET}/check", "snippet_check", check, methods=["POST"])
    blueprint.add_url_rule(f"{SNIPPET}/switch", "snippet_switch", switch, methods=["POST"])
    blueprint.add_url_rule(f"{SNIPPET}/revert", "snippet_revert", revert, methods=["POST"])


def snippet_list() -> str:
    """A page of snippets."""
    context = current_context()
    after = after_id()
    found = snippets.find(context, after, PAGE)
    places = _places(context)
    return render_template(
        "snippets.html",
        context=context,
        rows=[(row, _place(row, places)) for row in found],
        first_page="/snippets" if after else None,
        next_page=f"/snippets?after={found[-1].id}" if len(found) == PAGE else None,
    )


def snippet_page(snippet_id: int) -> str:
    """One snippet with what it has said, newest first."""
    context = current_context()
    row = snippets.get(context, snippet_id)
    history = snippets.revisions(context, snippet_id, limit=snippets.REVISIONS_KEPT)
    return render_template(
        "_snippet_live.html" if request.headers.get("HX-Request") else "snippet.html",
        context=context, snippet=row, history=history[::-1], place=_place(row, _places(context)),
    )  # fmt: skip


def snippet_new() -> Answer:
    """Add a snippet."""
    context = current_context()
    context.require("admin", "add a DHCP snippet")
    places = (*_places(context).items(), ("machine", "a machine"))
    fields = (
        Field("name", "Name", required=True, empty=""),
        Field("kind", "Kind", "choice", "option", choices=tuple((kind, WORDS[kind]) for kind in KINDS), empty=""),
        Field("place", "For", "choice", request.args.get("place", "global"), choices=places, empty=""),
        Field("machine", "Machine", help="Its name, when the snippet is for a machine."),
        *_fields(),
        Field("enabled", "Enabled", "check", True),
        _force(),
    )
    form = Form("Add a DHCP snippet", "Check and add", BACK, fields, watch="/snippets/check")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        scope, targets = _targets(context, given.pop("place"), given.pop("machine"))
        words = {name: given[name] for name in ("description", "enabled", "force")}
        row = snippets.create(context, given["name"], given["kind"], scope, given["body"], **words, **targets)
        return f"/snippets/{row.id}", f"Snippet {row.name} was added."

    return ask(form, "admin", "add a DHCP snippet", call)


def snippet_edit(snippet_id: int) -> Answer:
    """Change a snippet; another body is checked first, and the present one kept in its history."""
    row = snippets.get(current_context(), snippet_id)
    back = (f"/snippets/{row.id}", row.name)
    fields = (Field("name", "Name", value=row.name, required=True, empty=""), *_fields(row), _force())
    intro = f"This is {WORDS[row.kind]}."
    watch = f"/snippets/{row.id}/check"
    form = Form(f"Edit snippet {row.name}", "Check and save", back, fields, intro, watch=watch, of=row)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        if given["body"] == row.body:
            del given["body"]
        return back[0], f"Snippet {snippets.update(context, snippet_id, **given).name} was changed."

    return ask(form, "admin", "change a DHCP snippet", call)


def snippet_delete(snippet_id: int) -> Answer:
    """Delete a snippet."""
    row = snippets.get(current_context(), snippet_id)
    form = removal(f"snippet {row.name}", (f"/snippets/{row.id}", row.name), "Its history goes with it.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        snippets.delete(context, snippet_id)
        return "/snippets", f"Snippet {row.name} was deleted."

    return ask(form, "admin", "delete a DHCP snippet", call)


def check_new() -> str:
    """What the checkers say of a snippet that is being written."""
    context = current_context()
    context.require("admin", "check a DHCP snippet")

    def judge() -> Verdict:
        scope, targets = _targets(context, request.form.get("place", ""), request.form.get("machine", "").strip())
        return snippets.check(context, request.form.get("kind", ""), scope, request.form.get("body", ""), **targets)

    return _verdict(judge)


def check(snippet_id: int) -> str:
    """What the checkers say of another body of a snippet."""
    context = current_context()
    row = snippets.get(context, snippet_id)
    targets = {column: getattr(row, column) for column in TARGETS.values()}
    body = request.form.get("body", "")
    return _verdict(lambda: snippets.check(context, row.kind, row.scope, body, snippet_id=row.id, **targets))


def switch(snippet_id: int) -> Response | str:
    """Switch a snippet on or off."""
    snippets.update(current_context(), snippet_id, enabled=request.form.get("enabled") == "on")
    return _back(snippet_id)


def revert(snippet_id: int) -> Response | str:
    """Make a former body the present one."""
    context = current_context()
    context.require("admin", "revert a DHCP snippet")
    text = request.form.get("revision", "")
    if not text.isdecimal() or len(text) > 9:
        raise Invalid(f"revision {text[:64]!r}: write a whole number", field="revision", rule="a whole number")
    snippets.revert(context, snippet_id, int(text))
    return _back(snippet_id)


def _verdict(judge: Callable[[], Verdict]) -> str:
    try:
        return render_template("_verdict.html", verdict=judge(), refusal=None)
    except (Unauthorized, Forbidden):
        raise
    except ServiceError as refusal:
        return render_template("_verdict.html", verdict=None, refusal=refusal)


def _back(snippet_id: int) -> Response | str:
    return snippet_page(snippet_id) if request.headers.get("HX-Request") else redirect(f"/snippets/{snippet_id}")


def _fields(row: Any = None) -> tuple[Field, ...]:
    return (
        Field("body", "Body", "area", row.body if row else "", required=True, empty=""),
        Field("description", "Description", value=row.description if row else "", empty=""),
    )


def _force() -> Field:
    words = "Racks check it before they use it. What a checker refuses is never saved."
    return Field("force", "Save it even if no checker is at hand", "check", False, words)


def _targets(context: Context, place: str, machine: str | None) -> tuple[str, dict[str, Any]]:
    """Scope and target of what was chosen."""
    scope, _, number = place.partition(":")
    if scope == "machine":
        if not machine:
            raise Invalid(
                "machine: which one is the snippet for? Write its name", field="machine", rule="a scope has a target"
            )
        return scope, {"machine_id": machines.get(context, machine).id}
    if scope in TARGETS and number.isdecimal() and len(number) <= 15:
        return scope, {TARGETS[scope]: int(number)}
    return scope, {}


def _places(context: Context) -> dict[str, str]:
    """What a snippet may be for but machines, by the value that stands for it."""
    found = {"global": "everything"}
    found |= {f"vlan:{row.id}": f"VLAN {row.fabric.name}, {row.name} ({row.vid})" for row in vlans.find(context)}
    found |= {f"subnet:{row.id}": f"subnet {row.cidr}" for row in subnets.find(context)}
    found |= {
        f"range:{row.id}": f"range {row.start} - {row.end}" for row in ranges.find(context) if row.kind == "dynamic"
    }
    return found


def _place(row: Any, places: dict[str, str]) -> str:
    """What a snippet is for, in words."""
    if row.scope == "machine":
        return "a machine"
    scope = str(row.scope)
    column = TARGETS.get(scope)
    return places.get(f"{scope}:{getattr(row, column)}" if column else scope, scope)
