"""Adds admin state of hosts, policies of subnet pools and address scopes, auto-allocation."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_SHARED = (
    "INSERT INTO rbac_policies "
    "(id, project_id, object_type, object_id, action, target_project, created_at) "
    "SELECT id, project_id, '{kind}', id, 'access_as_shared', '*', created_at "
    "FROM {table} WHERE shared"
)


def upgrade() -> None:
    """Bring the schema one step on; what is shared is shared with everybody."""
    op.add_column(
        "hosts", sa.Column("admin_state_up", sa.Boolean(), server_default=sa.true(), nullable=False)
    )
    op.add_column("hosts", sa.Column("description", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "auto_allocated",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["network_id"],
            ["networks.id"],
            name=op.f("fk_auto_allocated_network_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_auto_allocated")),
    )
    op.create_index("ix_auto_allocated_network_id", "auto_allocated", ["network_id"])
    for kind, table in (("subnetpool", "subnetpools"), ("address_scope", "address_scopes")):
        op.execute(_SHARED.format(kind=kind, table=table))


def downgrade() -> None:
    """Bring the schema one step back; pools shared with single projects are their owners' again."""
    op.execute("DELETE FROM rbac_policies WHERE object_type <> 'network'")
    op.drop_table("auto_allocated")
    op.drop_column("hosts", "description")
    op.drop_column("hosts", "admin_state_up")
