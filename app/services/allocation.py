"""Allocation: the smallest READY machine that serves, for whoever asks; two who ask at once get two machines.

Cost: processors + GiB of memory, then storage, then id.  Constraints are applied in a fixed order, so that a refusal
can say how many machines each left and which one excluded the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.lifecycle.table import actions
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid
from app.services.held import MACHINES, HeldMachine, machine_of
from app.services.lifecycle import start
from app.store.models import Interface, Machine, Pool, Subnet, Tag, Zone
from app.store.queries import machine_json

GB = 1000**3
TRIES = 20
_SMALLEST = (
    MACHINES.where(Machine.state == State.READY)
    .order_by(Machine.cpu_count + Machine.memory_mib / 1024.0, Machine.storage_bytes, Machine.id)
    .limit(1)
)


@dataclass(frozen=True)
class Constraints:
    """What the machine must be; None and empty mean any. storage_gb: in units of 10^9 bytes, of all disks together."""

    name: str | None = None
    architecture: str | None = None
    zone: str | None = None
    pool: str | None = None
    subnet: str | None = None
    tags: tuple[str, ...] = ()
    not_tags: tuple[str, ...] = ()
    cpu_count: int | None = None
    memory_mib: int | None = None
    storage_gb: int | None = None


@dataclass(frozen=True)
class Allocated:
    """The machine that was given. text: the machine as the API shows it in lists, in JSON."""

    machine: HeldMachine
    text: str


def allocate(context: Context, constraints: Constraints) -> Allocated:
    """Give the caller a machine. Conflict names the constraint that left no candidate."""
    context.require("operator", "allocate machines")
    statement, conditions = _asked(constraints)
    with changing(context) as session, session.no_autoflush:
        for _ in range(TRIES):  # Whoever waited for a row that another took meanwhile finds none, and looks again.
            row = session.execute(statement).one_or_none()
            if row is not None:
                machine = machine_of(row)
                start(session, context, machine, actions()["allocate"], {})
                text = machine_json.one(session, machine.id)
                return Allocated(machine, text)
            counts = _counts(session, [where for _, where in conditions])
            if counts[-1] == 0:
                break
    raise Conflict(_explain(counts, [name for name, _ in conditions]))


def _counts(session: Session, conditions: list[ColumnElement[bool]]) -> list[int]:
    """How many machines are READY, and how many of them each condition leaves after those before it."""
    ready = select(func.count(Machine.id)).where(Machine.state == State.READY)
    return [session.scalar(ready.where(*conditions[:number])) or 0 for number in range(len(conditions) + 1)]


@lru_cache(maxsize=256)
def _asked(wanted: Constraints) -> tuple[Select[Any], list[tuple[str, ColumnElement[bool]]]]:
    """The statement and the named conditions for a wish; the same wish comes again and again."""
    conditions = _conditions(wanted)
    return _SMALLEST.where(*(where for _, where in conditions)), conditions


def _conditions(wanted: Constraints) -> list[tuple[str, ColumnElement[bool]]]:
    for field in ("cpu_count", "memory_mib", "storage_gb"):
        value = getattr(wanted, field)
        if value is not None and value < 0:
            raise Invalid(f"{field} is {value}; it cannot be less than 0", field=field)
    made: list[tuple[str, ColumnElement[bool]]] = []

    def add(name: str, value: object, where: Callable[[], ColumnElement[bool]]) -> None:
        if value is not None:
            made.append((f"{name} {value}", where()))

    add("name", wanted.name, lambda: Machine.hostname == str(wanted.name).lower())
    add("architecture", wanted.architecture, lambda: Machine.architecture == wanted.architecture)
    add("zone", wanted.zone, lambda: Machine.zone.has(Zone.name == wanted.zone))
    add("pool", wanted.pool, lambda: Machine.pool.has(Pool.name == wanted.pool))
    add("subnet", wanted.subnet, lambda: Machine.interfaces.any(Interface.subnet_id.in_(_subnets(wanted.subnet))))
    for tag in wanted.tags:
        made.append((f"tag {tag}", Machine.tags.any(Tag.name == tag)))
    for tag in wanted.not_tags:
        made.append((f"not tag {tag}", ~Machine.tags.any(Tag.name == tag)))
    add("cpu_count", wanted.cpu_count, lambda: Machine.cpu_count >= (wanted.cpu_count or 0))
    add("memory_mib", wanted.memory_mib, lambda: Machine.memory_mib >= (wanted.memory_mib or 0))
    add("storage_gb", wanted.storage_gb, lambda: Machine.storage_bytes >= (wanted.storage_gb or 0) * GB)
    return made


def _subnets(word: str | None) -> Select[int]:
    """Ids of the subnet of this CIDR or name."""
    return select(Subnet.id).where((Subnet.cidr == word) | (Subnet.name == word))


def _explain(counts: list[int], names: list[str]) -> str:
    if counts[0] == 0:
        return "no machine is Ready; release or commission one"
    trail = [f"{counts[0]} Ready"] + [f"{name} left {count}" for name, count in zip(names, counts[1:], strict=True)]
    for name, count in zip(names, counts[1:], strict=True):
        if count == 0:
            return f"no Ready machine serves: {name} excluded the last ({', '.join(trail)}); ask for less"
    return f"all machines that serve were taken at this moment ({', '.join(trail)}); ask again"
