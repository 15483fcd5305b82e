"""What VLANs, subnets, ranges, addresses and racks gain with the network model

Revision: 0007
Follows: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the step."""
    with op.batch_alter_table("domain") as table:
        table.add_column(sa.Column("description", sa.Text(), server_default=sa.text("''"), nullable=False))
        table.add_column(sa.Column("primary_rack_id", sa.Integer(), nullable=True))
        table.create_index(table.f("ix_domain_primary_rack_id"), ["primary_rack_id"], unique=False)
        table.create_foreign_key(
            table.f("fk_domain_primary_rack_id_rack"), "rack", ["primary_rack_id"], ["id"], ondelete="SET NULL"
        )

    with op.batch_alter_table("fabric") as table:
        table.add_column(sa.Column("description", sa.Text(), server_default=sa.text("''"), nullable=False))
        table.add_column(sa.Column("found", sa.Boolean(), server_default=sa.false(), nullable=False))

    with op.batch_alter_table("interface") as table:
        table.add_column(sa.Column("device_id", sa.Integer(), nullable=True))
        table.alter_column("machine_id", existing_type=sa.INTEGER(), nullable=True)
        table.create_index(table.f("ix_interface_device_id"), ["device_id"], unique=False)
        table.create_foreign_key(
            table.f("fk_interface_device_id_device"), "device", ["device_id"], ["id"], ondelete="CASCADE"
        )
        table.create_check_constraint(op.f("ck_interface_one_owner"), "(machine_id IS NULL) <> (device_id IS NULL)")

    with op.batch_alter_table("ip_address") as table:
        table.add_column(sa.Column("mac", sa.String(), nullable=True))
        table.add_column(sa.Column("comment", sa.String(), server_default=sa.text("''"), nullable=False))
        table.add_column(sa.Column("user_id", sa.Integer(), nullable=True))
        table.create_index(table.f("ix_ip_address_mac"), ["mac"], unique=False)
        table.create_index(table.f("ix_ip_address_user_id"), ["user_id"], unique=False)
        table.create_index(
            "uq_ip_address_reservation",
            ["subnet_id", "mac"],
            unique=True,
            sqlite_where=sa.text("kind = 'reservation'"),
            postgresql_where=sa.text("kind = 'reservation'"),
        )
        table.create_foreign_key(
            table.f("fk_ip_address_user_id_user"), "user", ["user_id"], ["id"], ondelete="SET NULL"
        )
        table.create_check_constraint(op.f("ck_ip_address_mac"), "(kind = 'reservation') = (mac IS NOT NULL)")

    with op.batch_alter_table("rack") as table:
        table.add_column(sa.Column("dhcp_server", sa.String(), server_default="kea", nullable=False))
        table.create_check_constraint(op.f("ck_rack_dhcp_server"), "dhcp_server IN ('kea', 'dhcpd')")

    with op.batch_alter_table("subnet") as table:
        table.add_column(sa.Column("boot_lease_seconds", sa.Integer(), server_default="120", nullable=False))
        table.add_column(sa.Column("description", sa.Text(), server_default=sa.text("''"), nullable=False))
        table.add_column(sa.Column("reverse_dns", sa.String(), server_default="rfc2317", nullable=False))
        table.add_column(sa.Column("allow_dns", sa.Boolean(), server_default=sa.true(), nullable=False))
        table.add_column(sa.Column("allow_proxy", sa.Boolean(), server_default=sa.true(), nullable=False))
        table.add_column(sa.Column("disabled_boot_architectures", sa.JSON(), server_default="[]", nullable=False))
        table.add_column(sa.Column("unknown_clients", sa.String(), server_default="serve", nullable=False))
        table.add_column(sa.Column("found", sa.Boolean(), server_default=sa.false(), nullable=False))
        table.create_check_constraint(op.f("ck_subnet_reverse_dns"), "reverse_dns IN ('off', 'on', 'rfc2317')")
        table.create_check_constraint(op.f("ck_subnet_unknown_clients"), "unknown_clients IN ('serve', 'ignore')")

    # PostgreSQL cannot compare JSON, so the schema keeps no default for it.
    with op.batch_alter_table("subnet") as table:
        table.alter_column("disabled_boot_architectures", server_default=None)

    with op.batch_alter_table("vlan") as table:
        table.add_column(sa.Column("secondary_rack_id", sa.Integer(), nullable=True))
        table.add_column(sa.Column("relay_vlan_id", sa.Integer(), nullable=True))
        table.add_column(sa.Column("space_id", sa.Integer(), nullable=True))
        table.create_index(table.f("ix_vlan_relay_vlan_id"), ["relay_vlan_id"], unique=False)
        table.create_index(table.f("ix_vlan_secondary_rack_id"), ["secondary_rack_id"], unique=False)
        table.create_index(table.f("ix_vlan_space_id"), ["space_id"], unique=False)
        table.create_foreign_key(table.f("fk_vlan_space_id_space"), "space", ["space_id"], ["id"])
        table.create_foreign_key(table.f("fk_vlan_relay_vlan_id_vlan"), "vlan", ["relay_vlan_id"], ["id"])
        table.create_foreign_key(table.f("fk_vlan_secondary_rack_id_rack"), "rack", ["secondary_rack_id"], ["id"])

    with op.batch_alter_table("ip_range") as table:
        table.drop_constraint(op.f("ck_ip_range_kind"), type_="check")
        table.create_check_constraint(op.f("ck_ip_range_kind"), "kind IN ('dynamic', 'reserved', 'static_pool')")


