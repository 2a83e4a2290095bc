"""Limits of projects' subnets on a shared wire. `ports.project_limits` has those of ports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lessor.errors import Forbidden
from lessor.model import Network
from lessor.net.address import Address, Block
from lessor.net.prefixes import inside
from lessor.store.engine.tx import Tx
from lessor.store.pools import rules as subnetpools
from lessor.store.values import SubnetValues


def check_blocks(tx: Tx, network: Network, blocks: Iterable[Block], pool_id: str | None) -> None:
    """Refuse a project blocks of a flat subnet that its gateway host may reach elsewhere.

    They become routes of that host. What it has or reaches by routes of its own is known
    (`hostblocks`); what it reaches by its default route alone, such as any public address, is not.

    Args:
        tx: the transaction.
        network: the subnet's.
        blocks: what the subnet is to take.
        pool_id: the subnet pool that it is cut from, if any.

    Raises:
        Forbidden: they are not in project_cidrs, and in no pool that is an administrator's.
    """
    if network.is_overlay:
        return
    ours = tx.settings.project_cidrs
    beyond = [block for block in blocks if not inside(block, ours)]
    if not beyond or (pool_id is not None and not subnetpools.get(tx, pool_id).by_project):
        return
    raise Forbidden(
        f"{beyond[0]} of flat network {network.id}: all VMs and the host of its gateway would "
        "reach these addresses there alone, and those of projects are within "
        f"{', '.join(map(str, ours)) or 'no block'} (project_cidrs); take one of these, or one of "
        "a subnet pool whose prefixes an administrator gave, ask an administrator, or take a vxlan "
        "network"
    )


def check_name_servers(
    tx: Tx, network: Network, before: Sequence[Address], values: SubnetValues
) -> None:
    """Refuse a project to add name servers that the VMs of all networks of a bridge would ask.

    Raises:
        Forbidden: it would.
    """
    if network.is_overlay or not tx.settings.use_network_dns_servers:
        return
    if new := [str(one) for one in values.get("dns_nameservers", ()) if one not in before]:
        raise Forbidden(
            f"dns_nameservers {', '.join(new)} of a subnet of flat network {network.id}: with "
            "use_network_dns_servers the VMs of all networks of its bridge would be answered from "
            "there; leave it out, ask an administrator to set it, or take a vxlan network"
        )
