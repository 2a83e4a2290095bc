"""The pieces of a network on the Linux bridges of one host."""

from __future__ import annotations

from collections.abc import Iterator

from lessor.core.diagnosis.tour import Seen, address_piece, device_piece, piece
from lessor.core.plan.network import NetworkPlan
from lessor.model import Piece
from lessor.settings import AgentSettings


def bridge_pieces(plan: NetworkPlan, seen: Seen, settings: AgentSettings) -> Iterator[Piece]:
    """Yield what one host should have for a network on Linux bridges, and what it has.

    Args:
        plan: what the network asks of the host.
        seen: what is on the host.
        settings: of the host's agent.
    """
    for bridge in plan.state.bridges.values():
        yield device_piece(seen, "bridge", bridge.name)
        if bridge.interface is not None:
            yield device_piece(seen, "interface", bridge.interface, master=bridge.name)
        for tap in plan.state.taps.values():
            if tap.bridge == bridge.name:
                yield device_piece(seen, "tap", tap.name, mtu=tap.mtu, master=bridge.name)
        addresses = [a for a in plan.state.addresses.values() if a.device == bridge.name]
        if addresses:
            yield address_piece(seen, bridge.name, (str(a.interface) for a in addresses))
        yield from _rules(plan, seen, settings)


def _rules(plan: NetworkPlan, seen: Seen, settings: AgentSettings) -> Iterator[Piece]:
    tables = ["bridge lessor"]
    if plan.gateways and settings.gateway_firewall == "nftables":
        tables.append("inet lessor")
    for name in tables:
        there = name in seen.rulesets
        command = f"nft list table {name}"
        yield piece("rules", name, "there", "there" if there else "", command, ok=there)
