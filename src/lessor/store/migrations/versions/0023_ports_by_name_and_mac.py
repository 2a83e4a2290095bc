"""Ports by their names, and by their MAC addresses alone: each list by one looked at all ports."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on."""
    op.create_index("ix_ports_name", "ports", ["name"])
    op.create_index(
        "uq_ports_mac_address_segment", "ports", ["mac_address", "segment"], unique=True
    )
    op.drop_index("uq_ports_segment_mac_address", "ports")


def downgrade() -> None:
    """Bring the schema one step back."""
    op.create_index(
        "uq_ports_segment_mac_address", "ports", ["segment", "mac_address"], unique=True
    )
    op.drop_index("uq_ports_mac_address_segment", "ports")
    op.drop_index("ix_ports_name", "ports")
