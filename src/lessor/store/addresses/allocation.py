"""Addresses of ports: claimed, released, freed. The table's constraints decide, not a lock.

Automatic choice takes an address that was never used, by a pointer that each pool has, or else the
one that has been free for the longest time (semantics.md A7.2). An address that a port lets go is
not allocated until it is certainly unused: every host whose DHCP server may have served it has
reported that it no longer does, so has the host of the VM, whose tap and guard let it through until
then (`holds`), and the leases known are over.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import BindParameter, and_, bindparam, delete, exists, func, or_, select, update

from lessor.errors import Conflict, Exhausted, Invalid
from lessor.model import LATEST, FixedIp
from lessor.net.address import Address
from lessor.net.keys import address_of, key_of, number_of
from lessor.store.address_column import AddressColumn, raw
from lessor.store.engine import recovery
from lessor.store.engine.dialect import insert
from lessor.store.engine.tx import UNSTAMPED, Tx
from lessor.store.networks.addressing import NetworkAddressing, PoolRange, SubnetRange
from lessor.store.ports import pairs
from lessor.store.ports.pair_ranges import PairRanges
from lessor.store.sharing import visible
from lessor.store.tables import addresses, holds, hosts, leases, pools, ports
from lessor.store.values import FixedIpRequest

# Rows that are read to find the first gap among addresses in use: mostly it is near.
FEW, MANY = 16, 4096


@dataclass(frozen=True, slots=True)
class Owner:
    """A port that claims addresses or lets them go."""

    network_id: str
    port_id: str
    mac: str
    binding_host: str | None
    project_id: str = ""
    acts_for: str | None = None  # the one project that the caller acts for, who is told; None: any


_NETWORK: BindParameter[str] = bindparam("network")
_ADDRESS = bindparam("addr", type_=AddressColumn())
_THIS = and_(addresses.c.network_id == _NETWORK, addresses.c.address == _ADDRESS)
_LEASED = exists(
    select(1).where(
        leases.c.network_id == addresses.c.network_id,
        leases.c.address == addresses.c.address,
        leases.c.ended_at.is_(None),
    )
)
_LEASED_BY_OTHERS = exists(
    select(1).where(
        leases.c.network_id == addresses.c.network_id,
        leases.c.address == addresses.c.address,
        leases.c.ended_at.is_(None),
        leases.c.mac_address != bindparam("owner_mac"),
    )
)
_HELD = exists(
    select(1).where(
        holds.c.network_id == addresses.c.network_id, holds.c.address == addresses.c.address
    )
)
_POOLED = exists(
    select(1).where(
        pools.c.subnet_id == addresses.c.subnet_id,
        addresses.c.address.between(pools.c.first, pools.c.last),
    )
)
_AGAIN = addresses.alias("again")
_LAST_SEQ = (
    select(func.coalesce(func.max(_AGAIN.c.freed_seq), 0) + 1)
    .where(_AGAIN.c.subnet_id == addresses.c.subnet_id, _AGAIN.c.freed_seq.is_not(None))
    .scalar_subquery()
)
_RELEASING = and_(
    addresses.c.port_id.is_(None),
    addresses.c.reserved_as.is_(None),
    addresses.c.freed_seq.is_(None),
)

_ADD = insert(addresses).on_conflict_do_nothing()
_TAKE = (
    update(addresses)
    .where(
        _THIS,
        or_(
            addresses.c.freed_seq.is_not(None),
            and_(_RELEASING, addresses.c.mac == bindparam("owner_mac"), ~_LEASED_BY_OTHERS),
        ),
    )
    .values(
        port_id=bindparam("owner"),
        position=bindparam("pos"),
        freed_seq=None,
        let_go_at=None,
        not_before=None,
        mac=None,
        updated_at=bindparam("now"),
    )
)
_ADVANCE = (
    update(pools)
    .where(
        pools.c.subnet_id == bindparam("subnet"),
        pools.c.first == bindparam("low", type_=AddressColumn()),
    )
    .values(next_fresh=bindparam("fresh", type_=AddressColumn()))
)
_IN_USE = (
    select(raw(addresses.c.address))
    .where(
        addresses.c.network_id == _NETWORK,
        addresses.c.address.between(_ADDRESS, bindparam("last", type_=AddressColumn())),
    )
    .order_by(addresses.c.address)
    .limit(bindparam("most"))
)
_FREE_ONES = (
    select(addresses.c.address)
    .where(addresses.c.subnet_id == bindparam("subnet"), addresses.c.freed_seq.is_not(None))
    .order_by(addresses.c.freed_seq)
)
_OLDEST = _FREE_ONES.limit(1)
_OLDEST_FREE_OF_PAIRS = _FREE_ONES.where(pairs.FREE_OF_PAIRS).limit(1)


def claim(
    tx: Tx,
    network: NetworkAddressing,
    owner: Owner,
    wanted: Sequence[FixedIpRequest],
    *,
    at: int = 0,
) -> list[FixedIp]:
    """Give a port the addresses it asks for; positions count from `at`.

    Raises:
        Invalid: an address lies in no subnet of the network, or not in the one named.
        Conflict: an address is reserved, in use, or may still be leased to another MAC.
        Exhausted: no address is left.
        Unavailable: hosts have yet to say which addresses are in use there (`recovery`).
    """
    if wanted:
        recovery.check(tx, network)
    return [_one(tx, network, owner, want, at + n) for n, want in enumerate(wanted)]


def _one(
    tx: Tx, network: NetworkAddressing, owner: Owner, want: FixedIpRequest, position: int
) -> FixedIp:
    if want.address is None:
        subnets = [network.subnet(want.subnet_id)] if want.subnet_id else network.subnets
        return _any(tx, network, owner, subnets, position)
    subnet = network.subnet(want.subnet_id) if want.subnet_id else network.subnet_of(want.address)
    if want.address not in subnet:
        raise Invalid(
            f"address {want.address} is not in subnet {subnet.id}, which is {subnet.cidr}",
            type_="InvalidIpForSubnet",
        )
    pairs.check_free(tx, network, want.address, owner.project_id, owner.acts_for)
    address = want.address
    added = _insert(tx, owner, subnet, address, position)
    if not added and not _take(tx, owner, address, position):
        raise _refusal(tx, network, address, owner.acts_for)
    return FixedIp(subnet.id, address)


def _any(
    tx: Tx, network: NetworkAddressing, owner: Owner, subnets: list[SubnetRange], position: int
) -> FixedIp:
    others = pairs.of_others(tx, network, owner.project_id)
    for subnet in subnets:
        if owner.project_id in subnet.exhausted_for:
            continue
        found = _fresh(tx, owner, subnet, position, others)
        if found is None:
            found = _rested(tx, owner, subnet, position, network.segment if others else "")
        if found is not None:
            return FixedIp(subnet.id, found)
        subnet.exhausted_for.add(owner.project_id)
    raise _exhausted(tx, network, subnets, others)


def _fresh(
    tx: Tx, owner: Owner, subnet: SubnetRange, position: int, others: PairRanges
) -> Address | None:
    """Claim the first address of the pools that was never used, and is in no pair of `others`."""
    for pool in subnet.pools:
        at = pool.fresh_for(owner.project_id)
        passed = at != pool.next_fresh
        while at is not None:
            if (pair := others.find(at)) is not None:
                passed = True  # the pointer stays: the pair may be taken away
                at = pool.after(address_of(pair.last))
                continue
            claimed = _insert(tx, owner, subnet, at, position)
            after = pool.after(at) if claimed else _after_used(tx, owner.network_id, at, pool)
            if passed:
                pool.next_for[owner.project_id] = after
            else:
                _advance(tx, subnet.id, pool, after)
            if claimed:
                return at
            at = after
    return None


def _after_used(tx: Tx, network_id: str, at: Address, pool: PoolRange) -> Address | None:
    """Return the first address of a pool after `at`, which has a row, that has none."""
    most = FEW
    while True:
        values = {"network": network_id, "addr": at, "last": pool.last, "most": most}
        used = tx.conn.execute(_IN_USE, values).scalars().all()
        # up to the first gap, each is the one before it and one
        gap = bisect_left(range(len(used)), 1, key=lambda n: used[n] != key_of(at + n))
        following = pool.after(at + (gap - 1))
        if following is None or gap < most:
            return following
        at, most = following, MANY


def _advance(tx: Tx, subnet_id: str, pool: PoolRange, fresh: Address | None) -> None:
    pool.next_fresh = fresh
    values = {"subnet": subnet_id, "low": pool.first, "fresh": pool.next_fresh}
    # once for a bulk of ports: a reader of an older one finds the address in use, and goes on
    tx.at_end((subnet_id, pool.first), _ADVANCE, values)


def _rested(
    tx: Tx, owner: Owner, subnet: SubnetRange, position: int, segment: str
) -> Address | None:
    """Claim the address that has been free for the longest time.

    With a `segment` it is in no pair that another project gave there.
    """
    oldest, values = _OLDEST, {"subnet": subnet.id}
    if segment:
        oldest = _OLDEST_FREE_OF_PAIRS
        values |= {"segment": segment, "project": owner.project_id}
    found: Address | None = tx.conn.execute(oldest, values).scalar()
    while found is not None and not _take(tx, owner, found, position):
        found = tx.conn.execute(oldest, values).scalar()
    return found


def _insert(tx: Tx, owner: Owner, subnet: SubnetRange, address: Address, position: int) -> bool:
    row = {
        "network_id": owner.network_id,
        "address": address,
        "subnet_id": subnet.id,
        "port_id": owner.port_id,
        "position": position,
        "updated_at": tx.now,
    }
    return tx.conn.execute(_ADD, row).rowcount == 1


def _take(tx: Tx, owner: Owner, address: Address, position: int) -> bool:
    values = {
        "network": owner.network_id,
        "addr": address,
        "owner": owner.port_id,
        "owner_mac": owner.mac,
        "pos": position,
        "now": tx.now,
    }
    return tx.conn.execute(_TAKE, values).rowcount == 1


_WHY = (
    select(
        addresses.c.port_id,
        addresses.c.reserved_as,
        addresses.c.mac,
        ports.c.device_owner,
        ports.c.server_of,
    )
    .select_from(addresses.outerjoin(ports, ports.c.id == addresses.c.port_id))
    .where(_THIS)
)
_LEASE_ENDS = select(leases.c.mac_address, leases.c.expires_at).where(
    leases.c.network_id == _NETWORK, leases.c.address == _ADDRESS, leases.c.ended_at.is_(None)
)


def _refusal(
    tx: Tx, network: NetworkAddressing, address: Address, acts_for: str | None
) -> Conflict:
    """Return the error that says why an address can't be had, as far as the caller may know."""
    key: dict[str, object] = {"network": network.id, "addr": address}
    row = tx.conn.execute(_WHY, key).one()
    if row.port_id is None:
        seen = acts_for in (None, network.project_id)
    else:
        seen = visible.sees(tx, "port", row.port_id, acts_for)
    if not seen and row.reserved_as is None:
        why = "is in use, or its lease may be alive"
    elif row.reserved_as is not None:
        why = f"is reserved ({row.reserved_as.replace('_', ' ')})"
    elif row.server_of is not None:
        why = f"is the DHCP server's of host {row.server_of} (port {row.port_id})"
    elif row.port_id is not None:
        why = f"is in use by port {row.port_id}"
    else:
        why = _lease_words(tx, key, row.mac)
    return Conflict(
        f"address {address} of network {network.id} {why}; give another, or none to have one "
        "chosen",
        type_="IpAddressInUse",
    )


