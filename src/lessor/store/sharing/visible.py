"""What a project may see: conditions for the rows of each noun (`Query.visible_to`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import ColumnElement, Connection, FromClause, or_, select

from lessor.store.tables import (
    address_scopes,
    addresses,
    instances,
    leases,
    networks,
    ports,
    rbac_policies,
    subnetpools,
    subnets,
)

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


def network(project_id: str) -> ColumnElement[bool]:
    """Its own networks, and those shared with it."""
    return or_(networks.c.project_id == project_id, shared_with(NETWORK, networks.c.id, project_id))


def _on_own_network(column: ColumnElement[str], project_id: str) -> ColumnElement[bool]:
    return column.in_(select(networks.c.id).where(networks.c.project_id == project_id))


def subnet(project_id: str) -> ColumnElement[bool]:
    """Its own subnets, and those of networks that it sees."""
    return or_(
        subnets.c.project_id == project_id,
        _on_own_network(subnets.c.network_id, project_id),
        shared_with(NETWORK, subnets.c.network_id, project_id),
    )


def port(project_id: str) -> ColumnElement[bool]:
    """Its own ports, and those on its own networks, whoever has them."""
    return or_(ports.c.project_id == project_id, _on_own_network(ports.c.network_id, project_id))


def lease(project_id: str) -> ColumnElement[bool]:
    """The leases of its ports, and those on its networks."""
    own = select(ports.c.id).where(ports.c.project_id == project_id)
    return or_(leases.c.port_id.in_(own), _on_own_network(leases.c.network_id, project_id))


def address(project_id: str) -> ColumnElement[bool]:
    """The addresses of its ports, and those of its networks."""
    own = select(ports.c.id).where(ports.c.project_id == project_id)
    return or_(addresses.c.port_id.in_(own), _on_own_network(addresses.c.network_id, project_id))


def subnetpool(project_id: str) -> ColumnElement[bool]:
    """Its own subnet pools, and those shared with it."""
    return or_(
        subnetpools.c.project_id == project_id,
        shared_with(SUBNETPOOL, subnetpools.c.id, project_id),
    )


def address_scope(project_id: str) -> ColumnElement[bool]:
    """Its own address scopes, and those shared with it."""
    return or_(
        address_scopes.c.project_id == project_id,
        shared_with(ADDRESS_SCOPE, address_scopes.c.id, project_id),
    )


def instance(project_id: str) -> ColumnElement[bool]:
    """Its own instances."""
    return instances.c.project_id == project_id


_KINDS: Mapping[str, tuple[FromClause, Callable[[str], ColumnElement[bool]]]] = {
    "network": (networks, network),
    "subnet": (subnets, subnet),
    "port": (ports, port),
    "subnetpool": (subnetpools, subnetpool),
}


def sees(conn: Connection, kind: str, key: str, project_id: str | None) -> bool:
    """Tell whether somebody may be told of a row.

    Args:
        conn: to the database.
        kind: "network", "subnet", "port" or "subnetpool".
        key: the row's id.
        project_id: the one project that the caller acts for; None: the caller sees all.
    """
    if project_id is None:
        return True
    table, condition = _KINDS[kind]
    found = select(table.c.id).where(table.c.id == key, condition(project_id))
    return conn.execute(found).first() is not None
