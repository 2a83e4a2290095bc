"""What overlay networks need: tunnel ends, unique VNIs, what each DHCP host says of a port."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SERVERS = sa.text("server_of IS NOT NULL")


def upgrade() -> None:
    """Bring the schema one step on."""
    op.add_column("hosts", sa.Column("local_ip", sa.BigInteger(), nullable=True))
    op.create_index("uq_hosts_local_ip", "hosts", ["local_ip"], unique=True)
    op.create_index(
        "uq_networks_segmentation_id",
        "networks",
        ["network_type", "segmentation_id"],
        unique=True,
    )
    op.create_index(
        "ix_ports_server_of",
        "ports",
        ["server_of"],
        unique=False,
        sqlite_where=_SERVERS,
        postgresql_where=_SERVERS,
    )
    op.create_table(
        "serving",
        sa.Column("port_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("served", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("pending", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["port_id"], ["ports.id"], name=op.f("fk_serving_port_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("port_id", "host", name=op.f("pk_serving")),
    )


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_table("serving")
    op.drop_index("ix_ports_server_of", "ports", sqlite_where=_SERVERS, postgresql_where=_SERVERS)
    op.drop_index("uq_networks_segmentation_id", "networks")
    op.drop_index("uq_hosts_local_ip", "hosts")
    op.drop_column("hosts", "local_ip")
