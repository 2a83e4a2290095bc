"""Allowed address pairs that projects give their ports: their limits, and the ports they exclude.

An administrator may let a port send as anybody. Who acts for one project may not, so these rules
are asked at the store, where no policy file changes them. `address_pairs` has the pairs that
projects gave: no port of another project gets an address of those later.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, exists, func, insert, or_, select

from lessor.errors import Conflict, Forbidden, InUse
from lessor.model import FLAT, AddressPair, Port, Subnet
from lessor.net.address import Address
from lessor.net.prefixes import extent, inside
from lessor.store.address_column import AddressColumn, raw
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.hosts import blocks as hostblocks
from lessor.store.networks.addressing import NetworkAddressing
from lessor.store.ports.pair_ranges import PairRange, PairRanges
from lessor.store.sharing import visible
from lessor.store.tables import address_pairs, addresses, networks, ports

# --- what a port gets -----------------------------------------------------------------------------


def take(
    tx: Tx, network: NetworkAddressing, before: Port | None, after: Port, acts_for: str | None
) -> None:
    """Check the pairs that a port newly has, and remember which of them a project gave.

    Args:
        tx: the transaction.
        network: the port's network.
        before: the port as it was; None: it is new.
        after: the port, with its MAC.
        acts_for: the one project that the caller acts for; None: any.

    Raises:
        Forbidden: a project may not give such a pair.
        Conflict: a pair holds an address or MAC that is another's.
    """
    had = _named(before) if before else set()
    if _named(after) == had:
        return
    new = [pair for pair in after.allowed_address_pairs if _name(after, pair) not in had]
    if acts_for is not None:
        for pair in new:
            _check(tx, network, after, pair, acts_for)
    _remember(tx, network, after, () if acts_for is None else new)


def _name(port: Port, pair: AddressPair) -> tuple[object, str]:
    return pair.addresses, pair.mac or port.mac_address


def _named(port: Port) -> set[tuple[object, str]]:
    return {_name(port, pair) for pair in port.allowed_address_pairs}


_OF_PORT = address_pairs.c.port_id == bindparam("key")


def _remember(tx: Tx, network: NetworkAddressing, port: Port, given: Iterable[AddressPair]) -> None:
    """Write which pairs of a port a project gave; those that stay are whose they were."""
    wanted = {_span(pair) for pair in port.allowed_address_pairs}
    columns = select(address_pairs.c.first, address_pairs.c.last)
    present = {
        (row.first, row.last) for row in tx.conn.execute(columns.where(_OF_PORT), {"key": port.id})
    }
    tx.conn.execute(delete(address_pairs).where(_OF_PORT), {"key": port.id})
    kept = (wanted & present) | {_span(pair) for pair in given}
    rows = [
        {
            "port_id": port.id,
            "first": first,
            "last": last,
            "segment": network.segment,
            "project_id": port.project_id,
        }
        for first, last in kept
    ]
    if rows:
        tx.conn.execute(insert(address_pairs), rows)


# --- what a project may give ----------------------------------------------------------------------


def _check(tx: Tx, network: NetworkAddressing, port: Port, pair: AddressPair, project: str) -> None:
    what = f"allowed address pair {pair.addresses} of a port of network {network.id}"
    if network.project_id != project:
        raise Forbidden(
            f"{what}, which is another project's: its project or an administrator can give one"
        )
    if network.wire is not None:
        _check_flat(tx, network, port, pair, what)
    elif pair.mac is not None:
        _check_mac(tx, network, pair.mac, project, what)
    _check_reserved(tx, network, pair, what)
    _check_ports(tx, network, pair, project, what)


def _check_flat(
    tx: Tx, network: NetworkAddressing, port: Port, pair: AddressPair, what: str
) -> None:
    """Check a pair on a flat network: a project has its own subnets' addresses alone there."""
    if pair.mac not in (None, port.mac_address):
        raise Forbidden(
            f"{what} with MAC {pair.mac}: on a wire that others share a project's ports send with "
            "their own alone; leave mac_address out, or ask an administrator"
        )
    least = tx.settings.min_pair_prefixlen
    if pair.addresses.prefixlen < least:
        raise Forbidden(
            f"{what}: its prefix is shorter than /{least} (min_pair_prefixlen); give a smaller "
            "block, or ask an administrator"
        )
    if not _inside(network, pair):
        blocks = ", ".join(str(subnet.cidr) for subnet in network.subnets) or "none"
        raise Forbidden(
            f"{what} lies outside of its subnets, which are {blocks}; give an address of theirs, "
            "or ask an administrator"
        )
    hostblocks.check_parts(tx, network.wire, network.beyond_pools(extent(pair.addresses)))


