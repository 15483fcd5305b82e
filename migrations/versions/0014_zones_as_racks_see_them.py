"""Serials of zones as racks report them; existing small networks keep their reverse records where they are

Revision: 0014
Follows: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "zone_observation",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["rack_id"], ["rack.id"], name=op.f("fk_zone_observation_rack_id_rack"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zone_observation")),
        sa.UniqueConstraint("rack_id", "zone", name=op.f("uq_zone_observation_rack_id_zone")),
    )
    op.create_index(op.f("ix_zone_observation_rack_id"), "zone_observation", ["rack_id"])
    op.create_index(op.f("ix_zone_observation_zone"), "zone_observation", ["zone"])
    # Their PTR records are in the zone of the /24; a person may choose a zone of their own (RFC 2317).
    small = " OR ".join(f"cidr LIKE '%/{length}'" for length in range(25, 32))
    op.execute(sa.text(f"UPDATE subnet SET reverse_dns = 'on' WHERE cidr NOT LIKE '%:%' AND ({small})"))  # noqa: S608


def downgrade() -> None:
    """Take it back."""
    op.drop_table("zone_observation")
