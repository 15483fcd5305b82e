"""Spaces, routes, devices, DNS records, DHCP snippets, package repositories; what racks observe

Revision: 0006
Follows: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.models import base

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""

    op.create_table(
        "dns_secondary",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("key_name", sa.String(), nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dns_secondary")),
        sa.UniqueConstraint("key_name", name=op.f("uq_dns_secondary_key_name")),
        sa.UniqueConstraint("name", name=op.f("uq_dns_secondary_name")),
    )
    op.create_table(
        "package_repository",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("os", sa.String(), nullable=False),
        sa.Column("main", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("suites", sa.JSON(), nullable=False),
        sa.Column("components", sa.JSON(), nullable=False),
        sa.Column("architectures", sa.JSON(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_package_repository")),
        sa.UniqueConstraint("name", name=op.f("uq_package_repository_name")),
    )
    op.create_table(
        "space",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_space")),
        sa.UniqueConstraint("name", name=op.f("uq_space_name")),
    )
    op.create_table(
        "dns_record",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("domain_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("ttl_seconds", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "type IN ('A', 'AAAA', 'CNAME', 'MX', 'NS', 'SRV', 'SSHFP', 'TXT')", name=op.f("ck_dns_record_type")
        ),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domain.id"], name=op.f("fk_dns_record_domain_id_domain"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dns_record")),
        sa.UniqueConstraint("domain_id", "name", "type", "data", name=op.f("uq_dns_record_domain_id_name_type_data")),
    )
    with op.batch_alter_table("dns_record") as table:
        table.create_index(table.f("ix_dns_record_domain_id"), ["domain_id"], unique=False)

    op.create_table(
        "device",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("hostname", sa.String(), nullable=False),
        sa.Column("domain_id", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=True),
        sa.Column("zone_id", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_device_domain_id_domain")),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name=op.f("fk_device_owner_id_user"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["machine.id"], name=op.f("fk_device_parent_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_device_zone_id_zone")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("hostname", name=op.f("uq_device_hostname")),
    )
    with op.batch_alter_table("device") as table:
        table.create_index(table.f("ix_device_domain_id"), ["domain_id"], unique=False)
        table.create_index(table.f("ix_device_owner_id"), ["owner_id"], unique=False)
        table.create_index(table.f("ix_device_parent_id"), ["parent_id"], unique=False)
        table.create_index(table.f("ix_device_zone_id"), ["zone_id"], unique=False)

    op.create_table(
        "lease",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("subnet_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("address_key", sa.String(), nullable=False),
        sa.Column("mac", sa.String(), nullable=True),
        sa.Column("duid", sa.String(), nullable=True),
        sa.Column("hostname", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("started_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_lease_rack_id_rack"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["subnet_id"], ["subnet.id"], name=op.f("fk_lease_subnet_id_subnet"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lease")),
        sa.UniqueConstraint("rack_id", "address", name=op.f("uq_lease_rack_id_address")),
    )
    with op.batch_alter_table("lease") as table:
        table.create_index(table.f("ix_lease_address_key"), ["address_key"], unique=False)
        table.create_index(table.f("ix_lease_expires_at"), ["expires_at"], unique=False)
        table.create_index(table.f("ix_lease_mac"), ["mac"], unique=False)
        table.create_index(table.f("ix_lease_rack_id"), ["rack_id"], unique=False)
        table.create_index(table.f("ix_lease_subnet_id"), ["subnet_id"], unique=False)

    op.create_table(
        "neighbour",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("interface", sa.String(), nullable=False),
        sa.Column("subnet_id", sa.Integer(), nullable=True),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("address_key", sa.String(), nullable=False),
        sa.Column("mac", sa.String(), nullable=False),
        sa.Column("first_seen_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("seen_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_neighbour_rack_id_rack"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["subnet_id"], ["subnet.id"], name=op.f("fk_neighbour_subnet_id_subnet"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_neighbour")),
        sa.UniqueConstraint("rack_id", "interface", "address", name=op.f("uq_neighbour_rack_id_interface_address")),
    )
    with op.batch_alter_table("neighbour") as table:
        table.create_index(table.f("ix_neighbour_address_key"), ["address_key"], unique=False)
        table.create_index(table.f("ix_neighbour_mac"), ["mac"], unique=False)
        table.create_index(table.f("ix_neighbour_rack_id"), ["rack_id"], unique=False)
        table.create_index(table.f("ix_neighbour_seen_at"), ["seen_at"], unique=False)
        table.create_index(table.f("ix_neighbour_subnet_id"), ["subnet_id"], unique=False)

    op.create_table(
        "static_route",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("destination_id", sa.Integer(), nullable=False),
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("metric", sa.Integer(), nullable=False),
        sa.CheckConstraint("metric >= 0", name=op.f("ck_static_route_metric")),
        sa.ForeignKeyConstraint(
            ["destination_id"], ["subnet.id"], name=op.f("fk_static_route_destination_id_subnet"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["subnet.id"], name=op.f("fk_static_route_source_id_subnet"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_static_route")),
        sa.UniqueConstraint(
            "source_id", "destination_id", "gateway", name=op.f("uq_static_route_source_id_destination_id_gateway")
        ),
    )
    with op.batch_alter_table("static_route") as table:
        table.create_index(table.f("ix_static_route_destination_id"), ["destination_id"], unique=False)
        table.create_index(table.f("ix_static_route_source_id"), ["source_id"], unique=False)

    op.create_table(
        "syslog_line",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rack_id", sa.Integer(), nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=True),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("facility", sa.Integer(), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_syslog_line_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["rack_id"], ["rack.id"], name=op.f("fk_syslog_line_rack_id_rack"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_syslog_line")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("syslog_line") as table:
        table.create_index(table.f("ix_syslog_line_at"), ["at"], unique=False)
        table.create_index("ix_syslog_line_machine_id_id", ["machine_id", "id"], unique=False)
        table.create_index(table.f("ix_syslog_line_rack_id"), ["rack_id"], unique=False)

    op.create_table(
        "dhcp_snippet",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("vlan_id", sa.Integer(), nullable=True),
        sa.Column("subnet_id", sa.Integer(), nullable=True),
        sa.Column("range_id", sa.Integer(), nullable=True),
        sa.Column("machine_id", sa.Integer(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", base.UtcDateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('option', 'kea4', 'kea6', 'dhcpd')", name=op.f("ck_dhcp_snippet_kind")),
        sa.CheckConstraint(
            "scope IN ('global', 'vlan', 'subnet', 'range', 'machine')", name=op.f("ck_dhcp_snippet_scope")
        ),
        sa.ForeignKeyConstraint(
            ["machine_id"], ["machine.id"], name=op.f("fk_dhcp_snippet_machine_id_machine"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["range_id"], ["ip_range.id"], name=op.f("fk_dhcp_snippet_range_id_ip_range"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subnet_id"], ["subnet.id"], name=op.f("fk_dhcp_snippet_subnet_id_subnet"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["vlan_id"], ["vlan.id"], name=op.f("fk_dhcp_snippet_vlan_id_vlan"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dhcp_snippet")),
        sa.UniqueConstraint("name", name=op.f("uq_dhcp_snippet_name")),
    )
    with op.batch_alter_table("dhcp_snippet") as table:
        table.create_index(table.f("ix_dhcp_snippet_machine_id"), ["machine_id"], unique=False)
        table.create_index(table.f("ix_dhcp_snippet_range_id"), ["range_id"], unique=False)
        table.create_index(table.f("ix_dhcp_snippet_subnet_id"), ["subnet_id"], unique=False)
        table.create_index(table.f("ix_dhcp_snippet_vlan_id"), ["vlan_id"], unique=False)

    op.create_table(
        "dhcp_snippet_revision",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("snippet_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("at", base.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["snippet_id"],
            ["dhcp_snippet.id"],
            name=op.f("fk_dhcp_snippet_revision_snippet_id_dhcp_snippet"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dhcp_snippet_revision")),
        sa.UniqueConstraint("snippet_id", "revision", name=op.f("uq_dhcp_snippet_revision_snippet_id_revision")),
    )
    with op.batch_alter_table("dhcp_snippet_revision") as table:
        table.create_index(table.f("ix_dhcp_snippet_revision_snippet_id"), ["snippet_id"], unique=False)


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("dhcp_snippet_revision") as table:
        table.drop_index(table.f("ix_dhcp_snippet_revision_snippet_id"))

    op.drop_table("dhcp_snippet_revision")
    with op.batch_alter_table("dhcp_snippet") as table:
        table.drop_index(table.f("ix_dhcp_snippet_vlan_id"))
        table.drop_index(table.f("ix_dhcp_snippet_subnet_id"))
        table.drop_index(table.f("ix_dhcp_snippet_range_id"))
        table.drop_index(table.f("ix_dhcp_snippet_machine_id"))

    op.drop_table("dhcp_snippet")
    with op.batch_alter_table("syslog_line") as table:
        table.drop_index(table.f("ix_syslog_line_rack_id"))
        table.drop_index("ix_syslog_line_machine_id_id")
        table.drop_index(table.f("ix_syslog_line_at"))

    op.drop_table("syslog_line")
    with op.batch_alter_table("static_route") as table:
        table.drop_index(table.f("ix_static_route_source_id"))
        table.drop_index(table.f("ix_static_route_destination_id"))

    op.drop_table("static_route")
    with op.batch_alter_table("neighbour") as table:
        table.drop_index(table.f("ix_neighbour_subnet_id"))
        table.drop_index(table.f("ix_neighbour_seen_at"))
        table.drop_index(table.f("ix_neighbour_rack_id"))
        table.drop_index(table.f("ix_neighbour_mac"))
        table.drop_index(table.f("ix_neighbour_address_key"))

    op.drop_table("neighbour")
    with op.batch_alter_table("lease") as table:
        table.drop_index(table.f("ix_lease_subnet_id"))
        table.drop_index(table.f("ix_lease_rack_id"))
        table.drop_index(table.f("ix_lease_mac"))
        table.drop_index(table.f("ix_lease_expires_at"))
        table.drop_index(table.f("ix_lease_address_key"))

    op.drop_table("lease")
    with op.batch_alter_table("device") as table:
        table.drop_index(table.f("ix_device_zone_id"))
        table.drop_index(table.f("ix_device_parent_id"))
        table.drop_index(table.f("ix_device_owner_id"))
        table.drop_index(table.f("ix_device_domain_id"))

    op.drop_table("device")
    with op.batch_alter_table("dns_record") as table:
        table.drop_index(table.f("ix_dns_record_domain_id"))

    op.drop_table("dns_record")
    op.drop_table("space")
    op.drop_table("package_repository")
    op.drop_table("dns_secondary")
