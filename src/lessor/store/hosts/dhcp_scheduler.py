"""Places the DHCP servers of overlay networks, and moves them from dead hosts.

A network has `dhcp_agents_per_network` of them. Each is a port like any other (semantics.md B5),
bound to its host, with an address of each DHCP subnet; `server_of` marks it. When its host dies,
the *port* moves: the successor serves at the same address, and clients notice nothing. A host that
comes back gets no server back.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from sqlalchemy import bindparam, exists, func, literal, select, union, update

from lessor.errors import Conflict, NotFound
from lessor.model import VXLAN, DhcpMove, Host, Network
from lessor.store.engine.dialect import insert
from lessor.store.engine.tx import UNSTAMPED, ReadTx, Tx
from lessor.store.hosts import dhcp_candidates, unserved_networks
from lessor.store.hosts import rules as host_rows
from lessor.store.hosts.dhcp_candidates import HOSTS, Capacity
from lessor.store.networks import rules as network_rows
from lessor.store.networks import zones
from lessor.store.networks.addressing import (
    NetworkAddressing,
    dhcp_hosts,
    hosts_taking_part,
    network_not_found,
    read_addressing,
)
from lessor.store.ports import servers, serving
from lessor.store.query import Query
from lessor.store.tables import addresses, holds, hosts, leases, networks, ports, subnets

PARKED = "reserved_dhcp_port"  # device_id of a server's port without a host; Neutron's word
AT_ONCE = 50  # ports made or moved in one transaction: others wait for it


# --- placing --------------------------------------------------------------------------------------

_HAS_DHCP = exists(select(1).where(subnets.c.network_id == networks.c.id, subnets.c.enable_dhcp))
_COUNT = (
    select(func.count())
    .where(ports.c.network_id == networks.c.id, ports.c.server_of > "")
    .scalar_subquery()
)
_SHORT = (
    select(networks.c.id)
    .where(networks.c.network_type == VXLAN, _HAS_DHCP, bindparam("wanted") > _COUNT)
    .order_by(networks.c.created_at, networks.c.id)
)


def settle(tx: Tx, network_ids: Iterable[str]) -> None:
    """Place the DHCP servers that networks lack, after a subnet of theirs was made or changed."""
    found: Capacity | None = None
    for network_id in dict.fromkeys(network_ids):
        network = read_addressing(tx, network_id)
        if network.overlay and any(subnet.enable_dhcp for subnet in network.subnets):
            found = found or dhcp_candidates.read(tx)
            _complete(tx, network, found)


def fill(tx: Tx) -> int:
    """Place servers of networks that have too few, as far as there are hosts; return how many."""
    found = dhcp_candidates.read(tx)
    wanted = min(tx.settings.dhcp_agents_per_network, len(found.able))
    placed = 0
    for (network_id,) in tx.conn.execute(_SHORT, {"wanted": wanted}).all():
        placed += _complete(tx, read_addressing(tx, network_id), found)
        if placed >= AT_ONCE:
            break
    return placed


def _complete(tx: Tx, network: NetworkAddressing, found: Capacity) -> int:
    here, hints = [*network.dhcp_hosts], zones.hints(tx, network.id)
    while len(here) < tx.settings.dhcp_agents_per_network:
        host = found.choose(network.id, here, hints)
        if host is None:
            break
        _place(tx, network, host)
        here.append(host)
    return len(here) - len(network.dhcp_hosts)


_PARKED = select(ports.c.id).where(
    ports.c.network_id == bindparam("network"), ports.c.server_of == literal("")
)


def _place(tx: Tx, network: NetworkAddressing, host: str) -> None:
    """Put a DHCP server of a network on a host: the parked one, with its address, or a new one."""
    parked = tx.conn.execute(_PARKED, {"network": network.id}).scalar()
    if parked is None:
        servers.create_server(tx, network, host, device_id(host, network.id))
    else:
        _bind(tx, parked, host, device_id(host, network.id))
    tx.concerns([host, *hosts_taking_part(tx, network.id)])


def device_id(host: str, network_id: str) -> str:
    """Name a DHCP server's port as Neutron does (semantics.md B5)."""
    short = host.partition(".")[0]
    return f"dhcp{uuid.uuid5(uuid.NAMESPACE_DNS, short)}-{network_id}"


