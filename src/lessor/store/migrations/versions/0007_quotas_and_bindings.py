"""Quotas of projects, and further bindings of ports."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on."""
    op.create_table(
        "quotas",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "resource", name=op.f("pk_quotas")),
    )
    op.create_table(
        "bindings",
        sa.Column("port_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("vnic_type", sa.Text(), server_default="normal", nullable=False),
        sa.Column("profile", sa.Text(), server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(
            ["port_id"], ["ports.id"], name=op.f("fk_bindings_port_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["host"], ["hosts.name"], name=op.f("fk_bindings_host"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("port_id", "host", name=op.f("pk_bindings")),
    )
    op.create_index("ix_bindings_host", "bindings", ["host"], unique=False)


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_table("bindings")
    op.drop_table("quotas")
