"""Allowed address pairs that projects give their ports: nobody else gets these addresses."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on; who gave the pairs of before is not known, so none is here."""
    op.create_table(
        "address_pairs",
        sa.Column("port_id", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["port_id"],
            ["ports.id"],
            name=op.f("fk_address_pairs_port_id_ports"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("port_id", "first", "last", name=op.f("pk_address_pairs")),
    )
    op.create_index("ix_address_pairs_segment", "address_pairs", ["segment"])


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_table("address_pairs")
