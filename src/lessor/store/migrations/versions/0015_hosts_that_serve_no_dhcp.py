"""Networks that a DHCP host can't serve, moves of DHCP servers, problems with times."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on; agents report their problems again when they start."""
    op.execute("UPDATE hosts SET problems = '[]'")
    op.add_column(
        "hosts",
        sa.Column("report_interval", sa.Float(), server_default=sa.text("0"), nullable=False),
    )
    op.create_table(
        "unserved",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("since", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["host"], ["hosts.name"], name=op.f("fk_unserved_host_hosts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("host", "network_id", name=op.f("pk_unserved")),
    )
    op.create_table(
        "dhcp_moves",
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("unable", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("moved_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["network_id"],
            ["networks.id"],
            name=op.f("fk_dhcp_moves_network_id_networks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("network_id", "source", name=op.f("pk_dhcp_moves")),
    )


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_table("dhcp_moves")
    op.drop_table("unserved")
    op.drop_column("hosts", "report_interval")
    op.execute("UPDATE hosts SET problems = '[]'")
