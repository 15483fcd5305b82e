"""DHCP snippets: what people add to what DHCP says, checked before it is saved, with its history.

A snippet that a checker refuses is never saved.  One that no checker could judge is saved only by force, and says so
(`checked` is false) until it is checked.  A snippet of a scope is structure: it reaches racks by an offer, which checks it
again, asks as a client and takes it back when that fails.  A machine's snippets go with its host records, at once.
What a snippet says is in no audit row and no log: people put secrets there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import daemon_check, snippet_check, snippet_rules, versions
from app.services.changes import audit, changing, touch_racks
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound, TooMany
from app.services.host_options import forget_options, put_hosts_of_machine, subnets_of_machine
from app.services.snippet_check import Verdict
from app.services.snippet_rules import Draft
from app.services.subnets import address_lock
from app.services.vlans import refuse_unknown
from app.store.locks import hold
from app.store.models import DhcpSnippet, DhcpSnippetRevision
from app.store.queries.page import page
from renderers.dhcp.catalogue import CATALOGUE
from renderers.dhcp.values import WORDS

CHANGEABLE = ("name", "description", "body", "enabled")
REVISIONS_KEPT = 100
LOCK = "dhcp-snippets"


def find(context: Context, after: int | None = None, limit: int | None = None, **wanted: Any) -> list[DhcpSnippet]:
    """A page of snippets by id. wanted: name, kind, scope, enabled, checked, and the ids of targets."""
    context.require("admin", "see DHCP snippets")
    asked = {column: value for column, value in wanted.items() if value is not None}
    with context.store.read() as session:
        return list(session.scalars(page(select(DhcpSnippet).filter_by(**asked), DhcpSnippet.id, after, limit)))


def get(context: Context, snippet_id: int) -> DhcpSnippet:
    """One snippet. NotFound when there is none."""
    context.require("admin", "see DHCP snippets")
    with context.store.read() as session:
        return _row(session, snippet_id)


def revisions(
    context: Context, snippet_id: int, after: int | None = None, limit: int | None = None
) -> list[DhcpSnippetRevision]:
    """A page of a snippet's bodies as they were, oldest first; the last one is the present one."""
    context.require("admin", "see DHCP snippets")
    statement = select(DhcpSnippetRevision).where(DhcpSnippetRevision.snippet_id == snippet_id)
    with context.store.read() as session:
        _row(session, snippet_id)
        return list(session.scalars(page(statement, DhcpSnippetRevision.id, after, limit)))


def check(
    context: Context,
    kind: str,
    scope: str,
    body: str,
    *,
    snippet_id: int | None = None,
    **targets: int | None,
) -> Verdict:
    """What the checkers say of a snippet; nothing is saved. snippet_id: the one whose place it takes."""
    context.require("admin", "check a DHCP snippet")
    made = replace(snippet_rules.draft(kind, scope, body, targets), snippet_id=snippet_id or 0)
    return _judge(context, made)


def create(
    context: Context,
    name: str,
    kind: str,
    scope: str,
    body: str,
    *,
    description: str = "",
    enabled: bool = True,
    force: bool = False,
    **targets: int | None,
) -> DhcpSnippet:
    """A new snippet. Invalid when a checker refuses it; Conflict when none could judge it and it is not forced."""
    context.require("admin", "add a DHCP snippet")
    made = snippet_rules.draft(kind, scope, body, targets, name)
    verdict = _judge(context, made)
    checked, by = _accept(verdict, force), _who(verdict)
    with changing(context) as session:
        hold(session, LOCK)
        snippet_rules.families_of(session, made)
        _refuse_taken(session, name, 0)
        row = DhcpSnippet(
            name=name, kind=kind, scope=scope, body=made.body, description=description, enabled=enabled, checked=checked,
            checked_by=by,
            created_at=context.clock(), **targets,
        )  # fmt: skip
        session.add(row)
        session.flush()
        _remember(session, context, row)
        _reach(session, made)
        audit(
            session,
            context,
            "create",
            "dhcp_snippet",
            row.id,
            name=name,
            kind=kind,
            scope=scope,
            checked=checked,
            by=by,
        )
        return row


def update(context: Context, snippet_id: int, *, force: bool = False, **changes: Any) -> DhcpSnippet:
    """Change a snippet's name, description, body or whether it is enabled. A new body, and enabling, are checked first."""
    context.require("admin", "change a DHCP snippet")
    refuse_unknown("a DHCP snippet", changes, CHANGEABLE)
    before = get(context, snippet_id)
    made = snippet_rules.of_row(before)
    body, name = changes.get("body", made.body), changes.get("name", made.name)
    made = replace(snippet_rules.draft(made.kind, made.scope, body, _targets(before), name), snippet_id=snippet_id)
    if "body" in changes:
        changes["body"] = made.body
    newly = "body" in changes or (changes.get("enabled") and not before.enabled)
    checked, by = before.checked, before.checked_by
    if newly:
        verdict = _judge(context, made)
        checked, by = _accept(verdict, force), _who(verdict)
    with changing(context) as session:
        hold(session, LOCK)
        row = _row(session, snippet_id)
        versions.check(context, row, f"snippet {row.name}")
        if newly and (row.body, row.revision) != (before.body, before.revision):
            raise Conflict(
                f"snippet {row.name} was changed while this change was checked; look at it and try again",
                rule="what is saved is what was checked",
            )
        if "name" in changes:
            _refuse_taken(session, changes["name"], row.id)
        said = {key: [getattr(row, key), value] for key, value in changes.items() if key not in ("body", "description")}
        other_body = changes.get("body", row.body) != row.body
        for key, value in changes.items():
            setattr(row, key, value)
        row.checked, row.checked_by = checked, by
        if other_body:
            row.revision += 1
            _remember(session, context, row)
            said["revision"] = [row.revision - 1, row.revision]
        session.flush()
        if other_body or "enabled" in changes:
            _reach(session, made)
        audit(session, context, "update", "dhcp_snippet", row.id, name=row.name, checked=checked, **_but_name(said))
        return row


