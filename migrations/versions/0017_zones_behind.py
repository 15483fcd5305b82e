"""Since when a rack's copy of a zone is behind its primary's

Revision: 0017
Follows: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models import base

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    with op.batch_alter_table("zone_observation") as table:
        table.add_column(sa.Column("behind_since", base.UtcDateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("zone_observation") as table:
        table.drop_column("behind_since")
