"""Subnets say whether clients may make up their own addresses

Revision: 0015
Follows: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    with op.batch_alter_table("subnet") as table:
        table.add_column(sa.Column("slaac", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("subnet") as table:
        table.drop_column("slaac")
