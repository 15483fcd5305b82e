"""Records: one DHCP host or one RRset, in the order in which they became true, as racks fetch them.

Keys: `host:<subnet_id>:<mac>` in scope `vlan:<id>`; `rrset:<owner>:<TYPE>` in scope `zone:<name>`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.services.changes import RECORDS, put_record
from app.services.context import Context
from app.services.held import AnyMachine
from app.services.host_options import host_value
from app.services.names import fqdn, pointer_owner, reverse_name, reverse_zone_of
from app.store.locks import hold
from app.store.models import (
    Counter,
    Domain,
    Interface,
    IpAddress,
    Rack,
    RecordChange,
    RecordDigest,
    RecordFailure,
    RecordScope,
    Subnet,
)
from app.store.prepared import Prepared
from app.store.queries.scopes import applied_by, scopes_of_rack
from app.store.queries.zones import glue_zones

DIGESTS_LOCK = "record-digests"
"""Held by whoever folds the log into digests or deletes rows of it."""
MODES = "muster.reverse_modes"
"""In a session's notes: `reverse_dns` of the subnets that pointers were put for."""
LARGEST_FETCH = 1000
LARGEST_TRANSACTION = 10_000
_LAST = Prepared(select(Counter.value).where(Counter.name == RECORDS))
_MOMENT = select(RecordChange.at).where(RecordChange.sequence == bindparam("sequence")).scalar_subquery()
_TOGETHER = Prepared(  # The records of one transaction share its moment.
    select(RecordChange.scope, RecordChange.sequence).where(
        RecordChange.at == _MOMENT,
        RecordChange.sequence <= bindparam("sequence"),
        RecordChange.sequence > bindparam("sequence") - LARGEST_TRANSACTION,
    )
)
_FAILURES = (
    select(RecordFailure.key, RecordFailure.scope, RecordFailure.reason, Rack.name.label("rack"))
    .join(Rack, Rack.id == RecordFailure.rack_id)
    .where(RecordFailure.sequence.in_(bindparam("numbers", expanding=True)))
    .order_by(RecordFailure.id)
    .limit(1)
)


def put_rrset(session: Session, zone: str, owner: str, kind: str, ttl: int, rdatas: list[str]) -> None:
    """Note an RRset as it should be; no rdatas takes it away. owner is absolute, with the trailing dot."""
    value = {"name": owner, "type": kind, "ttl": ttl, "rdatas": rdatas} if rdatas else None
    put_record(session, f"zone:{zone}", f"rrset:{owner}:{kind}", value)


def put_host(session: Session, vlan_id: int, subnet_id: int, mac: str, address: str | None, hostname: str) -> None:
    """Note the address that DHCP gives to a MAC; None takes the reservation away."""
    value = None if address is None else host_value(session, subnet_id, mac, address, hostname)
    put_record(session, f"vlan:{vlan_id}", f"host:{subnet_id}:{mac}", value)


def put_names(session: Session, zone: str, owner: str, ttl: int, addresses: list[str]) -> None:
    """Note a name's A and AAAA RRsets."""
    put_rrset(session, zone, owner, "A", ttl, [address for address in addresses if ":" not in address])
    put_rrset(session, zone, owner, "AAAA", ttl, [address for address in addresses if ":" in address])


def put_pointer(session: Session, address: str, cidr: str, ttl: int, name: str | None, mode: str | None = None) -> None:
    """Note the name that an address points back to; None takes it away.

    mode: the subnet's `reverse_dns`; looked up when it is not given.  In a classless zone (RFC 2317) the /24's zone, where
    we serve it, gets the CNAME that leads there.
    """
    if mode is None:  # Asked once for each subnet of a transaction.
        known: dict[str, str] = session.info.setdefault(MODES, {})
        if cidr not in known:
            known[cidr] = session.scalar(select(Subnet.reverse_dns).where(Subnet.cidr == cidr)) or "on"
        mode = known[cidr]
    if mode == "off":
        return
    owner = pointer_owner(address, cidr, mode)
    put_rrset(session, reverse_zone_of(address, cidr, mode), owner, "PTR", ttl, [name] if name else [])
    for glue in glue_zones(cidr, mode):
        put_rrset(session, glue, reverse_name(address), "CNAME", ttl, [owner] if name else [])


def last(session: Session) -> int:
    """The highest sequence of all."""
    return _LAST.value(session) or 0


def after(context: Context, rack_id: int, sequence: int, limit: int = LARGEST_FETCH) -> dict[str, Any]:
    """The newest word on every key of the rack's scopes that has one after `sequence`, oldest first.

    `last` is what the rack has seen once it has applied these, also when newer records were for other racks.
    `snapshot` names scopes of which it may have missed a tombstone: it has been away for too long.  `now` is our clock,
    `highest` the newest sequence there is: what comes after it is news, and may be made live before a long backlog.
    """
    limit = max(1, min(limit, LARGEST_FETCH))
    with context.store.read() as session:
        highest = last(session)
        now = context.clock().timestamp()
        if highest <= sequence:  # Every wake of a rack asks; mostly there is nothing.
            return {"records": [], "last": sequence, "more": False, "snapshot": [], "now": now, "highest": highest}
        scopes = scopes_of_rack(session, rack_id)
        missed = select(RecordScope.scope).where(RecordScope.scope.in_(scopes), RecordScope.floor > sequence)
        statement = (
            select(RecordChange)
            .where(
                RecordChange.scope.in_(scopes),
                RecordChange.sequence > sequence,
                ~superseded(RecordChange),
            )
            .order_by(RecordChange.sequence)
            .limit(limit + 1)
        )
        rows = list(session.scalars(statement))
        snapshot = sorted(session.scalars(missed))
    more = len(rows) > limit
    rows = rows[:limit]
    return {
        "records": [
            {
                "sequence": row.sequence,
                "scope": row.scope,
                "key": row.key,
                "value": row.value,
                "request_id": row.request_id,
            }
            for row in rows
        ],
        "last": rows[-1].sequence if more else max(highest, sequence if not rows else rows[-1].sequence),
        "more": more,
        "snapshot": snapshot,
        "now": now,
        "highest": highest,
    }


