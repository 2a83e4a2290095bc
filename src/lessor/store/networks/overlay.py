"""Overlay networks: which network is one, its MTU, and the hosts' ends of tunnels."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from sqlalchemy import and_, bindparam, select

from lessor.errors import Conflict, Forbidden, Invalid
from lessor.model import DHCP_OWNER, FLAT, VXLAN
from lessor.net.address import Address
from lessor.settings import ServerSettings
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.networks import vnis
from lessor.store.networks.addressing import NetworkAddressing, takes_part
from lessor.store.tables import hosts, networks
from lessor.store.values import NetworkValues

OF_PROJECTS = (VXLAN, FLAT)  # what a project gets where project_network_types is not set
OVERHEAD = {4: 50, 6: 70}  # bytes that a tunnel over each IP takes of a packet (B22)

# What only flat networks have: asking for one of these is asking for a flat network.
_OF_FLAT = ("physical_network", "multi_host", "share_address", "host")


# --- which type (issue: project_network_types) ----------------------------------------------------


def type_of(tx: Tx, values: NetworkValues) -> str:
    """Return the type of a network that is to be made.

    What is asked for decides; if nothing does, the first of project_network_types that this server
    can make. Where that is not set, a project's network is vxlan, whichever hosts there are, and an
    administrator's is vxlan where a host has a tunnel address, and flat where none has. A project
    makes flat ones on the physical networks that the operator lists for projects, and no other.

    Raises:
        Invalid: there is no such type.
        Forbidden: it would be a flat one, which projects may not make.
    """
    kind = _type(tx, values)
    if kind == FLAT and "acts_for" in values and not physical_networks(tx.settings, values):
        raise Forbidden(
            "the network would be flat, on a wire and hosts' bridges that all projects share, and "
            "projects may not make those: an administrator can make it, list a physical network in "
            "project_physical_networks, or let project_network_types begin with vxlan"
        )
    return kind


def physical_networks(settings: ServerSettings, values: NetworkValues) -> tuple[str, ...]:
    """Return the physical networks that a new flat network may be on."""
    known = tuple(mapping.physical_network for mapping in settings.flat_mappings)
    if "acts_for" not in values:
        return known
    return tuple(name for name in known if name in settings.project_physical_networks)


def _type(tx: Tx, values: NetworkValues) -> str:
    asked = values.get("network_type")
    if asked:
        if asked not in {FLAT, VXLAN}:
            raise Invalid(f"network type {asked!r} can't be made; known types: {FLAT}, {VXLAN}")
        return asked
    if any(values.get(name) for name in _OF_FLAT):
        return FLAT
    if values.get("segmentation_id") is not None:
        return VXLAN
    types = tx.settings.project_network_types or (OF_PROJECTS if "acts_for" in values else ())
    if not types:
        return VXLAN if _any_end(tx) else FLAT
    return next((kind for kind in types if _can_make(tx, kind, values)), types[0])


def _any_end(tx: ReadTx) -> bool:
    ends = select(hosts.c.name).where(hosts.c.local_ip.is_not(None)).limit(1)
    return tx.conn.execute(ends).first() is not None


def _can_make(tx: Tx, kind: str, values: NetworkValues) -> bool:
    if kind == FLAT:
        return bool(physical_networks(tx.settings, values))
    return vnis.lowest_free(tx) is not None


def shape(tx: Tx, values: NetworkValues) -> dict[str, Any]:
    """Return what a new vxlan network has of its own kind.

    Raises:
        Invalid: it asks for what only flat networks have, or for a number out of range.
        Unavailable: every VNI is in use.
    """
    if wrong := [name for name in _OF_FLAT if values.get(name)]:
        raise Invalid(
            f"a vxlan network has no {wrong[0]}: its DHCP servers are placed on hosts by "
            "themselves, and it needs no physical network; leave it out"
        )
    return {
        "segmentation_id": vnis.vni(tx, values.get("segmentation_id")),
        "mtu": mtu(tx, values.get("mtu")),
        "multi_host": False,
        "share_address": False,
    }


def check_change(network_id: str, changes: Mapping[str, Any]) -> None:
    """Check what is to change of a vxlan network.

    Raises:
        Invalid: only flat networks have it.
    """
    if wrong := [name for name in _OF_FLAT if changes.get(name)]:
        raise Invalid(f"network {network_id} is a vxlan network: those have no {wrong[0]}")


# --- MTU ------------------------------------------------------------------------------------------


def mtu(tx: Tx, asked: int | None) -> int:
    """Return the MTU of an overlay network: what the underlay leaves, or less if asked.

    Where any host's tunnels end at an IPv6 address, packets are to fit behind its longer header.

    Raises:
        Invalid: the underlay can't carry as much.
    """
    most = tx.settings.global_physnet_mtu - (takes := overhead(tx))
    if (asked or most) > most:
        raise Invalid(
            f"mtu {asked} is more than {most}, which global_physnet_mtu="
            f"{tx.settings.global_physnet_mtu} leaves to a vxlan network (it takes {takes} bytes)"
        )
    return asked or most


_END6 = select(1).where(hosts.c.local_ip.like("%:%")).limit(1)


def overhead(tx: ReadTx) -> int:
    """Return how many bytes of a packet on the underlay are not a VM's."""
    return OVERHEAD[6 if tx.conn.execute(_END6).first() else 4]


