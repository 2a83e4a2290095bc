"""Projects: nobody keeps a register of them, so they are known by what they have."""

from __future__ import annotations

from sqlalchemy import Connection, select, union

from lessor.store import tables

_OWNING = (
    tables.networks,
    tables.subnets,
    tables.ports,
    tables.subnetpools,
    tables.address_scopes,
    tables.instances,
    tables.quotas,
)
_ALL = union(*(select(table.c.project_id).where(table.c.project_id != "") for table in _OWNING))


def known(conn: Connection) -> list[str]:
    """Return the ids of the projects that own something, or that somebody set quotas for."""
    return sorted(conn.execute(_ALL).scalars())
