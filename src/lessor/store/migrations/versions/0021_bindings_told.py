"""Bindings that a compute API was told of: a VM's tap is on the host that it is to move to."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade the schema by one version; events of earlier bindings are unknown and not awaited."""
    op.add_column(
        "bindings", sa.Column("nova_told", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_column("bindings", "nova_told")
