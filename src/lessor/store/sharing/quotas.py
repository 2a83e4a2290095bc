"""Quotas: how many of each thing a project may have.

A project that nobody set quotas for has the defaults of the settings. A request is checked in the
transaction that makes its rows, before the first is made: one that asks for too much costs a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select

from lessor.errors import Conflict, Invalid
from lessor.settings import ServerSettings
from lessor.store.engine.dialect import insert
from lessor.store.engine.writer import Tx
from lessor.store.tables import networks, ports, quotas, rbac_policies, subnetpools, subnets

UNLIMITED = -1
USUAL = {"network": 100, "subnet": 100, "port": 500, "subnetpool": UNLIMITED, "rbac_policy": 10}
_PROJECT: Any = bindparam("project")
_SET = select(quotas.c.resource, quotas.c.most).where(quotas.c.project_id == _PROJECT)
_COUNTS = {
    "network": select(func.count()).where(networks.c.project_id == _PROJECT),
    "subnet": select(func.count()).where(subnets.c.project_id == _PROJECT),
    "port": select(func.count()).where(
        ports.c.project_id == _PROJECT,
        ports.c.server_of.is_(None),  # DHCP servers' own are ours
    ),
    "subnetpool": select(func.count()).where(subnetpools.c.project_id == _PROJECT),
    "rbac_policy": select(func.count()).where(rbac_policies.c.project_id == _PROJECT),
}
RESOURCES = tuple(_COUNTS)
_OWNERS = select(networks.c.id, networks.c.project_id).where(
    networks.c.id.in_(bindparam("keys", expanding=True))
)


def defaults(settings: ServerSettings) -> dict[str, int]:
    """Return how many of each thing a project may have that nobody set quotas for."""
    found: dict[str, int | None] = {name: getattr(settings, f"{name}_quota") for name in RESOURCES}
    known_to_all = settings.auth_strategy == "noauth"
    return {
        name: most if most is not None else UNLIMITED if known_to_all else USUAL[name]
        for name, most in found.items()
    }


def limits(conn: Connection, settings: ServerSettings, project_id: str) -> dict[str, int]:
    """Return how many of each thing a project may have; -1: any number."""
    rows = conn.execute(_SET, {"project": project_id}).all()
    return defaults(settings) | {row.resource: row.most for row in rows}


def usage(conn: Connection, project_id: str) -> dict[str, int]:
    """Return how many of each thing a project has."""
    key = {"project": project_id}
    return {name: conn.execute(count, key).scalar_one() for name, count in _COUNTS.items()}


def projects(conn: Connection, settings: ServerSettings) -> dict[str, dict[str, int]]:
    """Return the quotas of the projects that somebody set some for."""
    found: dict[str, dict[str, int]] = {}
    rows = select(quotas.c.project_id, quotas.c.resource, quotas.c.most)
    for project_id, name, most in conn.execute(rows.order_by(quotas.c.project_id)):
        found.setdefault(project_id, defaults(settings))[name] = most
    return found


def set_limits(
    tx: Tx, project_id: str, values: Mapping[str, int], *, check: bool = False
) -> dict[str, int]:
    """Set quotas of a project; what isn't named stays.

    Fewer than there are only stops new ones; `check` refuses that, as Neutron's `check_limit` does.

    Raises:
        Invalid: there are more already.
    """
    used = usage(tx.conn, project_id) if check else {}
    for name, most in values.items():
        if most != UNLIMITED and most < used.get(name, 0):
            raise Invalid(
                f"quota limit {most} for {name} must be greater than or equal to already used "
                f"{used[name]}: leave check_limit out, or say force",
                type_="HTTPBadRequest",
            )
        row = insert(quotas).values(project_id=project_id, resource=name, most=most)
        key = [quotas.c.project_id, quotas.c.resource]
        tx.conn.execute(row.on_conflict_do_update(index_elements=key, set_={"most": most}))
    return limits(tx.conn, tx.settings, project_id)


def reset(tx: Tx, project_id: str) -> None:
    """Give a project the defaults again."""
    tx.conn.execute(delete(quotas).where(quotas.c.project_id == project_id))


def check(tx: Tx, resource: str, many: Sequence[Mapping[str, Any]]) -> None:
    """Check that projects may have the rows that are about to be made.

    Args:
        tx: the transaction that makes them.
        resource: their noun; one without a quota is not limited.
        many: the values of each row.

    Raises:
        Conflict: a project would have more than it may.
    """
    if resource not in _COUNTS:
        return
    for project_id, more in _owners(tx.conn, resource, many).items():
        most = limits(tx.conn, tx.settings, project_id)[resource]
        if most == UNLIMITED:
            continue
        used = tx.conn.execute(_COUNTS[resource], {"project": project_id}).scalar_one()
        if used + more > most:
            raise Conflict(
                f"quota exceeded for resources: ['{resource}']: project {project_id!r} has "
                f"{used} of {most} and asks for {more} more",
                type_="OverQuota",
            )


def _owners(conn: Connection, resource: str, many: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Return how many rows each project is to have; a subnet is its network's, if nobody says."""
    owners: dict[str, str] = {}
    if resource == "subnet":
        keys = {str(values.get("network_id")) for values in many if "project_id" not in values}
        owners = dict(conn.execute(_OWNERS, {"keys": sorted(keys)}).all()) if keys else {}
    return Counter(
        values.get("project_id", owners.get(values.get("network_id", ""), "")) for values in many
    )
