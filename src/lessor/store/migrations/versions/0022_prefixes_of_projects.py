"""Subnet pools of which a project gave prefixes: flat subnets get none but private blocks of them."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on; of pools that no administrator shared, nobody knows who gave them."""
    op.add_column(
        "subnetpools",
        sa.Column("by_project", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.execute("UPDATE subnetpools SET by_project = NOT (shared OR is_default)")


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_column("subnetpools", "by_project")
