"""Auto-allocated topology: the network that a project gets on request.

There are no routers here: it is a network of the default type, with a subnet cut from the default
subnet pool. Names are those that Neutron gives.
"""

from __future__ import annotations

from sqlalchemy import insert, select

from lessor.errors import Conflict
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.networks import rules as networks
from lessor.store.networks import subnets
from lessor.store.pools import rules as subnetpools
from lessor.store.sharing import quotas
from lessor.store.tables import auto_allocated
from lessor.store.values import NetworkValues, SubnetValues

NETWORK, SUBNET = "auto_allocated_network", "auto_allocated_subnet_v4"


def of(tx: ReadTx, project_id: str) -> str | None:
    """Return the id of the network that a project was given, if it was."""
    asked = select(auto_allocated.c.network_id).where(auto_allocated.c.project_id == project_id)
    found: str | None = tx.conn.execute(asked).scalar()
    return found


def check(tx: ReadTx) -> None:
    """Raise Conflict if no network could be given to a project."""
    if subnetpools.default_id(tx) is None:
        raise Conflict(
            "unable to provide an auto-allocated topology: there is no default subnet pool to cut "
            "a subnet from; make one (is_default)",
            type_="AutoAllocationFailure",
        )


def ensure(tx: Tx, project_id: str) -> str:
    """Return the network that a project was given; give it one first.

    Raises:
        Conflict: there is no default subnet pool, or it has no room.
        Invalid: no network of the default type can be made.
    """
    found = of(tx, project_id)
    if found is not None:
        return found
    for resource in ("network", "subnet"):
        quotas.check(tx, resource, [{"project_id": project_id}])
    check(tx)
    network_values = NetworkValues(name=NETWORK, project_id=project_id)
    subnet_values = SubnetValues(name=SUBNET, project_id=project_id, use_default_subnetpool=True)
    if tx.settings.auth_strategy != "noauth":
        network_values["acts_for"] = subnet_values["acts_for"] = project_id
    network = networks.create(tx, network_values)
    subnet_values["network_id"] = network.id
    subnets.create_many(tx, [subnet_values])
    row = {"project_id": project_id, "network_id": network.id}
    tx.conn.execute(insert(auto_allocated), row)
    return network.id


def remove(tx: Tx, project_id: str) -> None:
    """Delete the network that a project was given, if it was.

    Raises:
        InUse: it has ports.
    """
    found = of(tx, project_id)
    if found is not None:
        networks.delete_one(tx, found)
