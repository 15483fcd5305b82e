"""What is deleted because it is old or too much, and what never is.

Everything goes in small batches of rows, each in a transaction of its own, so that whoever changes something meanwhile waits
for one batch at most.  Rows are walked by id, memory does not grow with them, and a run that is stopped has lost nothing:
the next one goes on.  The rules are the setting `retention`; kept whatever their age are:

* running operations and jobs, and operations whose script results still count;
* of a rack: the newest offer and the one it runs, the newest plan, held and approved ones, the newest apply and the
  newest good one of each service;
* the newest power order of each rack, with whose number racks compare;
* the newest word on every record that there is.  That there is none any more is forgotten after `record_days`: a rack
  that comes back after a longer time gets a snapshot (`app.services.digests.compact`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from app import metrics
from app.services import digests, settings
from app.services.context import Context
from app.services.retention_rules import DEFAULTS, SETTING
from app.store.models import (
    ApiToken,
    Apply,
    BootToken,
    ChangeEvent,
    EnrolmentCode,
    Event,
    ForeignDhcpServer,
    Job,
    JobBatch,
    Neighbour,
    Offer,
    Operation,
    Plan,
    PowerOperation,
    Rack,
    RackChange,
    RecordApply,
    RecordChange,
    ScriptResult,
    SyslogLine,
)

BATCH = 500
GROUPS = 200
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Old:
    """Rows older than a setting's days. order: rows are as old as their ids say, so the walk may stop at the first young one."""

    table: Any
    setting: str
    when: Callable[[dt.datetime], ColumnElement[bool]]
    in_order: bool = False


@dataclass(frozen=True)
class _Many:
    """Rows beyond the newest so many of a group. spare: what may go at all."""

    table: Any
    setting: str
    group: tuple[InstrumentedAttribute[Any], ...]
    spare: Callable[[], ColumnElement[bool]] | None = None


def prune(context: Context, batch: int = BATCH) -> dict[str, int]:
    """Delete what the rules give up; how many rows of each table went."""
    context.require("admin", "delete old rows")
    with context.store.read() as session:
        rules = DEFAULTS | settings.get(session, SETTING, {})
    digests.fold(context)
    gone: dict[str, int] = {RecordChange.__tablename__: digests.compact(context, rules["record_days"], batch)}
    for rule in (*_OLD, *_MANY):
        walk = _old(context, rule, rules, batch) if isinstance(rule, _Old) else _many(context, rule, rules, batch)
        for count in walk:
            name = rule.table.__tablename__
            gone[name] = gone.get(name, 0) + count
    for name, count in gone.items():
        metrics.PRUNED.labels(name).inc(count)
    if any(gone.values()):
        log.info("retention.pruned", rows=gone)
    return {name: count for name, count in gone.items() if count}


def _old(context: Context, rule: _Old, rules: dict[str, int], batch: int) -> Iterator[int]:
    before = context.clock() - dt.timedelta(days=rules[rule.setting])
    number, cursor, more = _number(rule.table), 0, True
    while more:
        statement = select(number).where(number > cursor).order_by(number).limit(batch)
        with context.store.read() as session:
            if rule.in_order:
                rows = session.execute(statement.add_columns(rule.when(before))).all()
                found = [row[0] for row in rows if row[1]]
            else:
                found = list(session.scalars(statement.where(rule.when(before))))
        more = len(found) == batch
        if found:
            cursor = found[-1]
            yield _delete(context, rule.table, found)


def _many(context: Context, rule: _Many, rules: dict[str, int], batch: int) -> Iterator[int]:
    keep = rules[rule.setting]
    after: tuple[Any, ...] | None = None
    while True:
        groups = _crowded(context, rule, keep, after)
        for group in groups:
            yield from _shorten(context, rule, group, keep, batch)
        if len(groups) < GROUPS:
            return
        after = groups[-1]


def _crowded(context: Context, rule: _Many, keep: int, after: tuple[Any, ...] | None) -> list[tuple[Any, ...]]:
    """Groups that have too many rows, in order, after the last one seen."""
    statement = select(*rule.group).where(*(column.is_not(None) for column in rule.group))
    if after is not None:
        statement = statement.where(_beyond(rule.group, after))
    statement = statement.group_by(*rule.group).having(func.count() > keep).order_by(*rule.group).limit(GROUPS)
    with context.store.read() as session:
        return [tuple(row) for row in session.execute(statement)]


