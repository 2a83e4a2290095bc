"""Which of several servers a host's agent speaks to."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on."""
    op.add_column("hosts", sa.Column("server", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_column("hosts", "server")