def revert(context: Context, snippet_id: int, revision: int, *, force: bool = False) -> DhcpSnippet:
    """Make a former body the present one, checked as any other; it becomes a new revision."""
    context.require("admin", "revert a DHCP snippet")
    with context.store.read() as session:
        row = _row(session, snippet_id)
        old = session.scalar(
            select(DhcpSnippetRevision).where(
                DhcpSnippetRevision.snippet_id == snippet_id, DhcpSnippetRevision.revision == revision
            )
        )
        if old is None:
            raise NotFound(
                f"snippet {row.name} has no revision {revision}; it is at {row.revision}, and the last {REVISIONS_KEPT} are kept",
                field="revision",
            )
    return update(context, snippet_id, force=force, body=old.body)


def delete(context: Context, snippet_id: int) -> None:
    """Delete a snippet with its history; what it has added goes."""
    context.require("admin", "delete a DHCP snippet")
    with changing(context) as session:
        hold(session, LOCK)
        row = _row(session, snippet_id)
        versions.check(context, row, f"snippet {row.name}")
        made = snippet_rules.of_row(row)
        audit(session, context, "delete", "dhcp_snippet", row.id, name=row.name, kind=row.kind, scope=row.scope)
        session.delete(row)
        session.flush()
        _reach(session, made)


def options() -> list[dict[str, Any]]:
    """The options that have a name, for people who write snippets."""
    return [
        {"name": entry.name, "family": entry.family, "code": entry.code, "value": WORDS[entry.kind]}
        for entry in CATALOGUE.values()
    ]


def _judge(context: Context, made: Draft) -> Verdict:
    try:
        return snippet_check.judge(context, made)
    except daemon_check.Busy as error:
        raise TooMany(
            f"{error}; try again soon", retry_seconds=2, rule=f"at most {daemon_check.AT_ONCE} checks at once"
        ) from error


def _accept(verdict: Verdict, force: bool) -> bool:
    """Whether it counts as checked. Invalid when it is refused, Conflict when it was not judged and is not forced."""
    if verdict.findings:
        first = verdict.findings[0]
        who = f"{first.program} for rack {first.rack}: " if first.program else ""
        where = f"line {first.line}: " if first.line is not None and not first.message.startswith("line ") else ""
        raise Invalid(
            f"{where}{who}{first.message}", field="body", rule="what is saved is good in the server's own eyes"
        )
    if verdict.unchecked and not verdict.checked and not force:
        raise Conflict(
            f"nobody could check this snippet: {'; '.join(verdict.unchecked)}",
            rule="what is saved has been checked",
            remedy="have one of these racks running (racks are asked where this host has no such server), install the server's"
            " package on this host, or save it by force: racks check it before they use it",
        )
    return not verdict.unchecked


def _who(verdict: Verdict) -> str | None:
    return "; ".join(verdict.checked) or None


def _row(session: Session, snippet_id: int) -> DhcpSnippet:
    row = session.get(DhcpSnippet, snippet_id)
    if row is None:
        raise NotFound(f"there is no DHCP snippet {snippet_id}", field="snippet_id")
    return row


def _refuse_taken(session: Session, name: str, own_id: int) -> None:
    taken = session.scalar(select(DhcpSnippet.id).where(DhcpSnippet.name == name, DhcpSnippet.id != own_id))
    if taken is not None:
        raise Conflict(
            f"snippet {name!r} is there already (id {taken}); choose another name or change that one",
            field="name",
            rule="names of snippets are unique",
        )


def _remember(session: Session, context: Context, row: DhcpSnippet) -> None:
    """Keep the body as a revision, and forget what is too old."""
    session.add(
        DhcpSnippetRevision(
            snippet_id=row.id, revision=row.revision, body=row.body, actor=context.actor.name, at=context.clock()
        )
    )
    session.execute(
        sa.delete(DhcpSnippetRevision).where(
            DhcpSnippetRevision.snippet_id == row.id, DhcpSnippetRevision.revision <= row.revision - REVISIONS_KEPT
        )
    )


def _reach(session: Session, made: Draft) -> None:
    """Have what the snippet is about rendered anew: the racks of its scope, or the machine's hosts."""
    if made.scope == "machine":
        for subnet_id in subnets_of_machine(session, made.target_id):
            hold(session, address_lock(subnet_id))
        forget_options(session)
        put_hosts_of_machine(session, made.target_id)
    else:
        touch_racks(session, snippet_rules.racks_of(session, made))


def _targets(row: DhcpSnippet) -> dict[str, int | None]:
    return {column: getattr(row, column) for column in snippet_rules.TARGETS.values()}


def _but_name(said: dict[str, Any]) -> dict[str, Any]:
    return {("renamed" if key == "name" else key): value for key, value in said.items()}
