"""A table for lines of syslog goes, which nothing ever wrote

Revision: 0016
Follows: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models import base

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    op.drop_table("syslog_line")


def downgrade() -> None:
    """Take it back."""
    op.create_table(
        "syslog_line",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=True),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("facility", sa.Integer(), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_syslog_line_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_syslog_line_rack_id_rack"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_syslog_line")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("syslog_line") as table:
        table.create_index(table.f("ix_syslog_line_at"), ["at"], unique=False)
        table.create_index("ix_syslog_line_machine_id_id", ["machine_id", "id"], unique=False)
        table.create_index(table.f("ix_syslog_line_rack_id"), ["rack_id"], unique=False)
