"""What hosts have and reach themselves: blocks that no flat subnet takes over."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on; agents report their blocks when they start."""
    op.create_table(
        "host_blocks",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("first", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("prefix", sa.Integer(), nullable=False),
        sa.Column("what", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("physical_network", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["host"], ["hosts.name"], name=op.f("fk_host_blocks_host_hosts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("host", "position", name=op.f("pk_host_blocks")),
    )


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_table("host_blocks")
