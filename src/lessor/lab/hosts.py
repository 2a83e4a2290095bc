"""Cables and Open vSwitch of lab hosts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from lessor.lab import cabling, ovs
from lessor.lab.node import Node
from lessor.lab.process import Process
from lessor.lab.state import LabState, NodeState
from lessor.lab.underlay import NIC, Underlay
from lessor.lab.wait import wait_for
from lessor.net.address import Address

UNPLUGGED_TIMEOUT_S = 10


def connect(fabric: Node, node: Node, state: NodeState, underlay: Underlay) -> None:
    """Connect all cables of a node that has just started."""
    assert state.address is not None
    _wait_until_unplugged(fabric, state)
    cabling.connect(fabric, node, state.index, state.address, flat=state.agent)
    if state.tunnel_address:
        cabling.connect_tunnel(fabric, node, state.index, state.tunnel_address, underlay)


def _wait_until_unplugged(fabric: Node, state: NodeState) -> None:
    """Wait for the kernel, which removes a dead namespace's links asynchronously."""
    links = fabric.root / "sys/class/net"
    cables = [links / cabling.cable_name(state.index, nic) for nic in ("eth0", "eth1", NIC)]
    wait_for(
        lambda: not any(cable.exists() for cable in cables),
        UNPLUGGED_TIMEOUT_S,
        f"the former cables of {state.name} are removed",
    )


def start_ovs(state: LabState, nodes: Sequence[Node]) -> dict[str, dict[str, Process]]:
    """Start Open vSwitch with its underlay on these hosts in parallel; by host and daemon."""

    def start(node: Node) -> dict[str, Process]:
        return {what: start_ovs_part(state, node, what) for what in ovs.DAEMONS}

    with ThreadPoolExecutor(max_workers=8) as pool:
        started = pool.map(start, nodes)
        return dict(zip([node.name for node in nodes], started, strict=True))


def start_ovs_part(state: LabState, node: Node, what: str) -> Process:
    """Start one of Open vSwitch's daemons, and create the underlay if both run."""
    if what == ovs.SERVER:
        process = ovs.start_database(node)
        if not node.find(ovs.SWITCH):
            return process
    else:
        process = ovs.start_switch(node)
    own = state.nodes[node.name].tunnel_address
    assert own is not None
    ovs.lay_underlay(node, own, _others(state, own), state.underlay.mtu)
    return process


def _others(state: LabState, own: Address) -> list[Address]:
    addresses = [node.tunnel_address for node in state.nodes.values()]
    return [address for address in addresses if address and address != own]
