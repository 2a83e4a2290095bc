"""Rules of subnets."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv6Address, ip_network
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, literal, or_, select, update

from lessor.errors import Conflict, InUse, Invalid, NotFound
from lessor.model import FLAT, Network, Pool, Subnet
from lessor.net.address import Address, Block
from lessor.net.keys import block_at, number_of
from lessor.net.prefixes import Extent, blocks_of, gaps
from lessor.store.address_column import AddressColumn
from lessor.store.columns import packed
from lessor.store.engine.dialect import insert as insert_unless
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.hosts import blocks as hostblocks
from lessor.store.hosts import dhcp_scheduler
from lessor.store.listing import Listing
from lessor.store.networks import project_limits
from lessor.store.networks import rules as network_rows
from lessor.store.networks.addressing import hosts_taking_part, read_addressing
from lessor.store.networks.pools import (
    check_number,
    checked_pools,
    default_pools,
    first_host,
    reserved_addresses,
)
from lessor.store.networks.rows import SUBNET, subnet_of
from lessor.store.noun import Noun
from lessor.store.pools import delegation
from lessor.store.ports import pairs, servers
from lessor.store.query import Query
from lessor.store.sharing import visible
from lessor.store.sharing.quotas import quota
from lessor.store.tables import addresses, holds, leases, networks, pools, ports, subnets
from lessor.store.tagrows import forget as forget_tags
from lessor.store.values import SubnetValues

MOST_SERVERS = 5  # Neutron's max_dns_nameservers
MOST_ROUTES = 20  # Neutron's max_subnet_host_routes

_SELECT = select(*SUBNET)


def _by_cidr(values: tuple[Any, ...]) -> Any:
    blocks = [ip_network(value) for value in values]
    return or_(
        *(
            (subnets.c.first == block.network_address) & (subnets.c.prefix == block.prefixlen)
            for block in blocks
        )
    )


def _visible(project_id: str) -> ColumnElement[bool]:
    """Its own, and those of networks that it sees."""
    return or_(
        subnets.c.project_id == project_id,
        visible.on_own_network(subnets.c.network_id, project_id),
        visible.shared_with(visible.NETWORK, subnets.c.network_id, project_id),
    )


_NONE = literal(IPv6Address(0), AddressColumn())  # before every other address
LISTING = Listing(
    "subnet",
    _SELECT,
    subnets.c.id,
    {column.name: column for column in SUBNET if column.name not in {"first", "prefix"}}
    | {"cidr": subnets.c.first},
    {"cidr": _by_cidr},
    nullable={"gateway_ip": _NONE, "dhcp_server": _NONE, "subnetpool_id": ""},
    visible=_visible,
)


def _listing_for(project_id: str) -> Listing:
    """Return a listing whose `shared` is whether the subnet's network is shared with a project."""
    shared = visible.shared_with(visible.NETWORK, subnets.c.network_id, project_id)
    return replace(LISTING, fields={**LISTING.fields, "shared": shared})


_ONE = _SELECT.where(subnets.c.id == bindparam("key"))
_ADD = insert_unless(addresses).on_conflict_do_nothing()
_POOLS = (
    select(pools.c.subnet_id, pools.c.first, pools.c.last)
    .where(pools.c.subnet_id.in_(bindparam("keys", expanding=True)))
    .order_by(pools.c.first)
)


def get(tx: ReadTx, subnet_id: str) -> Subnet:
    """Return a subnet, or raise NotFound."""
    row = tx.conn.execute(_ONE, {"key": subnet_id}).first()
    if row is None:
        raise NotFound(f"there is no subnet {subnet_id}", type_="SubnetNotFound")
    return read(tx, [row])[0]


def find(tx: ReadTx, query: Query) -> list[Subnet]:
    """Return the subnets that a query asks for."""
    listing = _listing_for(query.visible_to or visible.EVERYBODY)
    return read(tx, listing.rows(tx, query))


def read(tx: ReadTx, rows: Collection[Any]) -> list[Subnet]:
    """Return the subnets of rows of `SUBNET`."""
    if not rows:
        return []
    found: dict[str, list[Pool]] = {}
    for subnet_id, first, last in tx.conn.execute(_POOLS, {"keys": [row.id for row in rows]}):
        found.setdefault(subnet_id, []).append(Pool(first, last))
    return [subnet_of(row, tuple(found.get(row.id, ()))) for row in rows]


def create_many(tx: Tx, many: Sequence[SubnetValues]) -> list[Subnet]:
    """Make subnets, all or none; see `create`. Overlay networks get their DHCP servers."""
    made = [create(tx, values) for values in many]
    dhcp_scheduler.settle(tx, [subnet.network_id for subnet in made])
    return made


