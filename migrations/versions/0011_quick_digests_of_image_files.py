"""Image files have a second digest, which costs machines less to check

Revision: 0011
Follows: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step. Images imported before are checked by SHA-256 until they are imported again."""
    op.add_column("image_file", sa.Column("blake2b", sa.String(), nullable=True))


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("image_file") as table:
        table.drop_column("blake2b")
