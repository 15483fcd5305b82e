"""When a rack's OMAPI key was made, and when a new one was last due

Revision: 0024
Follows: 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models import base

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None
COLUMNS = ("omapi_key_at", "omapi_key_tried_at")


def upgrade() -> None:
    """Take the step."""
    for name in COLUMNS:
        op.add_column("rack", sa.Column(name, base.UtcDateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take it back."""
    for name in reversed(COLUMNS):
        op.drop_column("rack", name)
