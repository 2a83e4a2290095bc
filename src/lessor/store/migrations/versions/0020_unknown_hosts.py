"""Hosts that ports may be bound to before they are added."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on: all hosts of before were added."""
    op.add_column(
        "hosts", sa.Column("added", sa.Boolean(), server_default=sa.true(), nullable=False)
    )


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_column("hosts", "added")