def _shorten(context: Context, rule: _Many, group: tuple[Any, ...], keep: int, batch: int) -> Iterator[int]:
    """Delete a group's rows below its newest `keep` ones."""
    mine = and_(*(column == value for column, value in zip(rule.group, group, strict=True)))
    with context.store.read() as session:
        newest = select(rule.table.id).where(mine).order_by(rule.table.id.desc())
        lowest = session.scalar(newest.offset(keep - 1).limit(1))
    cursor = 0
    while lowest is not None:
        ids = select(rule.table.id).where(mine, rule.table.id < lowest, rule.table.id > cursor)
        if rule.spare is not None:
            ids = ids.where(rule.spare())
        with context.store.read() as session:
            found = list(session.scalars(ids.order_by(rule.table.id).limit(batch)))
        if found:
            cursor = found[-1]
            yield _delete(context, rule.table, found)
        if len(found) < batch:
            return


def _delete(context: Context, table: Any, ids: list[int]) -> int:
    number = _number(table)
    statement = delete(table).where(number.in_(ids)).returning(number).execution_options(synchronize_session=False)
    with context.store.write() as session:
        return len(session.execute(statement).all())


def _number(table: Any) -> InstrumentedAttribute[int]:
    found: InstrumentedAttribute[int] = table.id
    return found


def _beyond(columns: tuple[InstrumentedAttribute[Any], ...], values: tuple[Any, ...]) -> ColumnElement[bool]:
    """Keyset order over several columns, spelt out: (a, b) > (x, y)."""
    terms = []
    for index, column in enumerate(columns):
        same = [one == value for one, value in zip(columns[:index], values[:index], strict=True)]
        terms.append(and_(*same, column > values[index]))
    return or_(*terms)


def _finished_and_read() -> ColumnElement[bool]:
    kept = select(ScriptResult.id).where(ScriptResult.operation_id == Operation.id).exists()
    return and_(Operation.status != "running", ~kept)


def _not_last_good() -> ColumnElement[bool]:
    good = select(func.max(Apply.id)).where(Apply.outcome.in_(("kept", "unchanged")))
    newest = select(func.max(Apply.id)).group_by(Apply.rack_id, Apply.service)
    return and_(Apply.id.not_in(good.group_by(Apply.rack_id, Apply.service)), Apply.id.not_in(newest))


def _not_in_use() -> ColumnElement[bool]:
    running = select(Rack.id).where(Rack.id == Offer.rack_id, Rack.applied_offer == Offer.number).exists()
    return ~running


def _not_awaited(before: dt.datetime) -> ColumnElement[bool]:
    newest = select(func.max(PowerOperation.id)).group_by(PowerOperation.rack_id)
    return and_(PowerOperation.finished_at < before, PowerOperation.id.not_in(newest))


_OLD = (
    _Old(Neighbour, "neighbour_days", lambda before: Neighbour.seen_at < before),
    _Old(ForeignDhcpServer, "neighbour_days", lambda before: ForeignDhcpServer.seen_at < before),
    _Old(JobBatch, "job_days", lambda before: JobBatch.job_id.in_(select(Job.id).where(Job.finished_at < before))),
    _Old(Job, "job_days", lambda before: Job.finished_at < before),
    _Old(Event, "event_days", lambda before: Event.at < before, in_order=True),
    _Old(SyslogLine, "syslog_days", lambda before: SyslogLine.at < before, in_order=True),
    _Old(ChangeEvent, "audit_days", lambda before: ChangeEvent.at < before, in_order=True),
    _Old(PowerOperation, "power_days", _not_awaited),
    _Old(BootToken, "token_days", lambda before: or_(BootToken.expires_at < before, BootToken.revoked_at < before)),
    _Old(EnrolmentCode, "token_days", lambda before: EnrolmentCode.expires_at < before),
    _Old(ApiToken, "token_days", lambda before: ApiToken.expires_at < before),
)
_MANY = (
    _Many(Event, "events_each", (Event.machine_id,)),
    _Many(Event, "events_each", (Event.rack_id,)),
    _Many(SyslogLine, "syslog_each", (SyslogLine.machine_id,)),
    _Many(ScriptResult, "results_each", (ScriptResult.machine_id, ScriptResult.script)),
    _Many(Operation, "operations_each", (Operation.machine_id,), _finished_and_read),
    _Many(Apply, "applies_each", (Apply.rack_id,), _not_last_good),
    _Many(RecordApply, "applies_each", (RecordApply.rack_id,)),
    _Many(RackChange, "applies_each", (RackChange.rack_id,)),
    _Many(Offer, "offers_each", (Offer.rack_id,), _not_in_use),
    _Many(Plan, "plans_each", (Plan.rack_id,), lambda: Plan.status.not_in(("held", "approved"))),
)
