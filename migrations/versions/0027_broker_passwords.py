"""Each rack's own password at the broker

Revision: 0027
Follows: 0026
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models import base

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    op.add_column("rack", sa.Column("broker_password", sa.Text(), nullable=True))
    op.add_column("rack", sa.Column("broker_password_at", base.UtcDateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take it back."""
    op.drop_column("rack", "broker_password_at")
    op.drop_column("rack", "broker_password")
