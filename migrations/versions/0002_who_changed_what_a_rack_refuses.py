"""Who changed what a rack refuses

Revision: 0002
Follows: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models import base

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "rack_change",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("change_event_id", sa.Integer(), nullable=True),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_rack_change_rack_id_rack"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["change_event_id"],
            ["change_event.id"],
            name=op.f("fk_rack_change_change_event_id_change_event"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rack_change")),
    )
    op.create_index("ix_rack_change_rack_id_generation", "rack_change", ["rack_id", "generation"], unique=False)
    op.add_column("apply", sa.Column("undone_ok", sa.Boolean(), nullable=True))
    op.add_column("record_change", sa.Column("actor", sa.String(), nullable=True))
    op.add_column("record_failure", sa.Column("actor", sa.String(), nullable=True))


def downgrade() -> None:
    """Take the step back."""
    op.drop_column("record_failure", "actor")
    op.drop_column("record_change", "actor")
    op.drop_column("apply", "undone_ok")
    op.drop_index("ix_rack_change_rack_id_generation", table_name="rack_change")
    op.drop_table("rack_change")
