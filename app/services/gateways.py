"""Gateways that installed machines still use after their subnet was given another one.

DHCP hands out a new gateway as soon as racks have taken the change; what a machine was installed with stays on its disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from app.lifecycle.states import State
from app.services.context import Context
from app.services.subnets import subnet_row
from app.store.models import InstalledGateway, Machine, Subnet
from app.store.queries.page import page


@dataclass(frozen=True)
class StaleGateway:
    """A deployed machine whose system sends through a gateway that is not its subnet's any more."""

    id: int
    machine_id: int
    hostname: str
    interface: str
    installed_gateway: str
    gateway: str | None
    installed_at: Any


def stale(context: Context, subnet_id: int, after: int | None = None, limit: int | None = None) -> list[StaleGateway]:
    """Deployed machines on another gateway than the subnet's present one, a page by id."""
    context.require("viewer", "see subnets")
    statement: Any = (
        select(
            InstalledGateway.id,
            InstalledGateway.machine_id,
            Machine.hostname,
            InstalledGateway.interface,
            InstalledGateway.gateway.label("installed"),
            Subnet.gateway,
            InstalledGateway.at,
        )
        .join(Machine, Machine.id == InstalledGateway.machine_id)
        .join(Subnet, Subnet.id == InstalledGateway.subnet_id)
        .where(
            InstalledGateway.subnet_id == subnet_id,
            Machine.state == State.DEPLOYED,
            or_(Subnet.gateway.is_(None), Subnet.gateway != InstalledGateway.gateway),
        )
    )
    with context.store.read() as session:
        subnet_row(session, subnet_id)
        rows = session.execute(page(statement, InstalledGateway.id, after, limit))
        return [
            StaleGateway(row.id, row.machine_id, row.hostname, row.interface, row.installed, row.gateway, row.at)
            for row in rows
        ]