def create(tx: Tx, values: SubnetValues) -> Subnet:
    """Make a subnet and reserve what no port can have.

    Raises:
        NotFound: there is no such network.
        Invalid: a value is malformed or out of range, or the block overlaps another of the network.
        Forbidden: a project takes what it may not have on a wire that others share.
        Conflict: the block overlaps one of another flat network of the same physical network, or
            what hosts have and reach, the subnet pool has no room, or IPv4 packets have none in the
            network's MTU.
    """
    network = network_rows.get(tx, _network_id(values))
    network_rows.check_mtu(network.id, network.mtu)
    cidr, subnetpool_id = delegation.block_for(tx, network, values)
    hostblocks.check(tx, network, cidr, by_project="acts_for" in values)
    if "acts_for" in values:
        project_limits.check_blocks(tx, network, [cidr], subnetpool_id)
        project_limits.check_name_servers(tx, network, (), values)
    _check_overlap(tx, network, cidr, values.get("acts_for"))
    gateway = values["gateway_ip"] if "gateway_ip" in values else first_host(cidr)
    enable_dhcp = values.get("enable_dhcp", True)
    server = None
    if network.is_overlay:
        _check_own_servers(values)
    else:
        server = _server(cidr, gateway, values.get("dhcp_server"), enable_dhcp=enable_dhcp)
    _check_ends(cidr, gateway, server)
    subnet = Subnet(
        id=values.get("id") or str(uuid.uuid4()),
        network_id=network.id,
        cidr=cidr,
        name=values.get("name", ""),
        project_id=values.get("project_id", network.project_id),
        description=values.get("description", ""),
        gateway_ip=gateway,
        dhcp_server=server,
        enable_dhcp=enable_dhcp,
        pools=_pools(cidr, values.get("pools"), gateway, server),
        dns_nameservers=_dns(values.get("dns_nameservers", ())),
        host_routes=_routes(values.get("host_routes", ())),
        subnetpool_id=subnetpool_id,
        created_at=tx.now,
        updated_at=tx.now,
    )
    if tx.conn.execute(_ONE, {"key": subnet.id}).first():
        raise Conflict(f"there is a subnet {subnet.id} already")
    tx.conn.execute(insert(subnets), _columns(subnet) | {"created_at": tx.now})
    _write_pools(tx, subnet)
    _reserve(tx, subnet, reserved_addresses(cidr, gateway, server))
    _remember_leases(tx, subnet)
    tx.touch("subnets", subnet.id)
    tx.touch("networks", network.id)  # which shows its subnets
    servers.align(tx, network.id)
    tx.concerns(hosts_taking_part(tx, network.id))
    return subnet


def _check_own_servers(values: SubnetValues) -> None:
    if values.get("dhcp_server") is not None:
        raise Invalid(
            f"dhcp_server {values['dhcp_server']}: the DHCP servers of a vxlan network have "
            "addresses of their own, its DHCP ports'; leave it out"
        )


def _network_id(values: SubnetValues) -> str:
    if "network_id" not in values:
        raise Invalid("a subnet needs a network_id")
    return values["network_id"]


_OVERLAPPING = (
    select(subnets.c.id, subnets.c.network_id, subnets.c.first, subnets.c.prefix)
    .select_from(subnets.join(networks, networks.c.id == subnets.c.network_id))
    .where(
        (subnets.c.network_id == bindparam("network"))
        | (
            (networks.c.network_type == FLAT)
            & (networks.c.physical_network == bindparam("physical"))
        ),
        subnets.c.first <= bindparam("last_address", type_=AddressColumn()),
        subnets.c.last >= bindparam("first_address", type_=AddressColumn()),
    )
    .order_by(subnets.c.network_id != bindparam("network"))
    .limit(1)
)


def _check_overlap(tx: ReadTx, network: Network, cidr: Block, acts_for: str | None) -> None:
    """Refuse a block of which another subnet on the same wire has addresses.

    Within a network it is Neutron's InvalidInput (400); between two flat networks of one physical
    network, which Neutron lets pass, it is ours: CidrConflict (409), as nova-network's. Clients
    look for Neutron's words "overlaps with another subnet", and try the next block then (Tempest).
    """
    row = tx.conn.execute(
        _OVERLAPPING,
        {
            "network": network.id,
            "physical": network.physical_network,
            "first_address": cidr.network_address,
            "last_address": cidr.broadcast_address,
        },
    ).first()
    if row is None:
        return
    other = f"{block_at(row.first, row.prefix)} of subnet {row.id}"
    if row.network_id == network.id:
        raise Invalid(
            f"cidr {cidr} overlaps with another subnet of the same network, {other}; choose another"
        )
    if not visible.sees(tx, "subnet", row.id, acts_for):
        where = "on the same physical network; choose another"
    else:
        where = (
            f"on the same physical network {network.physical_network}, {other} of network "
            f"{row.network_id}; choose another"
        )
    raise Conflict(f"cidr {cidr} overlaps with another subnet {where}", type_="CidrConflict")


