"""What the compute API is told of ports, and whether their binding failed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on."""
    for name in ("nova_told", "binding_failed"):
        op.add_column(
            "ports", sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False)
        )
    op.create_table(
        "nova_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("server_uuid", sa.Text(), nullable=False),
        sa.Column("port_id", sa.Text(), nullable=False),
        sa.Column("made_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nova_events")),
    )


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_table("nova_events")
    for name in ("binding_failed", "nova_told"):
        op.drop_column("ports", name)