def _lease_words(tx: Tx, key: dict[str, object], mac: str | None) -> str:
    lease = tx.conn.execute(_LEASE_ENDS, key).first()
    if lease is None:
        return f"is not yet confirmed released by the hosts that served {mac}"
    until = "for ever" if lease.expires_at is None else f"until {_shown(lease.expires_at)}"
    return f"can't be handed out: its lease to {lease.mac_address} may be alive {until}"


def _shown(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(at, LATEST)))


def _exhausted(
    tx: Tx, network: NetworkAddressing, subnets: list[SubnetRange], others: PairRanges
) -> Exhausted:
    if not subnets:
        return Exhausted(f"network {network.id} has no subnet, so there is no address to choose")
    reasons = []
    for subnet in subnets:
        total = sum(number_of(pool.last) - number_of(pool.first) + 1 for pool in subnet.pools)
        here = addresses.c.subnet_id == subnet.id
        still = tx.conn.execute(select(func.count()).where(here, _RELEASING, _POOLED)).scalar_one()
        more = f", {still} of them until their leases end" if still else ""
        reasons.append(f"subnet {subnet.cidr} has no free address: {total} of {total} in use{more}")
    if others:
        reasons.append("what allowed address pairs of other projects' ports hold is not given")
    return Exhausted("; ".join(reasons))


