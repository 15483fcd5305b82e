"""Names of reservations are found by index

Revision: 0026
Follows: 0025
"""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None
NAME, TABLE = "ix_ip_address_hostname", "ip_address"


def upgrade() -> None:
    """Take the step."""
    op.create_index(NAME, TABLE, ["hostname", "interface_id"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index(NAME, TABLE)
