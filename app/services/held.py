"""A machine and its operation as who works on them holds them: plain values, with their rows locked till the transaction ends.

Loading an object of the session, watching it and flushing it costs many times what its row does, and a lifecycle looks at
these two rows at every turn.  Here they are plain: what changes is written by `app.services.transition` (`keep`, `write`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.store.models import Bmc, Machine, Operation
from app.store.prepared import Prepared


@dataclass
class HeldController:
    """How the machine's BMC is driven."""

    driver: str


@dataclass
class HeldMachine:
    """A locked machine: its columns but for what it has reported of itself, and its BMC."""

    id: int
    hostname: str
    domain_id: int
    state: str
    power_state: str
    architecture: str
    firmware: str | None
    system_uuid: str | None
    owner_id: int | None
    rack_id: int | None
    cpu_count: int
    memory_mib: int
    storage_bytes: int
    image_id: int | None
    version: int
    bmc: HeldController | None


@dataclass
class HeldOperation:
    """A locked running operation: the columns of `app.store.models.Operation`."""

    id: int
    machine_id: int
    action: str
    status: str
    parameters: dict[str, Any]
    step: str
    step_index: int
    step_started_at: dt.datetime
    step_data: dict[str, Any]
    signals: dict[str, Any]
    progress: dict[str, Any]
    wake_at: dt.datetime | None
    deadline_at: dt.datetime | None
    reason: str | None
    user_id: int | None
    request_id: str | None
    started_at: dt.datetime
    finished_at: dt.datetime | None


AnyMachine = Machine | HeldMachine
AnyOperation = Operation | HeldOperation
_OF_MACHINE = [name for name in HeldMachine.__dataclass_fields__ if name != "bmc"]
MACHINES = (
    select(*(getattr(Machine, name) for name in _OF_MACHINE), Bmc.driver)
    .outerjoin(Bmc, Bmc.machine_id == Machine.id)
    .with_for_update(of=Machine, key_share=True)
)
"""Locks machines, for `machine_of` its rows."""
_MACHINE = Prepared(MACHINES.where(Machine.id == bindparam("machine_id")))
_OPERATION = Prepared(
    select(*(getattr(Operation, name) for name in HeldOperation.__dataclass_fields__))
    .where(Operation.machine_id == bindparam("machine_id"), Operation.status == "running")
    .with_for_update(skip_locked=True, key_share=True)
)


def machine(session: Session, machine_id: int) -> HeldMachine | None:
    """The machine, locked; None when there is none."""
    row = _MACHINE.first(session, machine_id=machine_id)
    return None if row is None else machine_of(row)


def machine_of(row: Any) -> HeldMachine:
    """The machine of a row of `MACHINES`."""
    values = (*row[:-1], None if row.driver is None else HeldController(row.driver))
    return HeldMachine(*values)


def operation(session: Session, machine_id: int) -> HeldOperation | None:
    """The machine's running operation for the worker that takes it on, locked; None also when another worker has it."""
    row = _OPERATION.first(session, machine_id=machine_id)
    return None if row is None else HeldOperation(*row)