def downgrade() -> None:
    """Take it back; what only the new model can hold goes."""
    op.execute("DELETE FROM ip_range WHERE kind = 'static_pool'")
    op.execute("DELETE FROM ip_address WHERE interface_id IN (SELECT id FROM interface WHERE device_id IS NOT NULL)")
    op.execute("DELETE FROM interface WHERE device_id IS NOT NULL")
    op.execute("DELETE FROM ip_address WHERE kind = 'reservation'")
    with op.batch_alter_table("ip_range") as table:
        table.drop_constraint(op.f("ck_ip_range_kind"), type_="check")
        table.create_check_constraint(op.f("ck_ip_range_kind"), "kind IN ('dynamic', 'reserved')")

    with op.batch_alter_table("vlan") as table:
        table.drop_constraint(table.f("fk_vlan_secondary_rack_id_rack"), type_="foreignkey")
        table.drop_constraint(table.f("fk_vlan_relay_vlan_id_vlan"), type_="foreignkey")
        table.drop_constraint(table.f("fk_vlan_space_id_space"), type_="foreignkey")
        table.drop_index(table.f("ix_vlan_space_id"))
        table.drop_index(table.f("ix_vlan_secondary_rack_id"))
        table.drop_index(table.f("ix_vlan_relay_vlan_id"))
        table.drop_column("space_id")
        table.drop_column("relay_vlan_id")
        table.drop_column("secondary_rack_id")

    with op.batch_alter_table("subnet") as table:
        table.drop_constraint(op.f("ck_subnet_unknown_clients"), type_="check")
        table.drop_constraint(op.f("ck_subnet_reverse_dns"), type_="check")
        table.drop_column("found")
        table.drop_column("unknown_clients")
        table.drop_column("disabled_boot_architectures")
        table.drop_column("allow_proxy")
        table.drop_column("allow_dns")
        table.drop_column("reverse_dns")
        table.drop_column("description")
        table.drop_column("boot_lease_seconds")

    with op.batch_alter_table("rack") as table:
        table.drop_constraint(op.f("ck_rack_dhcp_server"), type_="check")
        table.drop_column("dhcp_server")

    with op.batch_alter_table("ip_address") as table:
        table.drop_constraint(op.f("ck_ip_address_mac"), type_="check")
        table.drop_constraint(table.f("fk_ip_address_user_id_user"), type_="foreignkey")
        table.drop_index(
            "uq_ip_address_reservation",
            sqlite_where=sa.text("kind = 'reservation'"),
            postgresql_where=sa.text("kind = 'reservation'"),
        )
        table.drop_index(table.f("ix_ip_address_user_id"))
        table.drop_index(table.f("ix_ip_address_mac"))
        table.drop_column("user_id")
        table.drop_column("comment")
        table.drop_column("mac")

    with op.batch_alter_table("interface") as table:
        table.drop_constraint(op.f("ck_interface_one_owner"), type_="check")
        table.drop_constraint(table.f("fk_interface_device_id_device"), type_="foreignkey")
        table.drop_index(table.f("ix_interface_device_id"))
        table.alter_column("machine_id", existing_type=sa.INTEGER(), nullable=False)
        table.drop_column("device_id")

    with op.batch_alter_table("fabric") as table:
        table.drop_column("found")
        table.drop_column("description")

    with op.batch_alter_table("domain") as table:
        table.drop_constraint(table.f("fk_domain_primary_rack_id_rack"), type_="foreignkey")
        table.drop_index(table.f("ix_domain_primary_rack_id"))
        table.drop_column("primary_rack_id")
        table.drop_column("description")
