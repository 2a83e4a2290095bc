"""Quotas of projects, and the index by which their ports are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
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
    op.create_index("ix_ports_project_id", "ports", ["project_id"], unique=False)


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_index("ix_ports_project_id", "ports")
    op.drop_table("quotas")