def _inside(network: NetworkAddressing, pair: AddressPair) -> bool:
    return inside(pair.addresses, (subnet.cidr for subnet in network.subnets))


_MAC = select(ports.c.id).where(
    ports.c.segment == bindparam("segment"),
    ports.c.mac_address == bindparam("mac"),
    (ports.c.project_id != bindparam("project")) | ports.c.server_of.is_not(None),
)


def _check_mac(tx: Tx, network: NetworkAddressing, mac: str, project: str, what: str) -> None:
    values = {"segment": network.segment, "mac": mac, "project": project}
    if (key := tx.conn.execute(_MAC, values).scalar()) is not None:
        raise Conflict(f"{what}: MAC {mac} is {_whose(tx, key, project)}", type_="MacAddressInUse")


_WITHIN = addresses.c.address.between(
    bindparam("first", type_=AddressColumn()), bindparam("last", type_=AddressColumn())
)
# Of a subnet: what hosts or an operator's machines have. Of vxlan networks no host has the gateway.
_RESERVED = (
    select(addresses.c.address, addresses.c.reserved_as, ports.c.server_of)
    .select_from(addresses.outerjoin(ports, ports.c.id == addresses.c.port_id))
    .where(
        addresses.c.network_id == bindparam("network"),
        _WITHIN,
        or_(
            addresses.c.reserved_as.in_(bindparam("reserved", expanding=True)),
            ports.c.server_of.is_not(None),
        ),
    )
    .order_by(addresses.c.address)
    .limit(1)
)
_GATEWAY, _SERVER, _OPERATOR = "gateway", "dhcp_server", "operator"


def _check_reserved(tx: Tx, network: NetworkAddressing, pair: AddressPair, what: str) -> None:
    """Nobody is gateway or DHCP server beside ours; a block wider than a subnet is a router's."""
    if not _inside(network, pair):
        return
    kinds = (_OPERATOR,) if network.overlay else (_GATEWAY, _SERVER, _OPERATOR)
    values = {"network": network.id, "reserved": list(kinds), **_ends(pair)}
    row = tx.conn.execute(_RESERVED, values).first()
    if row is None:
        return
    whose = {_GATEWAY: "the gateway's", _OPERATOR: "reserved"}.get(
        row.reserved_as, "a DHCP server's"
    )
    raise Conflict(
        f"{what}: {row.address} is {whose}; give another address or a smaller block",
        type_="IpAddressInUse",
    )


# Subnets of one wire don't overlap, but they may have done so before that was refused.
_OTHERS = (
    select(addresses.c.address, addresses.c.port_id)
    .select_from(addresses.join(ports, ports.c.id == addresses.c.port_id))
    .where(
        or_(
            addresses.c.network_id == bindparam("network"),
            addresses.c.network_id.in_(
                select(networks.c.id).where(
                    networks.c.network_type == FLAT,
                    networks.c.physical_network == bindparam("wire"),
                )
            ),
        ),
        _WITHIN,
        ports.c.project_id != bindparam("project"),
        ports.c.server_of.is_(None),
    )
    .order_by(addresses.c.address)
    .limit(1)
)


def _check_ports(
    tx: Tx, network: NetworkAddressing, pair: AddressPair, project: str, what: str
) -> None:
    values = {"network": network.id, "wire": network.wire, "project": project, **_ends(pair)}
    row = tx.conn.execute(_OTHERS, values).first()
    if row is not None:
        raise Conflict(
            f"{what}: {row.address} is {_whose(tx, row.port_id, project)}; give "
            "another address or a smaller block",
            type_="IpAddressInUse",
        )


def _span(pair: AddressPair) -> tuple[Address, Address]:
    return pair.addresses.network_address, pair.addresses.broadcast_address


def _ends(pair: AddressPair) -> dict[str, Address]:
    first, last = _span(pair)
    return {"first": first, "last": last}


def _whose(tx: ReadTx, port_id: str, project: str | None) -> str:
    if visible.sees(tx, "port", port_id, project):
        return f"port {port_id}'s"
    return "a port's of another project"


# --- the ports they exclude -----------------------------------------------------------------------