def _bind(tx: Tx, port_id: str, host: str | None, device: str) -> None:
    columns = {
        "binding_host": host,
        "server_of": host or "",
        "device_id": device,
        "wired": None,
        "served": None,
        "wired_pending": "",
        "served_pending": "",
        "updated_at": tx.now,
    }
    tx.conn.execute(update(ports).where(ports.c.id == port_id).values(**columns))
    tx.touch("ports", port_id)


# --- moving ---------------------------------------------------------------------------------------

_SERVERS = (
    select(ports.c.id, ports.c.network_id, ports.c.server_of)
    .select_from(ports.join(networks, networks.c.id == ports.c.network_id))
    .where(
        ports.c.server_of.in_(bindparam("hosts", expanding=True)),
        networks.c.network_type == VXLAN,
    )
    .order_by(ports.c.network_id)
)


def stranded(tx: ReadTx) -> bool:
    """Tell whether a lost host has DHCP servers, and another could have them."""
    found = dhcp_candidates.read(tx)
    rows = tx.conn.execute(_SERVERS, {"hosts": _suspects(found)}).all() if found.able else ()
    return any(
        found.reason(source, network_id) and found.candidates(network_id, [source])
        for _, network_id, source in rows
    )


def _suspects(found: Capacity) -> list[str]:
    """Return the hosts with DHCP servers that they can't serve, all or some."""
    return [host for host in {*found.lost, *(h for h, _ in found.unserved)} if host in found.load]


def fail_over(tx: Tx, only: str | None = None) -> list[DhcpMove]:
    """Move DHCP servers from hosts that can't serve them to able ones, `AT_ONCE` at most.

    One with nowhere to go stays. `only`: just those of this host, which was taken down.
    """
    found = dhcp_candidates.read(tx)
    if only is not None:
        found = found.only(only)
    moves: list[DhcpMove] = []
    for port_id, network_id, source in tx.conn.execute(_SERVERS, {"hosts": _suspects(found)}).all():
        reason = found.reason(source, network_id)
        if reason is None:
            continue
        others = [host for host in dhcp_hosts(tx, network_id) if host != source]
        target = found.choose(network_id, [*others, source], zones.hints(tx, network_id))
        if target is not None:
            unable = source not in found.lost
            move = DhcpMove(
                network_id=network_id, source=source, target=target, reason=reason, unable=unable
            )
            _move(tx, port_id, move)
            unserved_networks.record_move(tx, move)
            moves.append(move)
        if len(moves) == AT_ONCE:
            break
    return moves


def _move(tx: Tx, port_id: str, move: DhcpMove) -> None:
    network_id = move.network_id
    tx.concerns(hosts_taking_part(tx, network_id))
    _leave(tx, network_id, move.source)
    _inherit(tx, move)
    _bind(tx, port_id, move.target, device_id(move.target, network_id))
    tx.concerns([move.target])


_HOLD = insert(holds)


def _leave(tx: Tx, network_id: str, host: str) -> None:
    """Hold every address of a network for a former DHCP host, which may still serve it."""
    used = select(
        addresses.c.network_id,
        addresses.c.address,
        literal(host),
        literal(UNSTAMPED),
        literal(tx.now),
    ).where(addresses.c.network_id == network_id, addresses.c.port_id.is_not(None))
    names = ["network_id", "address", "host", "revision", "made_at"]
    tx.conn.execute(
        _HOLD.from_select(names, used).on_conflict_do_update(
            index_elements=names[:3],
            set_={"revision": _HOLD.excluded.revision, "made_at": _HOLD.excluded.made_at},
        )
    )
    tx.held = True
    serving.forget_host(tx, network_id, host)


def _inherit(tx: Tx, move: DhcpMove) -> None:
    """Give the leases of the former host to its successor, which will renew them."""
    other = leases.alias("other")
    mine = (
        leases.c.network_id == move.network_id,
        leases.c.host == move.source,
        leases.c.ended_at.is_(None),
    )
    has = exists(
        select(1).where(
            other.c.network_id == leases.c.network_id,
            other.c.host == move.target,
            other.c.address == leases.c.address,
            other.c.mac_address == leases.c.mac_address,
            other.c.ended_at.is_(None),
        )
    )
    over = {"ended_at": tx.now, "end_reason": "superseded"}
    tx.conn.execute(update(leases).where(*mine, has).values(**over))
    tx.conn.execute(update(leases).where(*mine).values(host=move.target))


