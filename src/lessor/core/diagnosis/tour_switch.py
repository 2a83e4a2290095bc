"""The pieces of a network in Open vSwitch and namespaces, in the order of a DISCOVER's way."""

from __future__ import annotations

from collections.abc import Iterator

from lessor.core.diagnosis.tour import Seen, address_piece, device_piece, flow_piece, piece
from lessor.core.openflow import int_flows, tun_flows
from lessor.core.openflow.facts import NetworkFacts
from lessor.core.plan.network import NetworkPlan
from lessor.core.state import DhcpDevice, HostState, OvsPort
from lessor.core.vmport import is_vm
from lessor.model import Piece
from lessor.settings import AgentSettings

REQUEST = ("udp", "dl_dst=ff:ff:ff:ff:ff:ff", "tp_dst=67")


def switch_pieces(plan: NetworkPlan, seen: Seen, settings: AgentSettings) -> Iterator[Piece]:
    """Yield what one host should have in Open vSwitch and namespaces, and what it has.

    Args:
        plan: what the network asks of the host.
        seen: what is on the host.
        settings: of the host's agent.
    """
    state, facts, inner = plan.state, plan.facts, settings.integration_bridge
    yield from _bridges(state, seen)
    for port in _of_kind(state, "vif"):
        yield device_piece(seen, "tap", port.name)
        yield _on_bridge(seen, port)
        if facts is not None:
            yield _client_flow(facts, seen, inner, port.name)
    for tunnel in _of_kind(state, "vxlan"):
        yield _tunnel(seen, tunnel)
    if facts is not None and facts.tunnels:
        yield from _tunnel_flows(plan, facts, seen, settings.tunnel_bridge)
    for device in state.dhcp_devices.values():
        yield from _dhcp_device(device, seen)
        for port in _of_kind(state, "dhcp"):
            yield _on_bridge(seen, port)
        if facts is not None and facts.tunnels:
            place = int_flows.on_network(facts.vlan)
            match = (f"in_port={int_flows.PATCH}", place, *REQUEST)
            table, outputs = int_flows.SWITCH, (device.outer,)
            yield flow_piece(seen, "DHCP requests arrive", inner, table, match, outputs=outputs)


def _of_kind(state: HostState, kind: str) -> Iterator[OvsPort]:
    yield from (port for port in state.ovs_ports.values() if port.kind == kind)


def _bridges(state: HostState, seen: Seen) -> Iterator[Piece]:
    for name in state.ovs_bridges:
        there = name in seen.bridges
        yield piece("bridge", name, "there", "there" if there else "", "ovs-vsctl show", ok=there)
    for patch in _of_kind(state, "patch"):
        have, peer = seen.ports.get(patch.name), dict(patch.options)["peer"]
        found = f"on {have.bridge}, to {have.peer or 'nothing'}" if have else ""
        should = f"on {patch.bridge}, to {peer}"
        command = f"ovs-vsctl get Interface {patch.name} options:peer"
        yield piece("patch", patch.name, should, found, command, ok=found == should)


def _on_bridge(seen: Seen, port: OvsPort) -> Piece:
    """Check a port of br-int by its local VLAN."""
    have = seen.ports.get(port.name)
    should = f"on {port.bridge}, local VLAN {port.vlan}"
    found = f"on {have.bridge}, local VLAN {have.tag or 'none'}" if have else ""
    command = f"ovs-vsctl get Port {port.name} tag"
    return piece("bridge port", port.name, should, found, command, ok=found == should)


def _client_flow(facts: NetworkFacts, seen: Seen, inner: str, tap: str) -> Piece:
    """Check where DHCP requests of a VM go: to DHCP servers, here or beyond br-tun."""
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


def _tunnel_flows(
    plan: NetworkPlan, facts: NetworkFacts, seen: Seen, outer: str
) -> Iterator[Piece]:
    vlan = f"dl_vlan={facts.vlan}"
    tunnels = {remote.mac: remote.tunnels for remote in facts.remotes}
    yield flow_piece(
        seen,
        f"VNI {facts.vni} arrives",
        outer,
        tun_flows.FROM_TUN,
        (f"tun_id={facts.vni:#x}",),
        goto=tun_flows.LEARN,
    )
    for port in plan.rows.values():
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


def _dhcp_device(device: DhcpDevice, seen: Seen) -> Iterator[Piece]:
    """Check the DHCP server's own port: its namespace, and its inner end there."""
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
