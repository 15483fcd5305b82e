"""Lines of syslog, which racks bring, and up to where each rack's spool is stored

Revision: 0019
Follows: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models import base

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "syslog_line",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=True),
        sa.Column("machine_id", sa.Integer(), nullable=True),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("facility", sa.Integer(), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("program", sa.String(), nullable=False),
        sa.Column("process", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.CheckConstraint("facility BETWEEN 0 AND 23", name=op.f("ck_syslog_line_facility")),
        sa.CheckConstraint("severity BETWEEN 0 AND 7", name=op.f("ck_syslog_line_severity")),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_syslog_line_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["rack_id"], ["rack.id"], name=op.f("fk_syslog_line_rack_id_rack"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_syslog_line")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("syslog_line") as table:
        table.create_index(table.f("ix_syslog_line_address"), ["address"], unique=False)
        table.create_index(table.f("ix_syslog_line_at"), ["at"], unique=False)
        table.create_index("ix_syslog_line_machine_id_id", ["machine_id", "id"], unique=False)
        table.create_index(table.f("ix_syslog_line_rack_id"), ["rack_id"], unique=False)

    op.create_table(
        "syslog_position",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rack_id"], ["rack.id"], name=op.f("fk_syslog_position_rack_id_rack"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_syslog_position")),
        sa.UniqueConstraint("rack_id", "stream", name=op.f("uq_syslog_position_rack_id_stream")),
    )
    with op.batch_alter_table("syslog_position") as table:
        table.create_index(table.f("ix_syslog_position_rack_id"), ["rack_id"], unique=False)


def downgrade() -> None:
    """Take it back."""
    op.drop_table("syslog_position")
    op.drop_table("syslog_line")
