"""The first schema

Revision: 0001
Follows:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models import base

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "counter",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counter")),
    )
    op.create_table(
        "domain",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("ttl_seconds", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain")),
        sa.UniqueConstraint("name", name=op.f("uq_domain_name")),
    )
    op.create_table(
        "fabric",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fabric")),
        sa.UniqueConstraint("name", name=op.f("uq_fabric_name")),
    )
    op.create_table(
        "image",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("os", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("architecture", sa.String(), nullable=False),
        sa.Column("recipe", sa.String(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("name", "recipe", name=op.f("uq_image_name_recipe")),
    )
    op.create_index(op.f("ix_image_name"), "image", ["name"], unique=False)
    op.create_table(
        "pool",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pool")),
        sa.UniqueConstraint("name", name=op.f("uq_pool_name")),
    )
    op.create_table(
        "rack",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=True),
        sa.Column("relay_token_hash", sa.String(), nullable=True),
        sa.Column("layout", sa.JSON(), nullable=False),
        sa.Column("ports", sa.JSON(), nullable=False),
        sa.Column("interfaces", sa.JSON(), nullable=False),
        sa.Column("control_plane_host", sa.String(), nullable=False),
        sa.Column("control_plane_port", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("planned_generation", sa.Integer(), nullable=False),
        sa.Column("offer_number", sa.Integer(), nullable=False),
        sa.Column("applied_offer", sa.Integer(), nullable=False),
        sa.Column("applied_records", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("seen_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("enrolled_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rack")),
        sa.UniqueConstraint("name", name=op.f("uq_rack_name")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_rack_token_hash")),
    )
    op.create_table(
        "record_change",
        sa.Column(
            "sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=True),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_record_change")),
    )
    op.create_index("ix_record_change_key", "record_change", ["scope", "key"], unique=False)
    op.create_index("ix_record_change_scope_sequence", "record_change", ["scope", "sequence"], unique=False)
    op.create_table(
        "setting",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_setting")),
    )
    op.create_table(
        "tag",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag")),
        sa.UniqueConstraint("name", name=op.f("uq_tag_name")),
    )
    op.create_table(
        "user",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("name", name=op.f("uq_user_name")),
    )
    op.create_table(
        "zone",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zone")),
        sa.UniqueConstraint("name", name=op.f("uq_zone_name")),
    )
    op.create_table(
        "api_token",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("expires_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_api_token_user_id_user"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_token_token_hash")),
    )
    op.create_index(op.f("ix_api_token_user_id"), "api_token", ["user_id"], unique=False)
    op.create_table(
        "apply",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("offer_number", sa.Integer(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(), nullable=True),
        sa.Column("seconds", sa.JSON(), nullable=False),
        sa.Column("probes", sa.JSON(), nullable=False),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_apply_rack_id_rack"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_apply")),
    )
    op.create_index(op.f("ix_apply_rack_id"), "apply", ["rack_id"], unique=False)
    op.create_table(
        "change_event",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("thing", sa.String(), nullable=False),
        sa.Column("thing_id", sa.Integer(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_change_event_user_id_user"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_event")),
    )
    op.create_table(
        "enrolment_code",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("code_hash", sa.String(), nullable=False),
        sa.Column("rack_name", sa.String(), nullable=True),
        sa.Column("expires_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("used_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["user.id"], name=op.f("fk_enrolment_code_created_by_id_user"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrolment_code")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_enrolment_code_code_hash")),
    )
    op.create_table(
        "image_file",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_image_file_image_id_image"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_file")),
    )
    op.create_index(op.f("ix_image_file_image_id"), "image_file", ["image_id"], unique=False)
    op.create_index(op.f("ix_image_file_sha256"), "image_file", ["sha256"], unique=False)
    op.create_table(
        "machine",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("hostname", sa.String(), nullable=False),
        sa.Column("domain_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("state_since", base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("power_state", sa.String(), nullable=False),
        sa.Column("power_checked_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("architecture", sa.String(), nullable=False),
        sa.Column("firmware", sa.String(), nullable=True),
        sa.Column("system_uuid", sa.String(), nullable=True),
        sa.Column("owner_id", sa.Integer(), nullable=True),
        sa.Column("zone_id", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=True),
        sa.Column("cpu_count", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("storage_bytes", sa.BigInteger(), nullable=False),
        sa.Column("inventory", sa.JSON(), nullable=True),
        sa.Column("ssh_host_keys", sa.JSON(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_machine_domain_id_domain")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_machine_image_id_image")),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name=op.f("fk_machine_owner_id_user")),
        sa.ForeignKeyConstraint(["pool_id"], ["pool.id"], name=op.f("fk_machine_pool_id_pool")),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_machine_rack_id_rack")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_machine_zone_id_zone")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_machine")),
        sa.UniqueConstraint("hostname", name=op.f("uq_machine_hostname")),
    )
    op.create_index("ix_machine_choice", "machine", ["state", "cpu_count", "memory_mib"], unique=False)
    op.create_index(op.f("ix_machine_owner_id"), "machine", ["owner_id"], unique=False)
    op.create_index(op.f("ix_machine_pool_id"), "machine", ["pool_id"], unique=False)
    op.create_index(op.f("ix_machine_state"), "machine", ["state"], unique=False)
    op.create_index(op.f("ix_machine_system_uuid"), "machine", ["system_uuid"], unique=False)
    op.create_index(op.f("ix_machine_zone_id"), "machine", ["zone_id"], unique=False)
    op.create_table(
        "observation",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=True),
        sa.Column("running", sa.Boolean(), nullable=False),
        sa.Column("probes_ok", sa.Boolean(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_observation_rack_id_rack"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observation")),
        sa.UniqueConstraint("rack_id", "service", name=op.f("uq_observation_rack_id_service")),
    )
    op.create_index(op.f("ix_observation_rack_id"), "observation", ["rack_id"], unique=False)
    op.create_table(
        "plan",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("dangers", sa.JSON(), nullable=False),
        sa.Column("danger_hash", sa.String(), nullable=True),
        sa.Column("approved_by_id", sa.Integer(), nullable=True),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["approved_by_id"], ["user.id"], name=op.f("fk_plan_approved_by_id_user"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_plan_rack_id_rack"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan")),
    )
    op.create_index(op.f("ix_plan_rack_id"), "plan", ["rack_id"], unique=False)
    op.create_table(
        "record_failure",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["rack_id"], ["rack.id"], name=op.f("fk_record_failure_rack_id_rack"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_record_failure")),
    )
    op.create_index(op.f("ix_record_failure_rack_id"), "record_failure", ["rack_id"], unique=False)
    op.create_table(
        "ssh_key",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("comment", sa.String(), nullable=False),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_ssh_key_user_id_user"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ssh_key")),
        sa.UniqueConstraint("user_id", "fingerprint", name=op.f("uq_ssh_key_user_id_fingerprint")),
    )
    op.create_index(op.f("ix_ssh_key_user_id"), "ssh_key", ["user_id"], unique=False)
    op.create_table(
        "vlan",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("fabric_id", sa.Integer(), nullable=False),
        sa.Column("vid", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("mtu", sa.Integer(), nullable=False),
        sa.Column("dhcp_on", sa.Boolean(), nullable=False),
        sa.Column("router_advertisements", sa.Boolean(), nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("mtu >= 552 AND mtu <= 65535", name=op.f("ck_vlan_mtu")),
        sa.CheckConstraint("vid >= 0 AND vid <= 4094", name=op.f("ck_vlan_vid")),
        sa.ForeignKeyConstraint(["fabric_id"], ["fabric.id"], name=op.f("fk_vlan_fabric_id_fabric")),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_vlan_rack_id_rack")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vlan")),
        sa.UniqueConstraint("fabric_id", "vid", name=op.f("uq_vlan_fabric_id_vid")),
    )
    op.create_index(op.f("ix_vlan_fabric_id"), "vlan", ["fabric_id"], unique=False)
    op.create_index(op.f("ix_vlan_rack_id"), "vlan", ["rack_id"], unique=False)
    op.create_table(
        "bmc",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("driver", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("mac", sa.String(), nullable=True),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=True),
        sa.Column("found", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_bmc_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bmc")),
        sa.UniqueConstraint("machine_id", name=op.f("uq_bmc_machine_id")),
    )
    op.create_index(op.f("ix_bmc_address"), "bmc", ["address"], unique=False)
    op.create_table(
        "disk",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("by_id", sa.String(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("serial", sa.String(), nullable=True),
        sa.Column("rotational", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_disk_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disk")),
        sa.UniqueConstraint("machine_id", "name", name=op.f("uq_disk_machine_id_name")),
    )
    op.create_index(op.f("ix_disk_machine_id"), "disk", ["machine_id"], unique=False)
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=True),
        sa.Column("rack_id", sa.Integer(), nullable=True),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_event_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_event_rack_id_rack"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_index("ix_event_machine_id_id", "event", ["machine_id", "id"], unique=False)
    op.create_index(op.f("ix_event_rack_id"), "event", ["rack_id"], unique=False)
    op.create_table(
        "machine_tag",
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("tag_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_machine_tag_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["tag_id"], ["tag.id"], name=op.f("fk_machine_tag_tag_id_tag"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("machine_id", "tag_id", name=op.f("pk_machine_tag")),
    )
    op.create_index(op.f("ix_machine_tag_tag_id"), "machine_tag", ["tag_id"], unique=False)
    op.create_table(
        "offer",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("plan_id", sa.Integer(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.Column("digests", sa.JSON(), nullable=False),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["plan.id"], name=op.f("fk_offer_plan_id_plan"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_offer_rack_id_rack"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offer")),
        sa.UniqueConstraint("rack_id", "number", name=op.f("uq_offer_rack_id_number")),
    )
    op.create_index(op.f("ix_offer_rack_id"), "offer", ["rack_id"], unique=False)
    op.create_table(
        "operation",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("step_started_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("step_data", sa.JSON(), nullable=False),
        sa.Column("signals", sa.JSON(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("wake_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("started_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("finished_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('running', 'succeeded', 'failed', 'aborted')", name=op.f("ck_operation_status")),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_operation_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_operation_user_id_user"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operation")),
    )
    op.create_index(op.f("ix_operation_deadline_at"), "operation", ["deadline_at"], unique=False)
    op.create_index(op.f("ix_operation_machine_id"), "operation", ["machine_id"], unique=False)
    op.create_index(op.f("ix_operation_status"), "operation", ["status"], unique=False)
    op.create_index(op.f("ix_operation_wake_at"), "operation", ["wake_at"], unique=False)
    op.create_index(
        "uq_operation_running",
        "operation",
        ["machine_id"],
        unique=True,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "subnet",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("cidr", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("vlan_id", sa.Integer(), nullable=False),
        sa.Column("domain_id", sa.Integer(), nullable=False),
        sa.Column("gateway", sa.String(), nullable=True),
        sa.Column("dns_servers", sa.JSON(), nullable=False),
        sa.Column("managed", sa.Boolean(), nullable=False),
        sa.Column("lease_seconds", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_subnet_domain_id_domain")),
        sa.ForeignKeyConstraint(["vlan_id"], ["vlan.id"], name=op.f("fk_subnet_vlan_id_vlan")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subnet")),
        sa.UniqueConstraint("cidr", name=op.f("uq_subnet_cidr")),
    )
    op.create_index(op.f("ix_subnet_vlan_id"), "subnet", ["vlan_id"], unique=False)
    op.create_table(
        "boot_token",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=True),
        sa.Column("operation_id", sa.Integer(), nullable=True),
        sa.Column("rack_id", sa.Integer(), nullable=True),
        sa.Column("mac", sa.String(), nullable=True),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("issued_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("used_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_boot_token_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operation.id"], name=op.f("fk_boot_token_operation_id_operation"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_boot_token_rack_id_rack"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_boot_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_boot_token_token_hash")),
    )
    op.create_index(op.f("ix_boot_token_mac"), "boot_token", ["mac"], unique=False)
    op.create_index(op.f("ix_boot_token_machine_id"), "boot_token", ["machine_id"], unique=False)
    op.create_index(op.f("ix_boot_token_operation_id"), "boot_token", ["operation_id"], unique=False)
    op.create_table(
        "interface",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("mac", sa.String(), nullable=False),
        sa.Column("vlan_id", sa.Integer(), nullable=True),
        sa.Column("subnet_id", sa.Integer(), nullable=True),
        sa.Column("boot", sa.Boolean(), nullable=False),
        sa.Column("link", sa.Boolean(), nullable=True),
        sa.Column("speed_mbps", sa.Integer(), nullable=True),
        sa.Column("driver", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_interface_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["subnet_id"], ["subnet.id"], name=op.f("fk_interface_subnet_id_subnet")),
        sa.ForeignKeyConstraint(["vlan_id"], ["vlan.id"], name=op.f("fk_interface_vlan_id_vlan")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interface")),
        sa.UniqueConstraint("mac", name=op.f("uq_interface_mac")),
    )
    op.create_index(op.f("ix_interface_machine_id"), "interface", ["machine_id"], unique=False)
    op.create_index(op.f("ix_interface_subnet_id"), "interface", ["subnet_id"], unique=False)
    op.create_index(op.f("ix_interface_vlan_id"), "interface", ["vlan_id"], unique=False)
    op.create_table(
        "ip_range",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("subnet_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("start", sa.String(), nullable=False),
        sa.Column("end", sa.String(), nullable=False),
        sa.Column("start_key", sa.String(), nullable=False),
        sa.Column("end_key", sa.String(), nullable=False),
        sa.Column("comment", sa.String(), nullable=False),
        sa.CheckConstraint("kind IN ('dynamic', 'reserved')", name=op.f("ck_ip_range_kind")),
        sa.ForeignKeyConstraint(
            ["subnet_id"], ["subnet.id"], name=op.f("fk_ip_range_subnet_id_subnet"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ip_range")),
    )
    op.create_index(op.f("ix_ip_range_subnet_id"), "ip_range", ["subnet_id"], unique=False)
    op.create_table(
        "power_operation",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("operation_id", sa.Integer(), nullable=True),
        sa.Column("rack_id", sa.Integer(), nullable=True),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("power", sa.String(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("finished_at", base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_power_operation_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operation.id"],
            name=op.f("fk_power_operation_operation_id_operation"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["rack_id"], ["rack.id"], name=op.f("fk_power_operation_rack_id_rack"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_power_operation")),
    )
    op.create_index(op.f("ix_power_operation_machine_id"), "power_operation", ["machine_id"], unique=False)
    op.create_index(op.f("ix_power_operation_operation_id"), "power_operation", ["operation_id"], unique=False)
    op.create_index(op.f("ix_power_operation_rack_id"), "power_operation", ["rack_id"], unique=False)
    op.create_index(op.f("ix_power_operation_status"), "power_operation", ["status"], unique=False)
    op.create_table(
        "script_result",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("operation_id", sa.Integer(), nullable=True),
        sa.Column("script", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("stdout", sa.Text(), nullable=False),
        sa.Column("stderr", sa.Text(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_script_result_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operation.id"], name=op.f("fk_script_result_operation_id_operation"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_script_result")),
        sa.UniqueConstraint("operation_id", "script", name=op.f("uq_script_result_operation_id_script")),
    )
    op.create_index(op.f("ix_script_result_machine_id"), "script_result", ["machine_id"], unique=False)
    op.create_table(
        "ip_address",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("subnet_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("address_key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("interface_id", sa.Integer(), nullable=True),
        sa.Column("rack_id", sa.Integer(), nullable=True),
        sa.Column("hostname", sa.String(), nullable=True),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["interface_id"], ["interface.id"], name=op.f("fk_ip_address_interface_id_interface"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_ip_address_rack_id_rack"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["subnet_id"], ["subnet.id"], name=op.f("fk_ip_address_subnet_id_subnet")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ip_address")),
        sa.UniqueConstraint("subnet_id", "address", name=op.f("uq_ip_address_subnet_id_address")),
    )
    op.create_index(op.f("ix_ip_address_address_key"), "ip_address", ["address_key"], unique=False)
    op.create_index(op.f("ix_ip_address_interface_id"), "ip_address", ["interface_id"], unique=False)
    op.create_index(op.f("ix_ip_address_rack_id"), "ip_address", ["rack_id"], unique=False)
    op.create_index(op.f("ix_ip_address_subnet_id"), "ip_address", ["subnet_id"], unique=False)


def downgrade() -> None:
    """Take it back."""
    op.drop_index(op.f("ix_ip_address_subnet_id"), table_name="ip_address")
    op.drop_index(op.f("ix_ip_address_rack_id"), table_name="ip_address")
    op.drop_index(op.f("ix_ip_address_interface_id"), table_name="ip_address")
    op.drop_index(op.f("ix_ip_address_address_key"), table_name="ip_address")
    op.drop_table("ip_address")
    op.drop_index(op.f("ix_script_result_machine_id"), table_name="script_result")
    op.drop_table("script_result")
    op.drop_index(op.f("ix_power_operation_status"), table_name="power_operation")
    op.drop_index(op.f("ix_power_operation_rack_id"), table_name="power_operation")
    op.drop_index(op.f("ix_power_operation_operation_id"), table_name="power_operation")
    op.drop_index(op.f("ix_power_operation_machine_id"), table_name="power_operation")
    op.drop_table("power_operation")
    op.drop_index(op.f("ix_ip_range_subnet_id"), table_name="ip_range")
    op.drop_table("ip_range")
    op.drop_index(op.f("ix_interface_vlan_id"), table_name="interface")
    op.drop_index(op.f("ix_interface_subnet_id"), table_name="interface")
    op.drop_index(op.f("ix_interface_machine_id"), table_name="interface")
    op.drop_table("interface")
    op.drop_index(op.f("ix_boot_token_operation_id"), table_name="boot_token")
    op.drop_index(op.f("ix_boot_token_machine_id"), table_name="boot_token")
    op.drop_index(op.f("ix_boot_token_mac"), table_name="boot_token")
    op.drop_table("boot_token")
    op.drop_index(op.f("ix_subnet_vlan_id"), table_name="subnet")
    op.drop_table("subnet")
    op.drop_index(
        "uq_operation_running",
        table_name="operation",
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index(op.f("ix_operation_wake_at"), table_name="operation")
    op.drop_index(op.f("ix_operation_status"), table_name="operation")
    op.drop_index(op.f("ix_operation_machine_id"), table_name="operation")
    op.drop_index(op.f("ix_operation_deadline_at"), table_name="operation")
    op.drop_table("operation")
    op.drop_index(op.f("ix_offer_rack_id"), table_name="offer")
    op.drop_table("offer")
    op.drop_index(op.f("ix_machine_tag_tag_id"), table_name="machine_tag")
    op.drop_table("machine_tag")
    op.drop_index(op.f("ix_event_rack_id"), table_name="event")
    op.drop_index("ix_event_machine_id_id", table_name="event")
    op.drop_table("event")
    op.drop_index(op.f("ix_disk_machine_id"), table_name="disk")
    op.drop_table("disk")
    op.drop_index(op.f("ix_bmc_address"), table_name="bmc")
    op.drop_table("bmc")
    op.drop_index(op.f("ix_vlan_rack_id"), table_name="vlan")
    op.drop_index(op.f("ix_vlan_fabric_id"), table_name="vlan")
    op.drop_table("vlan")
    op.drop_index(op.f("ix_ssh_key_user_id"), table_name="ssh_key")
    op.drop_table("ssh_key")
    op.drop_index(op.f("ix_record_failure_rack_id"), table_name="record_failure")
    op.drop_table("record_failure")
    op.drop_index(op.f("ix_plan_rack_id"), table_name="plan")
    op.drop_table("plan")
    op.drop_index(op.f("ix_observation_rack_id"), table_name="observation")
    op.drop_table("observation")
    op.drop_index(op.f("ix_machine_zone_id"), table_name="machine")
    op.drop_index(op.f("ix_machine_system_uuid"), table_name="machine")
    op.drop_index(op.f("ix_machine_state"), table_name="machine")
    op.drop_index(op.f("ix_machine_pool_id"), table_name="machine")
    op.drop_index(op.f("ix_machine_owner_id"), table_name="machine")
    op.drop_index("ix_machine_choice", table_name="machine")
    op.drop_table("machine")
    op.drop_index(op.f("ix_image_file_sha256"), table_name="image_file")
    op.drop_index(op.f("ix_image_file_image_id"), table_name="image_file")
    op.drop_table("image_file")
    op.drop_table("enrolment_code")
    op.drop_table("change_event")
    op.drop_index(op.f("ix_apply_rack_id"), table_name="apply")
    op.drop_table("apply")
    op.drop_index(op.f("ix_api_token_user_id"), table_name="api_token")
    op.drop_table("api_token")
    op.drop_table("zone")
    op.drop_table("user")
    op.drop_table("tag")
    op.drop_table("setting")
    op.drop_index("ix_record_change_scope_sequence", table_name="record_change")
    op.drop_index("ix_record_change_key", table_name="record_change")
    op.drop_table("record_change")
    op.drop_table("rack")
    op.drop_table("pool")
    op.drop_index(op.f("ix_image_name"), table_name="image")
    op.drop_table("image")
    op.drop_table("fabric")
    op.drop_table("domain")
    op.drop_table("counter")