def _server(
    cidr: Block, gateway: Address | None, asked: Address | None, *, enable_dhcp: bool
) -> Address | None:
    """Return what is stored: None is the gateway, if there is one."""
    if asked is not None:
        return None if asked == gateway else asked
    if enable_dhcp and (gateway is None or gateway not in cidr):
        return first_host(cidr)
    return None


def _check_ends(cidr: Block, gateway: Address | None, server: Address | None) -> None:
    is_link = cidr.max_prefixlen - cidr.prefixlen <= 1  # RFC 3021
    ends = set() if is_link else {cidr.network_address, cidr.broadcast_address}
    for address, what in ((gateway, "gateway"), (server, "DHCP server")):
        if address is not None and (address not in cidr or address in ends):
            raise Invalid(f"{what} {address} is not a host address of {cidr}; give one of its own")


def _pools(
    cidr: Block,
    given: Sequence[Pool] | None,
    gateway: Address | None,
    server: Address | None,
) -> tuple[Pool, ...]:
    if given is None:
        return default_pools(cidr, (gateway, server))
    check_number(given)
    return checked_pools(cidr, given, gateway, server)


def _dns(given: Sequence[Address]) -> tuple[Address, ...]:
    if len(given) > MOST_SERVERS:
        raise Invalid(
            f"{len(given)} name servers; most is {MOST_SERVERS}", type_="DNSNameServersExhausted"
        )
    if len(set(given)) < len(given):
        raise Invalid("a name server is given twice; give each once")
    return tuple(given)


def _routes(given: Sequence[Any]) -> tuple[Any, ...]:
    if len(given) > MOST_ROUTES:
        raise Invalid(
            f"{len(given)} host routes; most is {MOST_ROUTES}", type_="HostRoutesExhausted"
        )
    return tuple(given)


# --- rows -----------------------------------------------------------------------------------------


def _columns(subnet: Subnet) -> dict[str, Any]:
    return {
        "id": subnet.id,
        "network_id": subnet.network_id,
        "first": subnet.cidr.network_address,
        "prefix": subnet.cidr.prefixlen,
        "last": subnet.cidr.broadcast_address,
        "name": subnet.name,
        "project_id": subnet.project_id,
        "description": subnet.description,
        "gateway_ip": subnet.gateway_ip,
        "dhcp_server": subnet.dhcp_server,
        "enable_dhcp": subnet.enable_dhcp,
        "dns_nameservers": packed(subnet.dns_nameservers),
        "host_routes": packed(subnet.host_routes),
        "subnetpool_id": subnet.subnetpool_id,
        "updated_at": subnet.updated_at,
    }


def _write_pools(tx: Tx, subnet: Subnet) -> None:
    rows = [
        {
            "subnet_id": subnet.id,
            "first": pool.first,
            "last": pool.last,
            "next_fresh": pool.first,
        }
        for pool in subnet.pools
    ]
    if rows:
        tx.conn.execute(insert(pools), rows)


def _reserve(tx: Tx, subnet: Subnet, wanted: dict[Address, str]) -> None:
    for address, reason in wanted.items():
        row = {
            "network_id": subnet.network_id,
            "address": address,
            "subnet_id": subnet.id,
            "reserved_as": reason,
            "updated_at": tx.now,
        }
        here = (addresses.c.network_id == subnet.network_id, addresses.c.address == address)
        tx.conn.execute(delete(addresses).where(*here, addresses.c.freed_seq.is_not(None)))
        if not tx.conn.execute(_ADD, row).rowcount:
            raise Conflict(
                f"address {address} can't become the {reason.replace('_', ' ')} of {subnet.cidr}: "
                "it is in use, or its lease may still be alive; choose another",
                type_="GatewayIpInUse",
            )


