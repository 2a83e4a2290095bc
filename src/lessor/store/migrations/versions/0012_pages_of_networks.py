"""Ports of one network in the order of their ids: pages of them were sorted anew each time."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on."""
    op.create_index("ix_ports_network_id", "ports", ["network_id", "id"])


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_index("ix_ports_network_id", "ports")
