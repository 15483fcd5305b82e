"""Snapshots, digests and timings of records

Revision: 0008
Follows: 0007
"""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
BATCH = 1000


def upgrade() -> None:
    """Take the step."""
    with op.batch_alter_table("record_change") as table:
        table.add_column(sa.Column("bucket", sa.SmallInteger(), server_default="0", nullable=False))
        table.add_column(sa.Column("weight", sa.BigInteger(), server_default="0", nullable=False))
        table.add_column(sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))
        table.drop_index("ix_record_change_key")
    _weigh()
    with op.batch_alter_table("record_change") as table:
        table.alter_column("bucket", existing_type=sa.SmallInteger(), existing_nullable=False, server_default=None)
        table.alter_column("weight", existing_type=sa.BigInteger(), existing_nullable=False, server_default=None)
    op.create_index("ix_record_change_key", "record_change", ["scope", "key", "sequence"])
    op.create_index("ix_record_change_bucket", "record_change", ["scope", "bucket"])
    for name, column, condition in (
        ("ix_record_change_superseded_at", "superseded_at", "superseded_at IS NOT NULL"),
        ("ix_record_change_tombstone", "at", "weight = 0"),
    ):
        where = sa.text(condition)
        op.create_index(name, "record_change", [column], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "record_scope",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_record_scope")),
    )
    op.create_table(
        "record_digest",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "bucket", name=op.f("pk_record_digest")),
    )
    op.create_table(
        "record_drift",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("buckets", sa.Integer(), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("left", sa.Integer(), nullable=False),
        sa.Column("keys", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["rack_id"], ["rack.id"], name=op.f("fk_record_drift_rack_id_rack"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_record_drift")),
        sa.UniqueConstraint("rack_id", "scope", "place", name=op.f("uq_record_drift_rack_id_scope_place")),
    )
    op.create_index(op.f("ix_record_drift_rack_id"), "record_drift", ["rack_id"])
    op.create_table(
        "record_apply",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.JSON(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["rack_id"], ["rack.id"], name=op.f("fk_record_apply_rack_id_rack"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_record_apply")),
    )
    op.create_index("ix_record_apply_rack_id_sequence", "record_apply", ["rack_id", "sequence"])
    with op.batch_alter_table("rack") as table:
        table.add_column(sa.Column("agreed_records", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("agreed_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("differing", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take the step back."""
    with op.batch_alter_table("rack") as table:
        table.drop_column("differing")
        table.drop_column("agreed_at")
        table.drop_column("agreed_records")
    for name in ("record_apply", "record_drift", "record_digest", "record_scope"):
        op.drop_table(name)
    op.execute(sa.text("DELETE FROM counter WHERE name = 'digested'"))
    for name in ("tombstone", "superseded_at", "bucket", "key"):
        op.drop_index(f"ix_record_change_{name}", "record_change")
    with op.batch_alter_table("record_change") as table:
        for name in ("asked_at", "superseded_at", "weight", "bucket"):
            table.drop_column(name)
    op.create_index("ix_record_change_key", "record_change", ["scope", "key"])


def _weigh() -> None:
    """Give every record that is there its bucket and weight, as renderers.record_digest does."""
    changes = sa.table(
        "record_change",
        sa.column("sequence", sa.BigInteger()),
        sa.column("key", sa.String()),
        sa.column("value", sa.JSON()),
        sa.column("bucket", sa.SmallInteger()),
        sa.column("weight", sa.BigInteger()),
    )
    connection, last = op.get_bind(), 0
    read = sa.select(changes.c.sequence, changes.c.key, changes.c.value).order_by(changes.c.sequence).limit(BATCH)
    write = sa.update(changes).where(changes.c.sequence == sa.bindparam("number"))
    while rows := connection.execute(read.where(changes.c.sequence > last)).all():
        last = rows[-1].sequence
        connection.execute(write, [{"number": row.sequence, **_place(row.key, row.value)} for row in rows])


def _place(key: str, value: object) -> dict[str, int]:
    bucket = hashlib.blake2b(key.encode(), digest_size=1).digest()[0]
    if value is None:
        return {"bucket": bucket, "weight": 0}
    text = key + "\n" + json.dumps(value, sort_keys=True, separators=(",", ":"))
    return {
        "bucket": bucket,
        "weight": int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") or 1,
    }
