"""How interfaces get their addresses, and which gateway a machine was installed with

Revision: 0009
Follows: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models import base

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "interface_link",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("interface_id", sa.Integer(), nullable=False),
        sa.Column("subnet_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.CheckConstraint("mode IN ('auto', 'sticky', 'static', 'dhcp')", name=op.f("ck_interface_link_mode")),
        sa.ForeignKeyConstraint(
            ["interface_id"],
            ["interface.id"],
            name=op.f("fk_interface_link_interface_id_interface"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subnet_id"], ["subnet.id"], name=op.f("fk_interface_link_subnet_id_subnet"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interface_link")),
        sa.UniqueConstraint("interface_id", "subnet_id", name=op.f("uq_interface_link_interface_id_subnet_id")),
    )
    op.create_index(op.f("ix_interface_link_interface_id"), "interface_link", ["interface_id"])
    op.create_index(op.f("ix_interface_link_subnet_id"), "interface_link", ["subnet_id"])
    op.create_table(
        "installed_gateway",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("subnet_id", sa.Integer(), nullable=False),
        sa.Column("interface", sa.String(), nullable=False),
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_installed_gateway_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subnet_id"], ["subnet.id"], name=op.f("fk_installed_gateway_subnet_id_subnet"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installed_gateway")),
        sa.UniqueConstraint(
            "machine_id", "subnet_id", "gateway", name=op.f("uq_installed_gateway_machine_id_subnet_id_gateway")
        ),
    )
    op.create_index(op.f("ix_installed_gateway_machine_id"), "installed_gateway", ["machine_id"])
    op.create_index(op.f("ix_installed_gateway_subnet_id"), "installed_gateway", ["subnet_id"])


def downgrade() -> None:
    """Take it back."""
    op.drop_table("installed_gateway")
    op.drop_table("interface_link")
