"""Snapshots: a scope's records as they stand, for a rack that is new to it, was away too long, or lost some.

A snapshot is read bucket by bucket (`renderers.record_digest`), as many whole buckets at a time as fit.  Later pages may
hold newer words than earlier ones; that does no harm, because the rack then reads everything that came after the
sequence of the first page, and the newest word of a key is the same wherever it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.services import digests, records
from app.services.changes import changing, event
from app.services.context import Context
from app.services.errors import Invalid, NotFound
from app.services.racks import rack_row
from app.store.models import Rack, RecordChange, RecordDrift
from app.store.queries.scopes import scopes_of_rack
from renderers.record_digest import BUCKETS, total

MOST = 1000
"""Records of one answer, unless one bucket alone has more."""
NAMED_KEYS = 20
PLACES = ("store", "daemon")


def read(context: Context, rack_id: int, wanted: Mapping[str, tuple[int, int]], most: int = MOST) -> dict[str, Any]:
    """Records of the rack's scopes, from a first to a last bucket of each; as many whole buckets as fit. Four queries and the scopes'.

    A part names its first and last bucket and holds all there is in them.  NotFound for a scope that the rack does not
    serve.
    """
    with context.store.read() as session:
        strange = sorted(set(wanted) - set(scopes_of_rack(session, rack_id)))
        if strange:
            raise NotFound(f"scope {strange[0]}: this rack does not serve it", field="scopes")
        if any(not 0 <= first <= last < BUCKETS for first, last in wanted.values()):
            raise Invalid(f"scopes: buckets go from 0 to {BUCKETS - 1}", field="scopes")
        as_of = records.last(session)
        spans = _spans(_sizes(session, wanted), wanted, most)
        rows = session.scalars(_standing_in(spans)).all() if spans else []
    held: dict[str, list[dict[str, Any]]] = {scope: [] for scope in spans}
    for row in rows:
        held[row.scope].append({"sequence": row.sequence, "key": row.key, "value": row.value})
    parts = [
        {"scope": scope, "first": first, "last": last, "records": held[scope]} for scope, (first, last) in spans.items()
    ]
    return {"as_of": as_of, "parts": parts}


def compare(context: Context, rack_id: int, sequence: int, roots: Mapping[str, int]) -> dict[str, Any]:
    """Which scopes of a rack differ from what they should hold at a sequence, and in which buckets of ours and its own.

    roots: the digest of each scope as the rack has it.  comparable: whether we can tell, which is not so while many records
    are to be folded (`digests.catch_up`); `differ`: the digests of each differing scope's buckets, empty ones left out.
    What was found is remembered with the rack.  A constant cost: the rack makes nothing live while it waits for this.
    """
    with context.store.read() as session:
        mine = scopes_of_rack(session, rack_id)
        scopes = sorted(set(mine) & set(roots))
        found = None if digests.lags(session) else digests.at(session, scopes, sequence)
        rack = session.get_one(Rack, rack_id)
        known = (rack.agreed_records, rack.differing or [])
    if found is None:
        return {"comparable": False, "differ": {}}
    differ = {scope: buckets for scope, buckets in found.items() if total(buckets) != roots[scope]}
    whole = not differ
    if (sequence if whole else known[0], sorted(differ)) != known:
        with changing(context) as session:
            rack = rack_row(session, rack_id)
            rack.differing = sorted(differ)
            if whole:
                rack.agreed_records, rack.agreed_at = sequence, context.clock()
    named = {scope: {str(bucket): value for bucket, value in buckets.items()} for scope, buckets in differ.items()}
    return {"comparable": True, "differ": named}


def drifted(
    context: Context,
    rack_id: int,
    *,
    scope: str,
    place: str,
    buckets: int,
    found: int,
    left: int,
    keys: list[str],
) -> None:
    """Keep that a rack found records that were not as they should be, and how many of them it could not mend.

    keys: some of them, those that are left first.
    """
    if place not in PLACES:
        raise Invalid(f"place {place!r}: there are {', '.join(PLACES)}", field="place")
    with changing(context) as session:
        rack = rack_row(session, rack_id)
        where = (RecordDrift.rack_id == rack_id, RecordDrift.scope == scope, RecordDrift.place == place)
        row = session.scalar(select(RecordDrift).where(*where))
        if row is None:
            row = RecordDrift(rack_id=rack_id, scope=scope, place=place)
            session.add(row)
        row.buckets, row.found, row.left, row.at = buckets, found, left, context.clock()
        row.keys = keys[:NAMED_KEYS]
        what = "the rack's own copy" if place == "store" else "what its daemon serves"
        mended = "all mended" if not left else f"{left} could not be mended"
        event(
            session,
            context,
            "rack.records.drifted",
            f"Rack {rack.name}: {found} records of {scope} differed in {what}, among them {', '.join(keys[:3])}; {mended}.",
            rack_id=rack_id,
            level="error" if left else "warning",
            scope=scope,
            place=place,
            buckets=buckets,
            keys=row.keys,
        )


def _sizes(session: Session, wanted: Mapping[str, tuple[int, int]]) -> dict[str, dict[int, int]]:
    """How many rows each bucket has at most: superseded words count too, so none is larger than it looks."""
    statement = (
        select(RecordChange.scope, RecordChange.bucket, func.count().label("size"))
        .where(RecordChange.scope.in_(wanted))
        .group_by(RecordChange.scope, RecordChange.bucket)
        .order_by(RecordChange.scope, RecordChange.bucket)
    )
    sizes: dict[str, dict[int, int]] = {}
    for row in session.execute(statement):
        sizes.setdefault(row.scope, {})[row.bucket] = row.size
    return sizes


def _spans(
    sizes: dict[str, dict[int, int]], wanted: Mapping[str, tuple[int, int]], most: int
) -> dict[str, tuple[int, int]]:
    """First and last bucket of each scope, in order of scope, until there is enough; at least one bucket."""
    spans: dict[str, tuple[int, int]] = {}
    room = most
    for scope in sorted(wanted):
        first, wished = wanted[scope]
        last = wished
        for bucket, size in sizes.get(scope, {}).items():
            if not first <= bucket <= wished:
                continue
            if size > room and (spans or bucket > first):
                last = bucket - 1
                break
            room -= size
        if last >= first:
            spans[scope] = (first, last)
        if last < wished:
            break
    return spans


def _standing_in(spans: dict[str, tuple[int, int]]) -> Any:
    inside = or_(
        *(
            and_(RecordChange.scope == scope, RecordChange.bucket.between(first, last))
            for scope, (first, last) in spans.items()
        )
    )
    return (
        select(RecordChange)
        .where(inside, RecordChange.weight != 0, ~records.superseded(RecordChange))
        .order_by(RecordChange.sequence)
    )
