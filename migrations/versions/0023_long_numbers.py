"""Numbers of rows that are written without end have 64 bits

A number of 32 bits is used up at last, and then nothing can be written: of `list_change` every statement on ten tables takes
one, of `syslog_line` every line that any machine logs.  SQLite's numbers have 64 bits already.

Revision: 0023
Follows: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
TABLES = ("list_change", "syslog_line")


def upgrade() -> None:
    """Take the step."""
    _number(sa.Integer(), sa.BigInteger(), "bigint")


def downgrade() -> None:
    """Take it back; higher numbers than fit are refused by the database."""
    _number(sa.BigInteger(), sa.Integer(), "integer")


def _number(old: sa.types.TypeEngine[int], new: sa.types.TypeEngine[int], word: str) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in TABLES:
        op.alter_column(table, "id", existing_type=old, type_=new, existing_nullable=False)
        op.execute(f"ALTER SEQUENCE {table}_id_seq AS {word}")
