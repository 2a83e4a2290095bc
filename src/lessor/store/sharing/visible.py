"""What a project may see: parts of the conditions that nouns declare (`Query.visible_to`)."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, or_, select

from lessor.store.engine.tx import ReadTx
from lessor.store.tables import networks, rbac_policies

EVERYBODY = "*"  # the target of an RBAC entry that shares with all projects
AS_SHARED = "access_as_shared"
NETWORK, SUBNETPOOL, ADDRESS_SCOPE = "network", "subnetpool", "address_scope"  # what can be shared


def shared_with(
    object_type: str, column: ColumnElement[str], project_id: str
) -> ColumnElement[bool]:
    """Return the condition that an RBAC entry shares the thing of a column with a project."""
    entries = select(rbac_policies.c.object_id).where(
        rbac_policies.c.target_project.in_((project_id, EVERYBODY)),
        rbac_policies.c.object_type == object_type,
        rbac_policies.c.action == AS_SHARED,
    )
    return column.in_(entries)


def on_own_network(column: ColumnElement[str], project_id: str) -> ColumnElement[bool]:
    """Return the condition that a project owns the network of a column."""
    return column.in_(select(networks.c.id).where(networks.c.project_id == project_id))


def own_or_shared(object_type: str, table: Table, project_id: str) -> ColumnElement[bool]:
    """Return the condition that a thing is a project's own, or shared with it."""
    shared = shared_with(object_type, table.c.id, project_id)
    return or_(table.c.project_id == project_id, shared)


def sees(tx: ReadTx, kind: str, key: str, project_id: str | None) -> bool:
    """Tell whether a caller may know of a row.

    Args:
        tx: the transaction.
        kind: of noun ("port").
        key: the row's id.
        project_id: the one project that the caller acts for; None: the caller sees all.
    """
    if project_id is None:
        return True
    noun = tx.nouns[kind]
    found = select(noun.table.c.id).where(noun.table.c.id == key, noun.visible(project_id))
    return tx.conn.execute(found).first() is not None
