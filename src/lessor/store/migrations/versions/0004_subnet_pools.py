"""Subnet pools, address scopes, and which pool a subnet was cut from."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_DEFAULT = sa.text("is_default")


def upgrade() -> None:
    """Bring the schema one step on."""
    op.create_table(
        "address_scopes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("project_id", sa.Text(), server_default="", nullable=False),
        sa.Column("shared", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address_scopes")),
    )
    op.create_table(
        "subnetpools",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("project_id", sa.Text(), server_default="", nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("min_prefixlen", sa.Integer(), nullable=False),
        sa.Column("default_prefixlen", sa.Integer(), nullable=False),
        sa.Column("max_prefixlen", sa.Integer(), nullable=False),
        sa.Column("default_quota", sa.BigInteger(), nullable=True),
        sa.Column("address_scope_id", sa.Text(), nullable=True),
        sa.Column("shared", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["address_scope_id"],
            ["address_scopes.id"],
            name=op.f("fk_subnetpools_address_scope_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subnetpools")),
    )
    op.create_index("ix_subnetpools_address_scope_id", "subnetpools", ["address_scope_id"])
    op.create_index(
        "uq_subnetpools_is_default",
        "subnetpools",
        ["is_default"],
        unique=True,
        sqlite_where=_DEFAULT,
        postgresql_where=_DEFAULT,
    )
    op.create_table(
        "prefixes",
        sa.Column("subnetpool_id", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("prefix", sa.Integer(), nullable=False),
        sa.Column("last", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["subnetpool_id"],
            ["subnetpools.id"],
            name=op.f("fk_prefixes_subnetpool_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subnetpool_id", "first", name=op.f("pk_prefixes")),
    )
    pool = sa.ForeignKey("subnetpools.id", name=op.f("fk_subnets_subnetpool_id"))
    op.add_column(
        "subnets",
        sa.Column("subnetpool_id", sa.Text(), pool, nullable=True),
        inline_references=True,
    )
    op.create_index("ix_subnets_subnetpool_id", "subnets", ["subnetpool_id", "first"])


def downgrade() -> None:
    """Bring the schema one step back."""
    op.drop_index("ix_subnets_subnetpool_id", "subnets")
    op.drop_column("subnets", "subnetpool_id")
    for table in ("prefixes", "subnetpools", "address_scopes"):
        op.drop_table(table)