# --- serving hosts --------------------------------------------------------------------------------

_NETWORK = select(networks.c.network_type, networks.c.multi_host, networks.c.host).where(
    networks.c.id == bindparam("network")
)
_SERVED = union(
    select(ports.c.network_id).where(ports.c.server_of == bindparam("host_name")),
    select(networks.c.id).where(networks.c.host == bindparam("host_name")),
    select(ports.c.network_id)
    .select_from(ports.join(networks, networks.c.id == ports.c.network_id))
    .where(ports.c.binding_host == bindparam("host_name"), networks.c.multi_host),
)


def serving_hosts(tx: ReadTx, network_id: str) -> tuple[str, ...]:
    """Return the hosts that serve DHCP on a network, flat or not.

    Raises:
        NotFound: there is no such network.
    """
    row = tx.conn.execute(_NETWORK, {"network": network_id}).first()
    if row is None:
        raise network_not_found(network_id)
    if row.network_type == VXLAN:
        return dhcp_hosts(tx, network_id)
    if row.multi_host:
        return tuple(sorted(hosts_taking_part(tx, network_id)))
    return (row.host,) if row.host else ()


def hosts_serving(tx: ReadTx, network_id: str) -> list[Host]:
    """Return the hosts that serve DHCP on a network, by name; errors as `serving_hosts`."""
    names = serving_hosts(tx, network_id)
    query = Query(filters={"name": names}, sort=(("name", False),))
    return host_rows.find(tx, query) if names else []


def networks_served(tx: ReadTx, host: str) -> list[Network]:
    """Return the networks that a host serves DHCP on, flat ones as well."""
    ids = tuple(row[0] for row in tx.conn.execute(_SERVED, {"host_name": host}))
    return network_rows.find(tx, Query(filters={"id": ids})) if ids else []


# --- by hand --------------------------------------------------------------------------------------


def add(tx: Tx, network_id: str, host: str) -> None:
    """Put a DHCP server of a network on a host, whatever dhcp_agents_per_network says.

    Raises:
        NotFound: there is no such network or host, or the host can't serve DHCP on tunnels.
        Conflict: the network isn't a vxlan one, has no DHCP subnet, or the host serves it already.
    """
    network = _tunnelled(tx, network_id)
    row = tx.conn.execute(HOSTS.where(hosts.c.name == host)).first()
    if row is None or row.local_ip is None or not (row.network_host and row.admin_state_up):
        raise NotFound(
            f"host {host} can't serve DHCP on vxlan networks: it reports no [ovs] local_ip, is no "
            "network host, or administratively down",
            type_="InvalidDHCPAgent",
        )
    if host in network.dhcp_hosts:
        raise Conflict(
            f"host {host} serves DHCP on network {network_id} already",
            type_="NetworkHostedByDHCPAgent",
        )
    if not any(subnet.enable_dhcp for subnet in network.subnets):
        raise Conflict(
            f"network {network_id} has no subnet with DHCP; make one first: its DHCP server needs "
            "an address"
        )
    _place(tx, network, host)


def remove(tx: Tx, network_id: str, host: str) -> None:
    """Take a DHCP server of a network from a host; its address waits for the next one.

    Raises:
        NotFound: there is no such network.
        Conflict: the host doesn't serve it.
    """
    network = _tunnelled(tx, network_id)
    server = servers.of_host(tx, network, host)
    if server is None:
        raise Conflict(
            f"host {host} doesn't serve DHCP on network {network_id}",
            type_="NetworkNotHostedByDhcpAgent",
        )
    tx.concerns(hosts_taking_part(tx, network_id))
    _leave(tx, network_id, host)
    if tx.conn.execute(_PARKED, {"network": network_id}).first():
        servers.delete_server(tx, network, server)
    else:
        _bind(tx, server.port_id, None, PARKED)


def _tunnelled(tx: Tx, network_id: str) -> NetworkAddressing:
    network = read_addressing(tx, network_id)
    if not network.overlay:
        raise Conflict(
            f"network {network_id} is flat: its network host is its DHCP server (lessor:host), or "
            "every host with ports of it (lessor:multi_host)"
        )
    return network
