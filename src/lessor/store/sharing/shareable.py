"""What RBAC policies can share: where it is, whose it is, and which projects use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Table, select, union

from lessor.errors import NotFound
from lessor.store.sharing.visible import ADDRESS_SCOPE, NETWORK, SUBNETPOOL
from lessor.store.tables import (
    address_scopes,
    networks,
    ports,
    rbac_policies,
    subnetpools,
    subnets,
)


@dataclass(frozen=True, slots=True)
class Shareable:
    """A kind of thing.

    Attributes:
        table: of its rows, which have project_id and shared.
        words: what it is called in messages.
        used_by: what others make of it, in messages.
        users: asks for the projects that have made something of one, by its id.
    """

    table: Table
    words: str
    used_by: str
    users: Callable[[str], Any]

    def owner(self, conn: Connection, object_id: str) -> str:
        """Return the project of one, or raise NotFound."""
        owner = select(self.table.c.project_id).where(self.table.c.id == object_id)
        found = conn.execute(owner).first()
        if found is None:
            raise NotFound(
                f"there is no {self.words} {object_id}",
                type_=f"{self.words.title().replace(' ', '')}NotFound",
            )
        return str(found[0])


def _of_network(network_id: str) -> Select[Any]:
    return (
        select(ports.c.project_id)
        .where(
            ports.c.network_id == network_id,
            ports.c.server_of.is_(None),
            ports.c.device_owner.not_like("network:%"),
        )
        .distinct()
    )


def _of_pool(pool_id: str) -> Select[Any]:
    return select(subnets.c.project_id).where(subnets.c.subnetpool_id == pool_id).distinct()


def _of_scope(scope_id: str) -> Any:
    """Return who has pools in a scope, and with whom these pools are shared."""
    inside = subnetpools.c.address_scope_id == scope_id
    guests = select(rbac_policies.c.target_project).where(
        rbac_policies.c.object_type == SUBNETPOOL,
        rbac_policies.c.object_id.in_(select(subnetpools.c.id).where(inside)),
    )
    return union(select(subnetpools.c.project_id).where(inside), guests)


KINDS: Mapping[str, Shareable] = {
    NETWORK: Shareable(networks, "network", "ports", _of_network),
    SUBNETPOOL: Shareable(subnetpools, "subnet pool", "subnets", _of_pool),
    ADDRESS_SCOPE: Shareable(address_scopes, "address scope", "subnet pools", _of_scope),
}
