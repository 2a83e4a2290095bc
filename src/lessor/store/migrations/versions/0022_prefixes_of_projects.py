"""Marks subnet pools with prefixes of projects: flat subnets get only their private blocks."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade the schema by one version; the origin of pools that aren't shared is unknown."""
    op.add_column(
        "subnetpools",
        sa.Column("by_project", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.execute("UPDATE subnetpools SET by_project = NOT (shared OR is_default)")


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_column("subnetpools", "by_project")
