"""What forwards the packets of Open vSwitch on each host."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on."""
    op.add_column("hosts", sa.Column("datapath_type", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_column("hosts", "datapath_type")
