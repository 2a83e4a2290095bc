"""The pieces of an overlay network on one host, in the order in which a DISCOVER meets them."""

from __future__ import annotations

from collections.abc import Iterator

from lessor.core.diagnosis.tour import (
    Seen,
    address_piece,
    device_piece,
    dhcp_pieces,
    flow_piece,
    metadata_piece,
    piece,
)
from lessor.core.openflow import int_flows, tun_flows
from lessor.core.plan.overlay import OverlayPart, outer_name
from lessor.core.state import OvsPort
from lessor.core.vmport import is_vm
from lessor.model import Piece, Scope
from lessor.settings import AgentSettings

REQUEST = ("udp", "dl_dst=ff:ff:ff:ff:ff:ff", "tp_dst=67")


def overlay_pieces(
    part: OverlayPart, scope: Scope, seen: Seen, settings: AgentSettings
) -> Iterator[Piece]:
    """Yield what one host should have for an overlay network, and what it has.

    Args:
        part: what the network asks of the host.
        scope: the network's rows.
        seen: what is on the host.
        settings: of the host's agent.
    """
    inner, outer = settings.integration_bridge, settings.tunnel_bridge
    yield from _bridges(seen, inner, outer)
    for port in part.ports:
        if port.kind == "vif":
            yield device_piece(seen, "tap", port.name)
            yield _on_bridge(seen, port)
            yield _client_flow(part, seen, inner, port.name)
    for tunnel in part.tunnels:
        yield _tunnel(seen, tunnel)
    if part.facts.tunnels:
        yield from _tunnel_flows(part, scope, seen, outer)
    if part.device is not None:
        yield from _dhcp_host(part, seen, settings)


def _bridges(seen: Seen, inner: str, outer: str) -> Iterator[Piece]:
    for name in (inner, outer):
        there = name in seen.bridges
        yield piece("bridge", name, "there", "there" if there else "", "ovs-vsctl show", ok=there)
    for name, bridge, peer in (
        (int_flows.PATCH, inner, tun_flows.PATCH),
        (tun_flows.PATCH, outer, int_flows.PATCH),
    ):
        have = seen.ports.get(name)
        found = f"on {have.bridge}, to {have.peer or 'nothing'}" if have else ""
        should = f"on {bridge}, to {peer}"
        command = f"ovs-vsctl get Interface {name} options:peer"
        yield piece("patch", name, should, found, command, ok=found == should)


def _on_bridge(seen: Seen, port: OvsPort) -> Piece:
    """Judge a port of br-int by its local VLAN."""
    have = seen.ports.get(port.name)
    should = f"on {port.bridge}, local VLAN {port.vlan}"
    found = f"on {have.bridge}, local VLAN {have.tag or 'none'}" if have else ""
    command = f"ovs-vsctl get Port {port.name} tag"
    return piece("bridge port", port.name, should, found, command, ok=found == should)


def _client_flow(part: OverlayPart, seen: Seen, inner: str, tap: str) -> Piece:
    """Judge where DHCP requests of a VM go: to DHCP servers, here or beyond br-tun."""
    facts = part.facts
    outputs = [facts.dhcp_here] * bool(facts.dhcp_here)
    outputs += [int_flows.PATCH] * bool(facts.dhcp_tunnels)
    match = (f"in_port={tap}", *REQUEST)
    return flow_piece(seen, "DHCP broadcast flow", inner, int_flows.SWITCH, match, outputs=outputs)


def _tunnel(seen: Seen, tunnel: OvsPort) -> Piece:
    have, remote = seen.ports.get(tunnel.name), dict(tunnel.options)["remote_ip"]
    found = ""
    if have is not None:
        found = f"to {have.remote or 'nowhere'}" + (f", error: {have.error}" if have.error else "")
    return piece(
        "VXLAN port",
        tunnel.name,
        f"to {remote}",
        found,
        f"ovs-vsctl get Interface {tunnel.name} options",
        ok=found == f"to {remote}",
    )


def _tunnel_flows(part: OverlayPart, scope: Scope, seen: Seen, outer: str) -> Iterator[Piece]:
    facts, vlan = part.facts, f"dl_vlan={part.facts.vlan}"
    tunnels = {remote.mac: remote.tunnels for remote in facts.remotes}
    yield flow_piece(
        seen,
        f"VNI {facts.vni} arrives",
        outer,
        tun_flows.FROM_TUN,
        (f"tun_id={facts.vni:#x}",),
        goto=tun_flows.LEARN,
    )
    for port in scope.ports.values():
        if not is_vm(port) and port.mac_address in tunnels:
            yield flow_piece(
                seen,
                "DHCP tap's MAC flow",
                outer,
                tun_flows.UNICAST,
                (vlan, f"dl_dst={port.mac_address}"),
                outputs=tunnels[port.mac_address],
            )
    if facts.dhcp_tunnels:
        yield flow_piece(
            seen,
            "DHCP broadcast flow",
            outer,
            tun_flows.FROM_INT,
            REQUEST,
            goto=tun_flows.DHCP,
        )
        yield flow_piece(
            seen,
            "DHCP broadcast flow",
            outer,
            tun_flows.DHCP,
            (vlan,),
            outputs=facts.dhcp_tunnels,
        )
    yield flow_piece(
        seen, "other broadcasts", outer, tun_flows.FLOOD, (vlan,), outputs=facts.tunnels
    )


def _dhcp_host(part: OverlayPart, seen: Seen, settings: AgentSettings) -> Iterator[Piece]:
    device, inner = part.device, settings.integration_bridge
    assert device is not None
    there = device.namespace in seen.namespaces
    found = "there" if there else ""
    yield piece("namespace", device.namespace, "there", found, "ip netns", ok=there)
    yield device_piece(
        seen,
        "DHCP tap",
        device.name,
        namespace=device.namespace,
        mac=device.mac,
        mtu=device.mtu,
    )
    yield address_piece(seen, device.name, map(str, device.addresses), device.namespace)
    if device.gateway is not None:
        router = seen.routers.get(device.namespace, "")
        command = f"ip netns exec {device.namespace} ip route show default"
        should = f"default via {device.gateway}"
        found = f"default via {router}" if router else ""
        yield piece("route", device.name, should, found, command, ok=found == should)
    for port in part.ports:
        if port.kind == "dhcp":
            yield _on_bridge(seen, port)
    if part.facts.tunnels:
        place = int_flows.on_network(part.facts.vlan)
        match = (f"in_port={int_flows.PATCH}", place, *REQUEST)
        table, outputs = int_flows.SWITCH, (outer_name(part.own_ports[0][0]),)
        yield flow_piece(seen, "DHCP requests arrive", inner, table, match, outputs=outputs)
    if part.server is not None:
        yield from dhcp_pieces(seen, part.server, str(settings.networks_path))
    if part.listener is not None:
        yield metadata_piece(seen, part.listener)
