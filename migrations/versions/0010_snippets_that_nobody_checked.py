"""DHCP snippets say whether a server's checker has judged them

Revision: 0010
Follows: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    with op.batch_alter_table("dhcp_snippet") as table:
        table.add_column(sa.Column("checked", sa.Boolean(), server_default=sa.true(), nullable=False))


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("dhcp_snippet") as table:
        table.drop_column("checked")
