"""Checks of subnet pools: prefix lengths, the one default, size and address scope."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, select

from lessor.errors import Conflict, Invalid
from lessor.model import SubnetPool
from lessor.net.address import Block
from lessor.net.keys import number_of
from lessor.net.prefixes import Claim, blocks_of, clash
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.pools import scopes as addressscopes
from lessor.store.sharing import rbac, visible
from lessor.store.tables import prefixes, subnetpools, subnets

# Others' writes wait for as long as these are read and compared.
MOST_PREFIXES = 1000  # of a pool, and of one request
MOST_IN_SCOPE = 10_000  # of the pools of an address scope

DEFAULT = select(subnetpools.c.id).where(subnetpools.c.is_default)


def check(tx: Tx, pool: SubnetPool, acts_for: str | None) -> None:
    """Refuse a pool, new or changed, that contradicts itself or others.

    Args:
        tx: the transaction.
        pool: the pool.
        acts_for: the one project that the caller acts for, which errors may name; None: any.

    Raises:
        Invalid: its lengths contradict each other, or another is the default.
        NotFound: there is no such address scope.
    """
    _check_lengths(pool)
    if pool.is_default:
        other = tx.conn.execute(DEFAULT.where(subnetpools.c.id != pool.id)).scalar()
        if other:
            seen = visible.sees(tx, "subnetpool", other, acts_for)
            which = f"subnet pool {other}" if seen else "another subnet pool"
            raise Invalid(f"{which} is the default already; there can be one only")
    if pool.address_scope_id is not None:
        _check_guests(tx, pool, pool.address_scope_id)


def check_number(count: int, present: int = 0) -> None:
    """Refuse more prefixes than a pool or a request may have; a pool that has more stays possible.

    Raises:
        Invalid: there are too many.
    """
    if count > max(MOST_PREFIXES, present):
        raise Invalid(
            f"{count} prefixes; the most of a subnet pool, and of a request, is {MOST_PREFIXES}: "
            "give larger blocks, or make several pools"
        )


def _check_lengths(pool: SubnetPool) -> None:
    least, default, most = pool.min_prefixlen, pool.default_prefixlen, pool.max_prefixlen
    if least < 0:
        raise Invalid(f"min_prefixlen {least}: least is 0", type_="UnsupportedMinSubnetPoolPrefix")
    for small, low, large, high in (
        ("min_prefixlen", least, "max_prefixlen", most),
        ("max_prefixlen", most, "the length of an address", pool.prefixes[0].max_prefixlen),
        ("min_prefixlen", least, "default_prefixlen", default),
        ("default_prefixlen", default, "max_prefixlen", most),
    ):
        if low > high:
            raise Invalid(
                f"{small} {low} is more than {large}, {high}",
                type_="IllegalSubnetPoolPrefixBounds",
            )


def _check_guests(tx: Tx, pool: SubnetPool, scope_id: str) -> None:
    addressscopes.lock(tx, scope_id)
    guests = rbac.targets_of(tx, visible.SUBNETPOOL, pool.id)
    guests |= {visible.EVERYBODY} if pool.shared else set()
    if lacking := rbac.without_access(tx, scope_id, guests):
        raise Invalid(
            f"subnet pool {pool.id} is shared with {', '.join(sorted(lacking))} and address scope "
            f"{scope_id} is not; share the scope first",
            type_="IllegalSubnetPoolAssociationToAddressScope",
        )


_IN_SCOPES = (
    select(subnetpools.c.address_scope_id, subnetpools.c.id, prefixes.c.first, prefixes.c.last)
    .select_from(subnetpools.join(prefixes, prefixes.c.subnetpool_id == subnetpools.c.id))
    .where(subnetpools.c.address_scope_id.in_(bindparam("scopes", expanding=True)))
    .limit(MOST_IN_SCOPE + 1)
)


def check_scopes(tx: Tx, pools: Collection[SubnetPool], acts_for: str | None) -> None:
    """Refuse pools, written just now, whose address scopes have some of their addresses already.

    All that is in the scopes is read and compared once, however many pools there are.

    Raises:
        Conflict: another pool has them, or the scopes have too many prefixes to compare.
    """
    scopes = sorted({pool.address_scope_id for pool in pools if pool.address_scope_id is not None})
    rows = tx.conn.execute(_IN_SCOPES, {"scopes": scopes}).all() if scopes else ()
    if len(rows) > MOST_IN_SCOPE:
        raise Conflict(
            f"the pools of address scope {', '.join(scopes)} have more than {MOST_IN_SCOPE} "
            "prefixes; give larger blocks, or use another scope"
        )
    ours = {pool.id for pool in pools}
    inside: dict[str, list[Claim]] = {}
    for scope_id, pool_id, first, last in rows:
        inside.setdefault(scope_id, []).append(Claim(number_of(first), number_of(last), pool_id))
    for scope_id, claims in inside.items():
        if (found := clash(claims)) is not None:
            raise _overlap(
                tx, scope_id, sorted(found, key=lambda one: one.owner not in ours), acts_for
            )


def _overlap(tx: ReadTx, scope_id: str, claims: Sequence[Claim], acts_for: str | None) -> Conflict:
    own, other = claims
    shown = f"{_block(other)} of subnet pool {other.owner}"
    seen = visible.sees(tx, "subnetpool", other.owner, acts_for)
    return Conflict(
        f"prefix {_block(own)} overlaps {shown if seen else 'one of another subnet pool'} in the "
        f"same address scope {scope_id}",
        type_="AddressScopePrefixConflict",
    )


def _block(claim: Claim) -> Block:
    return next(blocks_of((claim.first, claim.last)))


def check_scope_owner(tx: ReadTx, pool: SubnetPool, acts_for: str | None) -> None:
    """Refuse that a project changes the prefixes of its pool in another's address scope.

    The owner of the scope decides what is in it (Neutron's rule).

    Raises:
        Invalid: it would.
    """
    scope_id = pool.address_scope_id
    if scope_id is None or acts_for in (None, addressscopes.get(tx, scope_id).project_id):
        return
    raise Invalid(
        f"prefixes of subnet pool {pool.id} can't be changed by its project: address scope "
        f"{scope_id} is another project's; take the pool out of it first (address_scope_id: null)",
        type_="IllegalSubnetPoolUpdate",
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


def check_networks(tx: Tx, pool_id: str, acts_for: str | None) -> None:
    """A network with subnets of several pools stays in one address scope."""
    network = tx.conn.execute(_MIXED, {"key": pool_id}).scalar()
    if network is not None:
        seen = visible.sees(tx, "network", network, acts_for)
        raise Invalid(
            f"the address scope of subnet pool {pool_id} can't change: "
            f"{f'network {network}' if seen else 'a network'} also has subnets of other pools of "
            "this scope",
            type_="NetworkAddressScopeAffinityError",
        )