def _remember_leases(tx: Tx, subnet: Subnet) -> None:
    """An earlier subnet of this network had the same addresses: some may still be leased."""
    span = (subnet.cidr.network_address, subnet.cidr.broadcast_address)
    alive = select(leases.c.address, func.max(leases.c.mac_address)).where(
        leases.c.network_id == subnet.network_id,
        leases.c.ended_at.is_(None),
        leases.c.address.between(*span),
    )
    held = select(holds.c.address).where(
        holds.c.network_id == subnet.network_id, holds.c.address.between(*span)
    )
    macs: dict[Address, str | None] = {address: None for (address,) in tx.conn.execute(held)}
    macs |= {row[0]: row[1] for row in tx.conn.execute(alive.group_by(leases.c.address))}
    reserved = reserved_addresses(subnet.cidr, subnet.gateway_ip, subnet.dhcp_server)
    rows = [
        {
            "network_id": subnet.network_id,
            "address": address,
            "subnet_id": subnet.id,
            "mac": mac,
            "let_go_at": tx.now,
            "updated_at": tx.now,
        }
        for address, mac in macs.items()
        if address not in reserved
    ]
    if rows:
        tx.conn.execute(insert(addresses), rows)


# --- changes --------------------------------------------------------------------------------------


def update_one(tx: Tx, subnet_id: str, values: SubnetValues) -> Subnet:
    """Change a subnet.

    Raises:
        NotFound: there is none.
        Invalid: what can't change is to be changed, or a value is malformed or out of range.
        Forbidden: a project takes what it may not have on a wire that others share.
        Conflict: the new gateway or DHCP server lies in a pool, or its address is in use; or a
            project asks for addresses that a host has or reaches.
    """
    before = get(tx, subnet_id)
    for name in ("id", "network_id", "cidr", "subnetpool_id"):
        if name in values and values[name] != getattr(before, name):
            raise Invalid(f"{name} of subnet {subnet_id} can't be changed; make another subnet")
    network = network_rows.get(tx, before.network_id)
    own_servers = network.is_overlay
    if own_servers:
        _check_own_servers(values)
    changed = _changed(before, values, own_servers=own_servers)
    after = replace(changed, updated_at=before.updated_at)
    if after == before:
        dhcp_scheduler.settle(tx, [before.network_id])
        return before
    if "acts_for" in values:
        _check_new_parts(tx, network, before, after)
        project_limits.check_name_servers(tx, network, before.dns_nameservers, values)
    _check_pairs(tx, before, after)
    after = replace(after, updated_at=tx.now)
    tx.conn.execute(update(subnets).where(subnets.c.id == subnet_id).values(**_columns(after)))
    _move_reserved(tx, before, after)
    if after.pools != before.pools:
        _replace_pools(tx, after)
    tx.touch("subnets", subnet_id)
    tx.touch("networks", after.network_id)
    servers.align(tx, after.network_id)
    tx.concerns(hosts_taking_part(tx, after.network_id))
    dhcp_scheduler.settle(tx, [after.network_id])
    return after


def _check_new_parts(tx: Tx, network: Network, before: Subnet, after: Subnet) -> None:
    """Check the addresses that a project takes of its subnet beyond those it was given.

    An administrator may have made the subnet of a block that a project gets no subnet of.
    """
    new = list(gaps(_parts(after), _parts(before)))
    hostblocks.check_parts(tx, network.physical_network, new)
    blocks: list[Any] = [block for gap in new for block in blocks_of(gap)]
    project_limits.check_blocks(tx, network, blocks, before.subnetpool_id)


def _check_pairs(tx: Tx, before: Subnet, after: Subnet) -> None:
    """Refuse a new gateway or DHCP server an address that a port may send with."""
    for what, was, now in (
        ("gateway", before.gateway_ip, after.gateway_ip),
        ("DHCP server", before.dhcp_server, after.dhcp_server),
    ):
        if now is not None and now != was:
            pairs.check_end(tx, read_addressing(tx, after.network_id), now, what)


def _parts(subnet: Subnet) -> list[Extent]:
    """Return the pools and the addresses of the gateway and DHCP server, which lie in none."""
    single = {number_of(end) for end in (subnet.gateway_ip, subnet.dhcp_server) if end is not None}
    return [
        *((number_of(p.first), number_of(p.last)) for p in subnet.pools),
        *((n, n) for n in single),
    ]