# --- letting go -----------------------------------------------------------------------------------

_LET_GO = (
    update(addresses)
    .where(_THIS, addresses.c.port_id == bindparam("owner"))
    .values(
        port_id=None,
        mac=bindparam("owner_mac"),
        let_go_at=bindparam("now"),
        updated_at=bindparam("now"),
    )
)
_HOLD = insert(holds)
_HOLD = _HOLD.on_conflict_do_update(
    index_elements=["network_id", "address", "host"],
    set_={"revision": _HOLD.excluded.revision, "made_at": _HOLD.excluded.made_at},
)
_FREE = (
    update(addresses)
    .where(
        _THIS,
        _RELEASING,
        or_(addresses.c.not_before.is_(None), addresses.c.not_before <= bindparam("now")),
        ~_HELD,
        ~_LEASED,
    )
    .values(
        freed_seq=_LAST_SEQ, mac=None, let_go_at=None, not_before=None, updated_at=bindparam("now")
    )
)
_FORGET = delete(addresses).where(_THIS, addresses.c.freed_seq.is_not(None), ~_POOLED)


def let_go(tx: Tx, network: NetworkAddressing, owner: Owner, fixed_ips: Sequence[FixedIp]) -> None:
    """Take addresses from a port; they are free once no VM can have them, nor a lease be alive."""
    taps = _with_tap(tx, owner)
    for fixed in fixed_ips:
        key = {"network": network.id, "addr": fixed.address}
        values = {"owner": owner.port_id, "owner_mac": owner.mac, "now": tx.now}
        tx.conn.execute(_LET_GO, key | values)
        serves = network.subnet(fixed.subnet_id).enable_dhcp
        servers = network.served_by(owner.binding_host) if serves else ()
        for host in {*servers, *taps}:
            hold(tx, network.id, fixed.address, host)
        if not servers and not taps:
            free(tx, network.id, fixed.address)


_AGENT = select(hosts.c.name).where(
    hosts.c.name == bindparam("host_name"), hosts.c.heartbeat_at.is_not(None)
)


def _with_tap(tx: Tx, owner: Owner) -> tuple[str, ...]:
    """Return the host whose agent takes the port's tap off; none where no agent ever was."""
    if owner.binding_host is None:
        return ()
    return tuple(tx.conn.execute(_AGENT, {"host_name": owner.binding_host}).scalars())


def hold(tx: Tx, network_id: str, address: Address, host: str) -> None:
    """Keep an address from others until `host` says that it has applied this transaction."""
    row = {"network_id": network_id, "address": address, "host": host}
    tx.conn.execute(_HOLD, row | {"revision": UNSTAMPED, "made_at": tx.now})
    tx.held = True


def free(tx: Tx, network_id: str, address: Address) -> bool:
    """Free an address that was let go, if nothing speaks against it any more."""
    key = {"network": network_id, "addr": address}
    if not tx.conn.execute(_FREE, key | {"now": tx.now}).rowcount:
        return False
    tx.conn.execute(_FORGET, key)
    return True
