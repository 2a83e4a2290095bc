"""What is shared with whom, and ports by project."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema one step on; a shared network is shared with everybody."""
    op.create_table(
        "rbac_policies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), server_default="", nullable=False),
        sa.Column("object_type", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target_project", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rbac_policies")),
    )
    op.create_index(
        "uq_rbac_policies_object_id",
        "rbac_policies",
        ["object_id", "object_type", "action", "target_project"],
        unique=True,
    )
    op.create_index(
        "ix_rbac_policies_target_project", "rbac_policies", ["target_project", "object_type"]
    )
    op.create_index("ix_ports_project_id", "ports", ["project_id"])
    op.execute(
        "INSERT INTO rbac_policies "
        "(id, project_id, object_type, object_id, action, target_project, created_at) "
        "SELECT id, project_id, 'network', id, 'access_as_shared', '*', created_at "
        "FROM networks WHERE shared"
    )


def downgrade() -> None:
    """Bring the schema one step back; what is shared with single projects is forgotten."""
    op.drop_index("ix_ports_project_id", "ports")
    op.drop_table("rbac_policies")
