"""Plans that are held because they would take something away that many depend on; people approve or leave them.

Status: `offered`, `held`, `approved`, `superseded`.  An approval names the dangerous changes, so it survives later plans
whose dangerous set is no larger.
"""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.services.changes import audit, changing, event, touch_racks
from app.services.context import Context
from app.services.errors import Conflict, NotFound
from app.store.models import Plan
from app.store.queries.page import page


def held(
    context: Context, rack_id: int | None = None, after: int | None = None, limit: int | None = None
) -> list[Plan]:
    """A page of plans that wait for approval."""
    statement = select(Plan).where(Plan.status == "held")
    if rack_id is not None:
        statement = statement.where(Plan.rack_id == rack_id)
    with context.store.read() as session:
        return list(session.scalars(page(statement, Plan.id, after, limit)))


def find(
    context: Context,
    rack_id: int,
    after: int | None = None,
    limit: int | None = None,
    *,
    status: str | None = None,
) -> list[Plan]:
    """A page of a rack's plans, whatever became of them, or of those in one status."""
    statement = select(Plan).where(Plan.rack_id == rack_id)
    if status is not None:
        statement = statement.where(Plan.status == status)
    with context.store.read() as session:
        return list(session.scalars(page(statement, Plan.id, after, limit)))


def newest(context: Context, rack_id: int) -> Plan | None:
    """A rack's last plan; None while there is none."""
    with context.store.read() as session:
        return session.scalar(select(Plan).where(Plan.rack_id == rack_id).order_by(Plan.id.desc()).limit(1))


def get(context: Context, plan_id: int) -> Plan:
    """One plan. NotFound when there is none."""
    with context.store.read() as session:
        return _row(session, plan_id)


def approve(context: Context, plan_id: int) -> Plan:
    """Let a held plan go on. Conflict when it is not held any more."""
    context.require("admin", "approve a plan")
    with changing(context) as session:
        plan = _row(session, plan_id)
        statement = update(Plan).where(Plan.id == plan_id, Plan.status == "held").values(status="approved")
        if not session.execute(statement.returning(Plan.id)).first():
            raise Conflict(f"plan {plan_id} is {plan.status}, not held; look at the rack's newest plan")
        session.refresh(plan)
        plan.approved_by_id = context.actor.user_id
        touch_racks(session, [plan.rack_id])
        audit(session, context, "approve", "plan", plan.id, rack_id=plan.rack_id, danger_hash=plan.danger_hash)
        event(
            session,
            context,
            "plan.approved",
            f"{context.actor.name} has approved plan {plan.id}.",
            rack_id=plan.rack_id,
        )
        return plan


def _row(session: Session, plan_id: int) -> Plan:
    plan = session.get(Plan, plan_id)
    if plan is None:
        raise NotFound(f"there is no plan {plan_id}", field="plan_id")
    return plan
