"""A rack tells the certificate with which its Kea speaks to its partner's.

Revision: 0012
Follows: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    op.add_column("rack", sa.Column("ha_certificate", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take it back."""
    op.drop_column("rack", "ha_certificate")
