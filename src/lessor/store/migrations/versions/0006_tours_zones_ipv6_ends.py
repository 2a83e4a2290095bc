"""Tunnel ends as text (they may be IPv6), availability zones, and tours of networks."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_AS_TEXT = """UPDATE hosts SET end_text = ((local_ip >> 24) & 255) || '.'
    || ((local_ip >> 16) & 255) || '.' || ((local_ip >> 8) & 255) || '.' || (local_ip & 255)
    WHERE local_ip IS NOT NULL"""
_RENAME = "ALTER TABLE hosts RENAME COLUMN {} TO local_ip"


def upgrade() -> None:
    """Bring the schema one step on."""
    op.drop_index("uq_hosts_local_ip", "hosts")
    op.add_column("hosts", sa.Column("end_text", sa.Text(), nullable=True))
    op.execute(_AS_TEXT)
    op.drop_column("hosts", "local_ip")
    op.execute(_RENAME.format("end_text"))
    op.create_index("uq_hosts_local_ip", "hosts", ["local_ip"], unique=True)
    op.add_column(
        "hosts",
        sa.Column("availability_zone", sa.Text(), server_default="nova", nullable=False),
    )
    op.add_column(
        "networks",
        sa.Column("availability_zone_hints", sa.Text(), server_default="[]", nullable=False),
    )
    op.create_table(
        "tours",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("asked_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", "host", name=op.f("pk_tours")),
    )
    op.create_index("ix_tours_host", "tours", ["host"])


def downgrade() -> None:
    """Bring the schema one step back; tunnel ends are reported anew by the hosts."""
    op.drop_index("ix_tours_host", "tours")
    op.drop_table("tours")
    op.drop_column("networks", "availability_zone_hints")
    op.drop_column("hosts", "availability_zone")
    op.drop_index("uq_hosts_local_ip", "hosts")
    op.drop_column("hosts", "local_ip")
    op.add_column("hosts", sa.Column("local_ip", sa.BigInteger(), nullable=True))
    op.create_index("uq_hosts_local_ip", "hosts", ["local_ip"], unique=True)
