"""Request ids that follow a change, and region workers' signs of life

Revision: 0004
Follows: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models import base

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("apply", "change_event", "event", "offer", "operation", "power_operation", "rack", "record_change")


def upgrade() -> None:
    """Take the step."""
    for table in TABLES:
        op.add_column(table, sa.Column("request_id", sa.String(), nullable=True))
    op.create_index(op.f("ix_change_event_request_id"), "change_event", ["request_id"])
    op.create_index(op.f("ix_offer_plan_id"), "offer", ["plan_id"])
    op.create_index(op.f("ix_rack_change_change_event_id"), "rack_change", ["change_event_id"])
    op.create_table(
        "worker",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("started_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("seen_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("looks", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker")),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("worker")
    op.drop_index(op.f("ix_rack_change_change_event_id"), "rack_change")
    op.drop_index(op.f("ix_offer_plan_id"), "offer")
    op.drop_index(op.f("ix_change_event_request_id"), "change_event")
    for table in TABLES:
        op.drop_column(table, "request_id")