# --- ports ----------------------------------------------------------------------------------------


def check_owner(network: NetworkAddressing, device_owner: str) -> None:
    """Refuse a DHCP server's port that a client makes on an overlay network: ours are the servers.

    Raises:
        Invalid: it is one.
    """
    if network.overlay and device_owner == DHCP_OWNER:
        raise Invalid(
            f"a {DHCP_OWNER} port of vxlan network {network.id} can't be made by hand: it comes "
            f"with the network's DHCP server; POST /v2.0/agents/ID/dhcp-networks puts one on a host"
        )


# --- ends of tunnels ------------------------------------------------------------------------------

_IS_END = and_(hosts.c.local_ip.is_not(None), takes_part(hosts.c.name, networks.c.id))
_PEERS = (
    select(networks.c.id, hosts.c.name, hosts.c.local_ip)
    .select_from(networks.join(hosts, _IS_END))
    .where(networks.c.id.in_(bindparam("ids", expanding=True)))
)
_ENDS = select(hosts.c.name).where(
    hosts.c.local_ip == bindparam("end"), hosts.c.name != bindparam("host_name")
)
_OF_HOST = (
    select(networks.c.id)
    .where(
        networks.c.network_type == VXLAN,
        takes_part(bindparam("host_name"), networks.c.id),
    )
    .order_by(networks.c.id)
)


def peers(tx: ReadTx, ids: list[str]) -> dict[str, dict[str, Address]]:
    """Return for each network the tunnel ends of the hosts that have a port of it, or are to."""
    found: dict[str, dict[str, Address]] = {network_id: {} for network_id in ids}
    for network_id, host, end in tx.conn.execute(_PEERS, {"ids": ids}) if ids else ():
        found[network_id][host] = ip_address(end)
    return found


def check_end(tx: ReadTx, host: str, end: Address | None) -> None:
    """Refuse a tunnel end that another host has: their packets would come to one of them.

    Raises:
        Conflict: it is another host's.
    """
    if end is None:
        return
    other = tx.conn.execute(_ENDS, {"end": str(end), "host_name": host}).scalar()
    if other is not None:
        raise Conflict(
            f"host {host} reports local_ip {end}, which is host {other}'s: two hosts can't have "
            f"one tunnel address; give one of them another [ovs] local_ip, or delete host {other} "
            "if it is gone",
            type_="DuplicateLocalIp",
        )


def networks_of(tx: ReadTx, host: str) -> list[str]:
    """Return the overlay networks that a host takes part in."""
    return [row[0] for row in tx.conn.execute(_OF_HOST, {"host_name": host})]