def _changed(before: Subnet, values: SubnetValues, *, own_servers: bool) -> Subnet:
    gateway = values.get("gateway_ip", before.gateway_ip)
    enable_dhcp = values.get("enable_dhcp", before.enable_dhcp)
    asked = values.get("dhcp_server", before.dhcp_server)
    server = None
    if not own_servers:
        server = _server(before.cidr, gateway, asked, enable_dhcp=enable_dhcp)
    _check_ends(before.cidr, gateway, server)
    ends_moved = (gateway, server) != (before.gateway_ip, before.dhcp_server)
    taken = before.gateway_ip, before.dhcp_server
    if "pools" in values:
        check_number(values["pools"], before.pools)
        found = checked_pools(before.cidr, values["pools"], gateway, server)
    elif ends_moved and before.pools == default_pools(before.cidr, taken):
        found = default_pools(before.cidr, (gateway, server))
    else:
        found = checked_pools(before.cidr, before.pools, gateway, server)
    return replace(
        before,
        name=values.get("name", before.name),
        project_id=values.get("project_id", before.project_id),
        description=values.get("description", before.description),
        gateway_ip=gateway,
        dhcp_server=server,
        enable_dhcp=enable_dhcp,
        pools=found,
        dns_nameservers=_dns(values.get("dns_nameservers", before.dns_nameservers)),
        host_routes=_routes(values.get("host_routes", before.host_routes)),
    )


def _move_reserved(tx: Tx, before: Subnet, after: Subnet) -> None:
    old = reserved_addresses(before.cidr, before.gateway_ip, before.dhcp_server)
    new = reserved_addresses(after.cidr, after.gateway_ip, after.dhcp_server)
    left = [address for address in old if address not in new]
    if left:
        here = (addresses.c.network_id == after.network_id, addresses.c.address.in_(left))
        tx.conn.execute(delete(addresses).where(*here, addresses.c.reserved_as.is_not(None)))
    for address in old.keys() & new.keys():
        this = (addresses.c.network_id == after.network_id, addresses.c.address == address)
        tx.conn.execute(update(addresses).where(*this).values(reserved_as=new[address]))
    _reserve(tx, after, {a: reason for a, reason in new.items() if a not in old})


def _replace_pools(tx: Tx, subnet: Subnet) -> None:
    """Write new pools; free rows outside of them are forgotten, so that choice finds none there."""
    tx.conn.execute(delete(pools).where(pools.c.subnet_id == subnet.id))
    _write_pools(tx, subnet)
    inside = [addresses.c.address.between(p.first, p.last) for p in subnet.pools]
    free = (addresses.c.subnet_id == subnet.id, addresses.c.freed_seq.is_not(None))
    outside = [~part for part in inside]
    tx.conn.execute(delete(addresses).where(*free, *outside))


def delete_one(tx: Tx, subnet_id: str) -> None:
    """Delete a subnet.

    Raises:
        NotFound: there is none.
        InUse: ports have addresses of it, or pairs on a flat network.
    """
    subnet = get(tx, subnet_id)
    users = (
        select(func.count(func.distinct(addresses.c.port_id)))
        .select_from(addresses.join(ports, ports.c.id == addresses.c.port_id))
        .where(addresses.c.subnet_id == subnet_id, ports.c.server_of.is_(None))
    )
    count = tx.conn.execute(users).scalar_one()
    if count:
        raise InUse(
            f"subnet {subnet_id} ({subnet.cidr}) still has addresses of {count} "
            f"port{'s' * (count != 1)}; delete them first "
            f"(lessor port list --network {subnet.network_id})",
            type_="SubnetInUse",
        )
    pairs.check_none_inside(tx, read_addressing(tx, subnet.network_id), subnet)
    tx.concerns(hosts_taking_part(tx, subnet.network_id))
    servers.release_subnet(tx, subnet.network_id, subnet_id)
    tx.conn.execute(delete(addresses).where(addresses.c.subnet_id == subnet_id))
    tx.conn.execute(delete(subnets).where(subnets.c.id == subnet_id))
    forget_tags(tx, subnet_id)
    tx.gone("subnet", subnet_id, subnet.network_id)
    tx.touch("networks", subnet.network_id)
    servers.align(tx, subnet.network_id)


def facts(tx: ReadTx, network_ids: Iterable[str]) -> dict[str, Subnet]:
    """Return all subnets of some networks, by id."""
    rows = tx.conn.execute(_SELECT.where(subnets.c.network_id.in_(list(network_ids)))).all()
    return {subnet.id: subnet for subnet in read(tx, rows)}


_NETWORK_OF = select(subnets.c.network_id).where(subnets.c.id == bindparam("key"))


def _shown_on(tx: Tx, subnet_id: str) -> set[str]:
    return hosts_taking_part(tx, tx.conn.execute(_NETWORK_OF, {"key": subnet_id}).scalar_one())


NOUN = Noun(
    name="subnet",
    table=subnets,
    get=get,
    find=find,
    create=create_many,
    update=update_one,
    delete=delete_one,
    visible=_visible,
    quota=quota(subnets, 100),
    shown_on=_shown_on,
)
