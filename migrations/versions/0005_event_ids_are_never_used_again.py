"""Event ids are never used again

On SQLite the id of a deleted last event would be given to the next one, which whoever follows events would then miss.

Revision: 0005
Follows: 0004
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step: SQLite's AUTOINCREMENT; PostgreSQL's sequences are so already."""
    _rebuild(autoincrement=True)


def downgrade() -> None:
    """Take the step back."""
    _rebuild(autoincrement=False)


def _rebuild(autoincrement: bool) -> None:
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table("event", recreate="always", table_kwargs={"sqlite_autoincrement": autoincrement}):
            pass
