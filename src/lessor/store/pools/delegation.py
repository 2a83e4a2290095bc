"""Cuts a subnet's block from a pool, and keeps a network's subnets to one pool or scope.

Whoever cuts has locked the pool (`subnetpools.lock`), so two never cut the same block.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select

from lessor.errors import Conflict, Invalid
from lessor.model import FLAT, Network, SubnetPool
from lessor.net.address import Block
from lessor.net.keys import number_of
from lessor.net.prefixes import Extent, cut, extent, inside
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.pools import rules as subnetpools
from lessor.store.sharing import visible
from lessor.store.tables import networks, subnets
from lessor.store.tables import subnetpools as pools
from lessor.store.values import SubnetValues

BAD = "BadRequest"


def block_for(tx: Tx, network: Network, values: SubnetValues) -> tuple[Block, str | None]:
    """Return the block of a new subnet, and the pool that it is cut from (None: the caller's own).

    Raises:
        Invalid: what is given contradicts itself, or doesn't suit the pool or the network.
        NotFound: there is no such pool that the caller may see.
        Conflict: the pool has no room, or the project has had its share of it.
    """
    pool_id = _pool_of(tx, values)
    if pool_id is None:
        if "cidr" not in values:
            raise Invalid("a subnet needs a cidr, or a subnetpool_id to cut one from", type_=BAD)
        if "prefixlen" in values:
            raise Invalid(
                "prefixlen is the length of a block from a pool; give a subnetpool_id", type_=BAD
            )
        _check_affinity(tx, network, None)
        return values["cidr"], None
    pool = subnetpools.lock(tx, pool_id)
    if values.get("subnetpool_id") and not visible.sees(
        tx, "subnetpool", pool_id, values.get("acts_for")
    ):  # it may have been shared when the request came, and be no more
        raise subnetpools.not_found(pool_id)
    _check_affinity(tx, network, pool)
    block = _wanted(tx, network, pool, values)
    _check_quota(tx, pool, values.get("project_id", network.project_id), block)
    return block, pool_id


def _pool_of(tx: ReadTx, values: SubnetValues) -> str | None:
    pool_id = values.get("subnetpool_id")
    if not values.get("use_default_subnetpool"):
        return pool_id
    if pool_id is not None:
        raise Invalid(
            "subnetpool_id and use_default_subnetpool are both given; give one", type_=BAD
        )
    default = subnetpools.default_id(tx)
    if default is None:
        raise Invalid(
            "there is no default subnet pool; make one (is_default), or name a pool", type_=BAD
        )
    return default


def _wanted(tx: ReadTx, network: Network, pool: SubnetPool, values: SubnetValues) -> Block:
    if "cidr" in values:
        if "prefixlen" in values:
            raise Invalid("cidr and prefixlen are both given; give one", type_=BAD)
        _check_length(pool, values["cidr"].prefixlen)
        return _this(tx, pool, values["cidr"])
    if values.get("pools"):
        raise Invalid(
            "allocation pools need a cidr: the block is not known before it is cut", type_=BAD
        )
    length = values.get("prefixlen", pool.default_prefixlen)
    _check_length(pool, length)
    taken = [*subnetpools.cut_from(tx, pool.id), *_on_the_wire(tx, network)]
    found = cut([extent(block) for block in pool.prefixes], taken, length)
    if found is None:
        raise Conflict(
            f"subnet pool {pool.id} has no free block of length /{length} left; add prefixes or "
            "ask for a longer prefixlen",
            type_="SubnetAllocationError",
        )
    return found


def _this(tx: ReadTx, pool: SubnetPool, block: Block) -> Block:
    first, last = extent(block)
    if not inside(block, pool.prefixes):
        raise Conflict(
            f"{block} is not among the prefixes of subnet pool {pool.id}: "
            + ", ".join(str(prefix) for prefix in pool.prefixes),
            type_="SubnetAllocationError",
        )
    if any(low <= last and high >= first for low, high in subnetpools.cut_from(tx, pool.id)):
        raise Conflict(
            f"{block} overlaps a subnet that was cut from subnet pool {pool.id} before; ask for "
            "another, or for a prefixlen alone",
            type_="SubnetAllocationError",
        )
    return block


def _check_length(pool: SubnetPool, length: int) -> None:
    if length < pool.min_prefixlen:
        raise Invalid(
            f"prefixlen {length}: the least of subnet pool {pool.id} is {pool.min_prefixlen}",
            type_="MinPrefixSubnetAllocationError",
        )
    if length > pool.max_prefixlen:
        raise Invalid(
            f"prefixlen {length}: the most of subnet pool {pool.id} is {pool.max_prefixlen}",
            type_="MaxPrefixSubnetAllocationError",
        )


_WIRE = (
    select(subnets.c.first, subnets.c.last)
    .select_from(subnets.join(networks, networks.c.id == subnets.c.network_id))
    .where(
        (subnets.c.network_id == bindparam("network"))
        | (
            (networks.c.network_type == FLAT)
            & (networks.c.physical_network == bindparam("physical"))
        )
    )
)


def _on_the_wire(tx: ReadTx, network: Network) -> list[Extent]:
    """Return the blocks that a subnet of the network can't have, from a pool or not."""
    key = {"network": network.id, "physical": network.physical_network}
    return [(number_of(first), number_of(last)) for first, last in tx.conn.execute(_WIRE, key)]


_HAD = select(subnets.c.first, subnets.c.last).where(
    subnets.c.subnetpool_id == bindparam("key"), subnets.c.project_id == bindparam("project")
)


def _check_quota(tx: ReadTx, pool: SubnetPool, project: str, block: Block) -> None:
    """Hold a project to the pool's default_quota, which counts addresses."""
    if pool.default_quota is None:
        return
    had = tx.conn.execute(_HAD, {"key": pool.id, "project": project})
    used = sum(number_of(last) - number_of(first) + 1 for first, last in had)
    if used + block.num_addresses > pool.default_quota:
        raise Conflict(
            f"{block.num_addresses} more addresses of subnet pool {pool.id} for project "
            f"{project!r}: it has {used} of {pool.default_quota} (default_quota)",
            type_="SubnetPoolQuotaExceeded",
        )


_POOLS = (
    select(subnets.c.subnetpool_id, pools.c.address_scope_id)
    .select_from(subnets.outerjoin(pools, pools.c.id == subnets.c.subnetpool_id))
    .where(subnets.c.network_id == bindparam("network"))
    .distinct()
)


def _check_affinity(tx: ReadTx, network: Network, pool: SubnetPool | None) -> None:
    """All subnets of a network are from one pool, or from pools of one address scope, or from none.

    Source: Neutron's NetworkSubnetPoolAffinityError and NetworkAddressScopeAffinityError.
    """
    scope = pool.address_scope_id if pool else None
    for other, other_scope in tx.conn.execute(_POOLS, {"network": network.id}):
        if other == (pool.id if pool else None):
            continue
        if scope is not None and other_scope is not None and other_scope == scope:
            continue
        if pool is not None and other_scope is not None:
            raise Invalid(
                f"network {network.id} has subnets of address scope {other_scope}; all "
                "subnets of a network are of the same",
                type_="NetworkAddressScopeAffinityError",
            )
        raise Invalid(
            f"network {network.id} has subnets of pool {other or 'none'}; all subnets of a network "
            "are of the same",
            type_="NetworkSubnetPoolAffinityError",
        )
