"""Runs of servers, and hosts that are awaited after a restore."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on."""
    op.create_table(
        "runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("seq", name=op.f("uq_runs_seq")),
    )
    op.add_column(
        "hosts", sa.Column("awaited", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_column("hosts", "awaited")
    op.drop_table("runs")