def highest_for_machine(session: Session, machine: AnyMachine) -> int:
    """The newest sequence of the machine's hosts, names and pointers; 0 when it has none."""
    keys: list[tuple[str, str]] = []
    statement = (
        select(Interface.mac, IpAddress.address, Subnet.id, Subnet.cidr, Subnet.vlan_id, Subnet.reverse_dns)
        .join(IpAddress, IpAddress.interface_id == Interface.id)
        .join(Subnet, Subnet.id == IpAddress.subnet_id)
        .where(Interface.machine_id == machine.id)
    )
    for mac, address, subnet_id, cidr, vlan_id, mode in session.execute(statement):
        keys.append((f"vlan:{vlan_id}", f"host:{subnet_id}:{mac}"))
        pointer = f"rrset:{pointer_owner(address, cidr, mode)}:PTR"
        keys.append((f"zone:{reverse_zone_of(address, cidr, mode)}", pointer))
    domain = session.get(Domain, machine.domain_id)
    if domain is not None:
        owner = fqdn(machine.hostname, domain.name)
        keys += [(f"zone:{domain.name}", f"rrset:{owner}:{kind}") for kind in ("A", "AAAA")]
    wanted = or_(*(and_(RecordChange.scope == scope, RecordChange.key == key) for scope, key in keys))
    return session.scalar(select(func.max(RecordChange.sequence)).where(wanted)) or 0 if keys else 0


@dataclass(frozen=True)
class Standing:
    """What the racks concerned have done with the records of one transaction.

    failure: why one of them could not apply one of these records; None when none failed.
    """

    applied: bool
    failure: str | None

    @property
    def live(self) -> bool:
        """Whether every rack concerned serves them all."""
        return self.applied and self.failure is None


def standing(session: Session, sequence: int) -> Standing:
    """How it stands with the records that were written together with this one, up to it. Three queries.

    Concerned are the racks that apply the scopes of that transaction: a rack elsewhere that is down holds up nobody.
    """
    batch = _TOGETHER.all(session, sequence=sequence)
    if not batch:
        return Standing(applied=True, failure=None)
    applied = applied_by(session, {row.scope for row in batch})
    found = session.execute(_FAILURES, {"numbers": [row.sequence for row in batch]}).first()
    reason = found and f"rack {found.rack} could not apply {found.key} in {found.scope}: {found.reason}"
    return Standing(all(number >= sequence for number in applied), reason)


def resend_scope(session: Session, scope: str) -> int:
    """Write the scope's live records anew, for a rack whose copy is of a time that was lost; how many there were.

    A rack that takes a scope over needs none of this: it gets a snapshot (`app.services.snapshots`).
    """
    statement = select(RecordChange).where(RecordChange.scope == scope, ~superseded(RecordChange))
    count = 0
    for row in session.scalars(statement):
        if row.value is not None:
            put_record(session, scope, row.key, row.value, author=row.actor)
            count += 1
    return count


def clear_scope(session: Session, scope: str) -> None:
    """Take away whatever the scope still holds."""
    for key, _ in live(session, scope):
        put_record(session, scope, key, None)


def live(session: Session, scope: str) -> list[tuple[str, dict[str, Any]]]:
    """Every key of a scope that holds something, with what it holds. One query."""
    statement = select(RecordChange.key, RecordChange.value).where(
        RecordChange.scope == scope, ~superseded(RecordChange)
    )
    return [(key, value) for key, value in session.execute(statement) if value is not None]


def move_scope(session: Session, old: str, new: str) -> int:
    """Let the records of a scope that ends go on in another one, oldest word first; how many there were.

    There are no tombstones in the old scope: racks drop a scope as soon as their offer does not name it, and until then
    they serve what it holds.
    """
    statement = select(RecordChange).where(RecordChange.scope == old, ~superseded(RecordChange))
    count = 0
    for row in session.scalars(statement.order_by(RecordChange.sequence)):
        if row.value is not None:
            put_record(session, new, row.key, row.value, author=row.actor)
            count += 1
    forget_scope(session, old)
    return count


def forget_scope(session: Session, scope: str) -> None:
    """Delete every word of a scope that is no more, so that its name may be used again.

    A rack that still keeps it would get a snapshot should the name come back.
    """
    hold(session, DIGESTS_LOCK)
    for table in (RecordChange, RecordDigest):
        statement = delete(table).where(table.scope == scope)
        session.execute(statement.execution_options(synchronize_session=False))
    session.merge(RecordScope(scope=scope, floor=last(session)))


def superseded(row: type[RecordChange]) -> Any:
    """Whether a newer word stands on the same key."""
    newer = aliased(RecordChange)
    return (
        select(newer.sequence)
        .where(newer.scope == row.scope, newer.key == row.key, newer.sequence > row.sequence)
        .exists()
    )
