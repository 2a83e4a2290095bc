"""What a subnet pool may be: the order of its lengths, one default, and its address scope."""

from __future__ import annotations

from ipaddress import IPv4Network

from sqlalchemy import bindparam, select

from lessor.errors import Conflict, Invalid
from lessor.model import SubnetPool
from lessor.store import addressscopes, rbac, visible
from lessor.store.prefixes import extent
from lessor.store.tables import prefixes, subnetpools, subnets
from lessor.store.writer import Tx

MOST_PREFIXLEN = 32  # bits of an IPv4 address

DEFAULT = select(subnetpools.c.id).where(subnetpools.c.is_default)


def check(tx: Tx, pool: SubnetPool) -> None:
    """Refuse a pool, new or changed, that contradicts itself or others.

    Raises:
        Invalid: its lengths contradict each other, or another is the default.
        Conflict: its address scope has some of its addresses already.
        NotFound: there is no such address scope.
    """
    _check_lengths(pool)
    if pool.is_default:
        other = tx.conn.execute(DEFAULT.where(subnetpools.c.id != pool.id)).scalar()
        if other:
            raise Invalid(f"subnet pool {other} is the default already; there can be one only")
    if pool.address_scope_id is not None:
        _check_scope(tx, pool, pool.address_scope_id)


def _check_lengths(pool: SubnetPool) -> None:
    least, default, most = pool.min_prefixlen, pool.default_prefixlen, pool.max_prefixlen
    if least < 0:
        raise Invalid(f"min_prefixlen {least}: least is 0", type_="UnsupportedMinSubnetPoolPrefix")
    for small, low, large, high in (
        ("min_prefixlen", least, "max_prefixlen", most),
        ("max_prefixlen", most, "the length of an address", MOST_PREFIXLEN),
        ("min_prefixlen", least, "default_prefixlen", default),
        ("default_prefixlen", default, "max_prefixlen", most),
    ):
        if low > high:
            raise Invalid(
                f"{small} {low} is more than {large}, {high}",
                type_="IllegalSubnetPoolPrefixBounds",
            )


_OTHERS = (
    select(subnetpools.c.id, prefixes.c.first, prefixes.c.prefix, prefixes.c.last)
    .select_from(subnetpools.join(prefixes, prefixes.c.subnetpool_id == subnetpools.c.id))
    .where(
        subnetpools.c.address_scope_id == bindparam("scope"), subnetpools.c.id != bindparam("key")
    )
    .order_by(prefixes.c.first)
)


def _check_scope(tx: Tx, pool: SubnetPool, scope_id: str) -> None:
    addressscopes.lock(tx, scope_id)
    guests = rbac.targets_of(tx.conn, visible.SUBNETPOOL, pool.id)
    guests |= {visible.EVERYBODY} if pool.shared else set()
    if lacking := rbac.without_access(tx.conn, scope_id, guests):
        raise Invalid(
            f"subnet pool {pool.id} is shared with {', '.join(sorted(lacking))} and address scope "
            f"{scope_id} is not; share the scope first",
            type_="IllegalSubnetPoolAssociationToAddressScope",
        )
    others = tx.conn.execute(_OTHERS, {"scope": scope_id, "key": pool.id}).all()
    for other_id, first, length, last in others:
        for block in pool.prefixes:
            if extent(block)[0] <= last and extent(block)[1] >= first:
                raise Conflict(
                    f"prefix {block} overlaps {IPv4Network((first, length))} of subnet pool "
                    f"{other_id} in the same address scope {scope_id}",
                    type_="AddressScopePrefixConflict",
                )


_MIXED = (
    select(subnets.c.network_id)
    .where(
        subnets.c.network_id.in_(
            select(subnets.c.network_id).where(subnets.c.subnetpool_id == bindparam("key"))
        ),
        subnets.c.subnetpool_id != bindparam("key"),
    )
    .limit(1)
)


def check_networks(tx: Tx, pool_id: str) -> None:
    """A network with subnets of several pools stays in one address scope."""
    network = tx.conn.execute(_MIXED, {"key": pool_id}).scalar()
    if network is not None:
        raise Invalid(
            f"the address scope of subnet pool {pool_id} can't change: network {network} also has "
            "subnets of other pools of this scope",
            type_="NetworkAddressScopeAffinityError",
        )
