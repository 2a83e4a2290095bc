"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on."""
    op.create_table(
        "counter",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_counter_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_counter")),
    )
    op.create_table(
        "holds",
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.Column("address", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("network_id", "address", "host", name=op.f("pk_holds")),
    )
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.create_index("ix_holds_host", ["host", "network_id", "revision"], unique=False)
        batch_op.create_index("ix_holds_revision", ["revision"], unique=False)

    op.create_table(
        "hosts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("heartbeat_at", sa.Float(), nullable=True),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.Column("physical_networks", sa.Text(), server_default="[]", nullable=False),
        sa.Column("network_host", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("in_sync", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("problems", sa.Text(), server_default="[]", nullable=False),
        sa.Column("counts", sa.Text(), server_default="{}", nullable=False),
        sa.Column("run_id", sa.Text(), server_default="", nullable=False),
        sa.Column("spool_epoch", sa.Text(), server_default="", nullable=False),
        sa.Column("spool_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_hosts")),
        sa.UniqueConstraint("id", name=op.f("uq_hosts_id")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_hosts_token_hash")),
    )
    op.create_table(
        "instances",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("hostname", sa.Text(), server_default="", nullable=False),
        sa.Column("project_id", sa.Text(), server_default="", nullable=False),
        sa.Column("availability_zone", sa.Text(), server_default="", nullable=False),
        sa.Column("public_keys", sa.Text(), server_default="{}", nullable=False),
        sa.Column("user_data", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), server_default="{}", nullable=False),
        sa.Column("launch_index", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("password", sa.Text(), server_default="", nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
    )
    op.create_table(
        "leases",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("address", sa.BigInteger(), nullable=False),
        sa.Column("mac_address", sa.Text(), nullable=False),
        sa.Column("port_id", sa.Text(), nullable=True),
        sa.Column("hostname", sa.Text(), server_default="", nullable=False),
        sa.Column("client_id", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("renewed_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("end_reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leases")),
    )
    with op.batch_alter_table("leases", schema=None) as batch_op:
        batch_op.create_index(
            "ix_leases_address", ["network_id", "address", "started_at"], unique=False
        )
        batch_op.create_index("ix_leases_ended_at", ["ended_at"], unique=False)
        batch_op.create_index(
            "ix_leases_host_alive",
            ["host"],
            unique=False,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )
        batch_op.create_index("ix_leases_mac_address", ["mac_address"], unique=False)
        batch_op.create_index("ix_leases_port_id", ["port_id"], unique=False)
        batch_op.create_index(
            "uq_leases_alive",
            ["network_id", "address", "host", "mac_address"],
            unique=True,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )

    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meta")),
    )
    op.create_table(
        "tombstones",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("made_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_tombstones")),
    )
    with op.batch_alter_table("tombstones", schema=None) as batch_op:
        batch_op.create_index("ix_tombstones_made_at", ["made_at"], unique=False)
        batch_op.create_index("ix_tombstones_network_id", ["network_id", "revision"], unique=False)

    op.create_table(
        "networks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("project_id", sa.Text(), server_default="", nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("admin_state_up", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("network_type", sa.Text(), nullable=False),
        sa.Column("physical_network", sa.Text(), nullable=True),
        sa.Column("segmentation_id", sa.Integer(), nullable=True),
        sa.Column("mtu", sa.Integer(), nullable=False),
        sa.Column("shared", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("port_security_enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("dns_domain", sa.Text(), server_default="", nullable=False),
        sa.Column("multi_host", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("share_address", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("form_revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("floor_revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["host"], ["hosts.name"], name=op.f("fk_networks_host")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_networks")),
    )
    with op.batch_alter_table("networks", schema=None) as batch_op:
        batch_op.create_index("ix_networks_host", ["host"], unique=False)
        batch_op.create_index("ix_networks_physical_network", ["physical_network"], unique=False)

    op.create_table(
        "ports",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("mac_address", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("project_id", sa.Text(), server_default="", nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("admin_state_up", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("device_id", sa.Text(), server_default="", nullable=False),
        sa.Column("device_owner", sa.Text(), server_default="", nullable=False),
        sa.Column("binding_host", sa.Text(), nullable=True),
        sa.Column("binding_profile", sa.Text(), server_default="{}", nullable=False),
        sa.Column("vnic_type", sa.Text(), server_default="normal", nullable=False),
        sa.Column("port_security_enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("allowed_address_pairs", sa.Text(), server_default="[]", nullable=False),
        sa.Column("extra_dhcp_opts", sa.Text(), server_default="[]", nullable=False),
        sa.Column("dns_name", sa.Text(), server_default="", nullable=False),
        sa.Column("server_of", sa.Text(), nullable=True),
        sa.Column("wired", sa.Boolean(), nullable=True),
        sa.Column("served", sa.Boolean(), nullable=True),
        sa.Column("wired_pending", sa.Text(), server_default="", nullable=False),
        sa.Column("served_pending", sa.Text(), server_default="", nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["binding_host"], ["hosts.name"], name=op.f("fk_ports_binding_host")
        ),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_ports_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ports")),
    )
    with op.batch_alter_table("ports", schema=None) as batch_op:
        batch_op.create_index(
            "ix_ports_binding_host", ["binding_host", "network_id", "revision"], unique=False
        )
        batch_op.create_index(
            "ix_ports_device_id",
            ["device_id"],
            unique=False,
            sqlite_where=sa.text("device_id <> ''"),
            postgresql_where=sa.text("device_id <> ''"),
        )
        batch_op.create_index("ix_ports_network_revision", ["network_id", "revision"], unique=False)
        batch_op.create_index(
            "uq_ports_segment_mac_address", ["segment", "mac_address"], unique=True
        )
        batch_op.create_index(
            "uq_ports_server_of",
            ["network_id", "server_of"],
            unique=True,
            sqlite_where=sa.text("server_of IS NOT NULL"),
            postgresql_where=sa.text("server_of IS NOT NULL"),
        )

    op.create_table(
        "subnets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("prefix", sa.Integer(), nullable=False),
        sa.Column("last", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("project_id", sa.Text(), server_default="", nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("gateway_ip", sa.BigInteger(), nullable=True),
        sa.Column("dhcp_server", sa.BigInteger(), nullable=True),
        sa.Column("enable_dhcp", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("dns_nameservers", sa.Text(), server_default="[]", nullable=False),
        sa.Column("host_routes", sa.Text(), server_default="[]", nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["network_id"], ["networks.id"], name=op.f("fk_subnets_network_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subnets")),
    )
    with op.batch_alter_table("subnets", schema=None) as batch_op:
        batch_op.create_index("ix_subnets_first", ["first"], unique=False)
        batch_op.create_index("ix_subnets_network_id", ["network_id", "revision"], unique=False)

    op.create_table(
        "addresses",
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.Column("address", sa.BigInteger(), nullable=False),
        sa.Column("subnet_id", sa.Text(), nullable=False),
        sa.Column("port_id", sa.Text(), nullable=True),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved_as", sa.Text(), nullable=True),
        sa.Column("mac", sa.Text(), nullable=True),
        sa.Column("freed_seq", sa.BigInteger(), nullable=True),
        sa.Column("let_go_at", sa.Float(), nullable=True),
        sa.Column("not_before", sa.Float(), nullable=True),
        sa.Column("updated_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["network_id"], ["networks.id"], name=op.f("fk_addresses_network_id")
        ),
        sa.ForeignKeyConstraint(["port_id"], ["ports.id"], name=op.f("fk_addresses_port_id")),
        sa.ForeignKeyConstraint(["subnet_id"], ["subnets.id"], name=op.f("fk_addresses_subnet_id")),
        sa.PrimaryKeyConstraint("network_id", "address", name=op.f("pk_addresses")),
    )
    with op.batch_alter_table("addresses", schema=None) as batch_op:
        batch_op.create_index(
            "ix_addresses_freed",
            ["subnet_id", "freed_seq"],
            unique=False,
            sqlite_where=sa.text("freed_seq IS NOT NULL"),
            postgresql_where=sa.text("freed_seq IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_addresses_port_id",
            ["port_id"],
            unique=False,
            sqlite_where=sa.text("port_id IS NOT NULL"),
            postgresql_where=sa.text("port_id IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_addresses_releasing",
            ["let_go_at"],
            unique=False,
            sqlite_where=sa.text("port_id IS NULL AND freed_seq IS NULL AND reserved_as IS NULL"),
            postgresql_where=sa.text(
                "port_id IS NULL AND freed_seq IS NULL AND reserved_as IS NULL"
            ),
        )
        batch_op.create_index("ix_addresses_subnet_id", ["subnet_id"], unique=False)
        batch_op.create_index("ix_addresses_address", ["address"], unique=False)

    op.create_table(
        "pools",
        sa.Column("subnet_id", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("next_fresh", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("first <= last", name=op.f("ck_pools_order")),
        sa.ForeignKeyConstraint(
            ["subnet_id"], ["subnets.id"], name=op.f("fk_pools_subnet_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("subnet_id", "first", name=op.f("pk_pools")),
    )


def downgrade() -> None:
    """Take the step back."""
    op.drop_table("pools")
    with op.batch_alter_table("addresses", schema=None) as batch_op:
        batch_op.drop_index("ix_addresses_address")
        batch_op.drop_index("ix_addresses_subnet_id")
        batch_op.drop_index(
            "ix_addresses_releasing",
            sqlite_where=sa.text("port_id IS NULL AND freed_seq IS NULL AND reserved_as IS NULL"),
            postgresql_where=sa.text(
                "port_id IS NULL AND freed_seq IS NULL AND reserved_as IS NULL"
            ),
        )
        batch_op.drop_index(
            "ix_addresses_port_id",
            sqlite_where=sa.text("port_id IS NOT NULL"),
            postgresql_where=sa.text("port_id IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_addresses_freed",
            sqlite_where=sa.text("freed_seq IS NOT NULL"),
            postgresql_where=sa.text("freed_seq IS NOT NULL"),
        )

    op.drop_table("addresses")
    with op.batch_alter_table("subnets", schema=None) as batch_op:
        batch_op.drop_index("ix_subnets_network_id")
        batch_op.drop_index("ix_subnets_first")

    op.drop_table("subnets")
    with op.batch_alter_table("ports", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_ports_server_of",
            sqlite_where=sa.text("server_of IS NOT NULL"),
            postgresql_where=sa.text("server_of IS NOT NULL"),
        )
        batch_op.drop_index("uq_ports_segment_mac_address")
        batch_op.drop_index("ix_ports_network_revision")
        batch_op.drop_index(
            "ix_ports_device_id",
            sqlite_where=sa.text("device_id <> ''"),
            postgresql_where=sa.text("device_id <> ''"),
        )
        batch_op.drop_index("ix_ports_binding_host")

    op.drop_table("ports")
    with op.batch_alter_table("networks", schema=None) as batch_op:
        batch_op.drop_index("ix_networks_physical_network")
        batch_op.drop_index("ix_networks_host")

    op.drop_table("networks")
    with op.batch_alter_table("tombstones", schema=None) as batch_op:
        batch_op.drop_index("ix_tombstones_network_id")
        batch_op.drop_index("ix_tombstones_made_at")

    op.drop_table("tombstones")
    op.drop_table("meta")
    with op.batch_alter_table("leases", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_leases_alive",
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )
        batch_op.drop_index("ix_leases_port_id")
        batch_op.drop_index("ix_leases_mac_address")
        batch_op.drop_index(
            "ix_leases_host_alive",
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )
        batch_op.drop_index("ix_leases_ended_at")
        batch_op.drop_index("ix_leases_address")

    op.drop_table("leases")
    op.drop_table("instances")
    op.drop_table("hosts")
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.drop_index("ix_holds_revision")
        batch_op.drop_index("ix_holds_host")

    op.drop_table("holds")
    op.drop_table("counter")
