"""Changes on their way to many racks, and the rack that takes them first

Revision: 0025
Follows: 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models.base import UtcDateTime

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    with op.batch_alter_table("rack") as table:
        table.add_column(sa.Column("canary", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "rollout",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("wave_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("stopped_rack_id", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("begun_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("ended_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["stopped_rack_id"], ["rack.id"], name=op.f("fk_rollout_stopped_rack_id_rack"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout")),
    )
    op.create_index("ix_rollout_status", "rollout", ["status"])
    op.create_index(op.f("ix_rollout_stopped_rack_id"), "rollout", ["stopped_rack_id"])
    op.create_table(
        "rollout_rack",
        sa.Column("rollout_id", sa.Integer(), nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=True),
        sa.Column("canary", sa.Boolean(), nullable=False),
        sa.Column("first", sa.Boolean(), nullable=False),
        sa.Column("waited", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("looked", sa.Boolean(), nullable=False),
        sa.Column("services", sa.JSON(), nullable=False),
        sa.Column("red", sa.JSON(), nullable=False),
        sa.Column("offer_number", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["rack_id"], ["rack.id"], name=op.f("fk_rollout_rack_rack_id_rack"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollout.id"], name=op.f("fk_rollout_rack_rollout_id_rollout"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rollout_id", "rack_id", name=op.f("pk_rollout_rack")),
    )
    op.create_index("ix_rollout_rack_rack_id", "rollout_rack", ["rack_id"])


def downgrade() -> None:
    """Take it back."""
    op.drop_table("rollout_rack")
    op.drop_table("rollout")
    with op.batch_alter_table("rack") as table:
        table.drop_column("canary")