_HELD = select(
    address_pairs.c.port_id,
    address_pairs.c.project_id,
    raw(address_pairs.c.first),
    raw(address_pairs.c.last),
).where(address_pairs.c.segment == bindparam("segment"))
# Of `addresses`: those that a port of a project may have beside the pairs of others.
FREE_OF_PAIRS = ~exists(
    select(1).where(
        address_pairs.c.segment == bindparam("segment"),
        address_pairs.c.project_id != bindparam("project"),
        addresses.c.address.between(address_pairs.c.first, address_pairs.c.last),
    )
)


def of_others(tx: Tx, network: NetworkAddressing, project: str) -> PairRanges:
    """Return the pairs on a network's wire that other projects gave, read once for a request."""
    if network.pair_ranges is None:
        rows = tx.conn.execute(_HELD, {"segment": network.segment})
        network.pair_ranges = tuple(PairRange(*row) for row in rows)
    if project not in network.others_pairs:
        network.others_pairs[project] = PairRanges(
            one for one in network.pair_ranges if one.project_id != project
        )
    return network.others_pairs[project]


def check_free(
    tx: Tx, network: NetworkAddressing, address: Address, project: str, acts_for: str | None
) -> None:
    """Refuse a port an address that a port of another project may send with.

    Raises:
        Conflict: there is such a pair.
    """
    found = of_others(tx, network, project).find(address)
    if found is not None:
        raise Conflict(
            f"address {address} of network {network.id} is in an allowed address pair that is "
            f"{_whose(tx, found.port_id, acts_for)}; give another, or none to have one chosen",
            type_="IpAddressInUse",
        )


_WITH_MAC = (
    select(ports.c.id)
    .select_from(address_pairs.join(ports, ports.c.id == address_pairs.c.port_id))
    .where(
        address_pairs.c.segment == bindparam("segment"),
        address_pairs.c.project_id != bindparam("project"),
        ports.c.allowed_address_pairs.contains(bindparam("mac")),
    )
    .limit(1)
)


def check_mac_free(tx: Tx, network: NetworkAddressing, port: Port, acts_for: str | None) -> None:
    """Refuse a port a MAC that a port of another project may send with.

    Flat networks have no such pair: what a project gives there is with its port's own MAC.

    Raises:
        Conflict: there is such a pair.
    """
    values = {"segment": network.segment, "project": port.project_id, "mac": port.mac_address}
    found = tx.conn.execute(_WITH_MAC, values).scalar() if network.overlay else None
    if found is not None:
        raise Conflict(
            f"MAC {port.mac_address} of network {network.id} is in an allowed address pair that is "
            f"{_whose(tx, found, acts_for)}; give another, or none to have one chosen",
            type_="MacAddressInUse",
        )


def check_end(tx: Tx, network: NetworkAddressing, address: Address, what: str) -> None:
    """Refuse a gateway or DHCP server an address that a project's port may send with.

    On flat networks alone.

    Raises:
        Conflict: there is such a pair.
    """
    rows = tx.conn.execute(_HELD, {"segment": network.segment})
    found = None if network.overlay else PairRanges(PairRange(*row) for row in rows).find(address)
    if found is not None:
        raise Conflict(
            f"{what} {address} is in an allowed address pair of port {found.port_id}; choose "
            "another, or take the pair away first",
            type_="GatewayIpInUse",
        )


_INSIDE = select(func.count(func.distinct(address_pairs.c.port_id))).where(
    address_pairs.c.segment == bindparam("segment"),
    address_pairs.c.first >= bindparam("first", type_=AddressColumn()),
    address_pairs.c.last <= bindparam("last", type_=AddressColumn()),
)


def check_none_inside(tx: Tx, network: NetworkAddressing, subnet: Subnet) -> None:
    """Refuse to delete a flat subnet while pairs lie in it: its block may become another's.

    Raises:
        InUse: projects' ports have such pairs.
    """
    block = subnet.cidr
    span = {"first": block.network_address, "last": block.broadcast_address}
    values = {"segment": network.segment, **span}
    count = 0 if network.overlay else tx.conn.execute(_INSIDE, values).scalar_one()
    if count:
        raise InUse(
            f"subnet {subnet.id} ({subnet.cidr}) still has allowed address pairs of {count} "
            f"port{'s' * (count != 1)}; take them away first "
            f"(lessor port list --network {subnet.network_id})",
            type_="SubnetInUse",
        )
