"""What tells that a list may have changed

Revision: 0021
Follows: 0020
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models.listing import drop_triggers, put_triggers

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
TABLES = ("bmc", "domain", "interface", "ip_address", "machine", "machine_tag", "pool", "tag", "user", "zone")


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "list_change",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_list_change")),
    )
    put_triggers(op.get_bind(), TABLES)


def downgrade() -> None:
    """Take it back."""
    drop_triggers(op.get_bind())
    op.drop_table("list_change")
