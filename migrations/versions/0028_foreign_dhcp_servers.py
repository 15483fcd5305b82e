"""DHCP servers that are not ours

Revision: 0028
Follows: 0027
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models.base import UtcDateTime

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None
NAME = "foreign_dhcp_server"


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        NAME,
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("interface", sa.String(), nullable=False),
        sa.Column("vlan_id", sa.Integer(), nullable=True),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("mac", sa.String(), nullable=False),
        sa.Column("offered", sa.String(), nullable=False),
        sa.Column("first_seen_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("seen_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f(f"fk_{NAME}_rack_id_rack"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["vlan_id"], ["vlan.id"], name=op.f(f"fk_{NAME}_vlan_id_vlan"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{NAME}")),
        sa.UniqueConstraint("rack_id", "interface", "server", name=op.f(f"uq_{NAME}_rack_id_interface_server")),
    )
    for column in ("rack_id", "vlan_id", "seen_at"):
        op.create_index(op.f(f"ix_{NAME}_{column}"), NAME, [column])


def downgrade() -> None:
    """Take it back."""
    op.drop_table(NAME)
