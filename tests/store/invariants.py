"""What is true of the store at any moment, whoever wrote and whoever was killed while writing; each a sentence."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.lifecycle.table import actions
from app.services.context import Context
from app.services.names import fqdn
from app.store.models import (
    BootToken,
    ChangeEvent,
    Counter,
    Domain,
    Event,
    Interface,
    IpAddress,
    Machine,
    Operation,
    RecordChange,
)


def violations(context: Context) -> list[str]:
    """Every invariant that does not hold, in one snapshot."""
    with context.store.read() as session:
        return [
            *_addresses(session),
            *_operations(session),
            *_records(session),
            *_journal(session),
            *_given_once(session),
        ]


def _addresses(session: Session) -> Iterator[str]:
    tally = Tally(session.scalars(select(IpAddress.address)))
    yield from (f"address {address} is given {count} times" for address, count in tally.items() if count > 1)
    holders = Tally(session.scalars(select(IpAddress.interface_id).where(IpAddress.kind == "auto")))
    yield from (f"interface {one} has {count} addresses" for one, count in holders.items() if count > 1)
    statement = (
        select(Machine.hostname, Machine.state)
        .join(Interface, Interface.machine_id == Machine.id)
        .join(IpAddress, IpAddress.interface_id == Interface.id)
        .where(IpAddress.kind == "auto", Machine.state.in_(("NEW", "READY", "ALLOCATED")))
    )
    yield from (f"{hostname} is {state} and has an address" for hostname, state in session.execute(statement))


def _operations(session: Session) -> Iterator[str]:
    states = {machine_id: state for machine_id, state in session.execute(select(Machine.id, Machine.state))}  # noqa: C416
    running = session.execute(select(Operation.machine_id, Operation.action).where(Operation.status == "running")).all()
    for machine_id, action in running:
        if states[machine_id] != actions()[action].transient:
            yield f"machine {machine_id} is {states[machine_id]} while {action} runs"
    busy = {machine_id for machine_id, _ in running}
    for machine_id, state in states.items():
        if State(state).is_transient and machine_id not in busy:
            yield f"machine {machine_id} is {state} and nothing runs"
    alive = set(session.scalars(select(BootToken.machine_id).where(BootToken.revoked_at.is_(None))))
    yield from (f"machine {machine_id} has a live token and nothing runs" for machine_id in alive - busy)


def _newest(session: Session) -> dict[tuple[str, str], Any]:
    rows = session.scalars(select(RecordChange).order_by(RecordChange.sequence))
    return {(row.scope, row.key): row.value for row in rows}


def _records(session: Session) -> Iterator[str]:
    sequences = list(session.scalars(select(RecordChange.sequence).order_by(RecordChange.sequence)))
    counter = session.get_one(Counter, "records").value
    if sequences != list(range(1, counter + 1)):
        yield f"sequences have gaps: {len(sequences)} of them, the counter is at {counter}"
    newest = _newest(session)
    wanted: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    statement = (
        select(IpAddress.address, Interface.mac, Machine.hostname, Domain.name)
        .join(Interface, Interface.id == IpAddress.interface_id)
        .join(Machine, Machine.id == Interface.machine_id)
        .join(Domain, Domain.id == Machine.domain_id)
    )
    for address, mac, hostname, domain in session.execute(statement):
        wanted[mac] = address
        names[fqdn(hostname, domain)] = [address]
    hosts = {
        key.split(":", 2)[2]: value["address"]
        for (_, key), value in newest.items()
        if key.startswith("host:") and value
    }
    if hosts != wanted:
        yield f"DHCP hosts are {hosts}, addresses are {wanted}"
    owners = {key.split(":")[1]: value["rdatas"] for (_, key), value in newest.items() if key.endswith(":A") and value}
    if owners != names:
        yield f"names are {owners}, should be {names}"
    pointers = {value["rdatas"][0] for (_, key), value in newest.items() if key.endswith(":PTR") and value}
    if pointers != set(names):
        yield f"pointers are to {sorted(pointers)}, names are {sorted(names)}"


def _journal(session: Session) -> Iterator[str]:
    audits: Tally[tuple[Any, ...]] = Tally(
        tuple(row) for row in session.execute(select(ChangeEvent.verb, ChangeEvent.thing, ChangeEvent.thing_id))
    )
    asked = Tally(tuple(row) for row in session.execute(select(Operation.action, Operation.machine_id)))
    for (action, machine_id), count in asked.items():
        if audits[action, "machine", machine_id] != count:
            yield f"machine {machine_id}: {count} times {action}, and {audits[action, 'machine', machine_id]} audit rows"
    aborted = Tally(session.scalars(select(Operation.machine_id).where(Operation.status == "aborted")))
    for machine_id, count in aborted.items():
        if audits["abort", "machine", machine_id] != count:
            yield f"machine {machine_id}: {count} aborts, and {audits['abort', 'machine', machine_id]} audit rows"
    given = sum(
        count
        for (verb, thing, _), count in audits.items()
        if (verb, thing) in (("claim", "address"), ("reserve", "address"))
    )
    freed = sum(count for (verb, thing, _), count in audits.items() if (verb, thing) == ("free", "address"))
    there = len(list(session.scalars(select(IpAddress.id))))
    if given - freed != there:
        yield f"{given} addresses were given and {freed} freed, and there are {there}"
    last: dict[int, str] = {}
    for machine_id, detail in session.execute(
        select(Event.machine_id, Event.detail).where(Event.kind == "machine.state").order_by(Event.id)
    ):
        last[machine_id] = detail["state"]
    for machine_id, state in session.execute(select(Machine.id, Machine.state)):
        if last.get(machine_id, state) != state:
            yield f"machine {machine_id} is {state}, its timeline says {last[machine_id]}"


def _given_once(session: Session) -> Iterator[str]:
    """Between two allocations of a machine it went back."""
    held: dict[int, bool] = {}
    for row in session.scalars(select(Operation).where(Operation.status == "succeeded").order_by(Operation.id)):
        if row.action == "allocate":
            if held.get(row.machine_id):
                yield f"machine {row.machine_id} was given to two"
            held[row.machine_id] = True
        elif row.action == "release":
            held[row.machine_id] = False
