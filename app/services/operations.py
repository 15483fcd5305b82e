"""Operations and power orders by their own number and in lists, for whoever follows them."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import select

from app.services.context import Context
from app.services.errors import NotFound
from app.store.models import Operation, PowerOperation
from app.store.queries.page import newest


def get(context: Context, operation_id: int) -> Operation:
    """One operation."""
    context.require("viewer", "see operations")
    with context.store.read() as session:
        found = session.get(Operation, operation_id)
    if found is None:
        raise NotFound(f"operation {operation_id} does not exist; list the operations", field="operation_id")
    return found


def find(
    context: Context,
    after: int = 0,
    limit: int = 100,
    *,
    machine_id: int | None = None,
    status: str | None = None,
    action: str | None = None,
    since: dt.datetime | None = None,
) -> list[Operation]:
    """A page of operations, newest first; only those that are as asked. since: begun at that moment or later."""
    context.require("viewer", "see operations")
    wanted = {"machine_id": machine_id, "status": status, "action": action}
    statement = select(Operation).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if since is not None:
        statement = statement.where(Operation.started_at >= since)
    with context.store.read() as session:
        return list(session.scalars(newest(statement, Operation.id, after, limit)))


def power_order(context: Context, order_id: int) -> PowerOperation:
    """One power order."""
    context.require("viewer", "see power orders")
    with context.store.read() as session:
        found = session.get(PowerOperation, order_id)
    if found is None:
        raise NotFound(f"power order {order_id} does not exist; list the power orders", field="order_id")
    return found


def power_orders(
    context: Context,
    after: int = 0,
    limit: int = 100,
    *,
    machine_id: int | None = None,
    rack_id: int | None = None,
    verb: str | None = None,
    status: str | None = None,
) -> list[PowerOperation]:
    """A page of power orders, newest first; only those that are as asked."""
    context.require("viewer", "see power orders")
    wanted = {"machine_id": machine_id, "rack_id": rack_id, "verb": verb, "status": status}
    statement = select(PowerOperation).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    with context.store.read() as session:
        return list(session.scalars(newest(statement, PowerOperation.id, after, limit)))
