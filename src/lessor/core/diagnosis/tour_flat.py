"""The pieces of a flat network on one host."""

from __future__ import annotations

from collections.abc import Iterator

from lessor.core.diagnosis.tour import (
    Seen,
    address_piece,
    device_piece,
    dhcp_pieces,
    metadata_piece,
    piece,
)
from lessor.core.plan.flat import Part
from lessor.core.state import DhcpServer, MetadataListener
from lessor.model import Piece
from lessor.settings import AgentSettings


def flat_pieces(
    part: Part,
    server: DhcpServer | None,
    listener: MetadataListener | None,
    seen: Seen,
    settings: AgentSettings,
) -> Iterator[Piece]:
    """Yield what one host should have for a flat network, and what it has.

    Args:
        part: what the network asks of the host.
        server: the DHCP server of its bridge; None: this host has none.
        listener: the metadata listener there; None as above.
        seen: what is on the host.
        settings: of the host's agent.
    """
    bridge = part.bridge
    yield device_piece(seen, "bridge", bridge.name)
    if bridge.interface is not None:
        yield device_piece(seen, "interface", bridge.interface, master=bridge.name)
    for tap in part.taps:
        yield device_piece(seen, "tap", tap.name, mtu=tap.mtu, master=bridge.name)
    if part.addresses:
        wanted = (str(address.interface) for address in part.addresses)
        yield address_piece(seen, bridge.name, wanted)
    yield from _rules(part, seen, settings)
    if part.gateways and server is not None:
        yield from dhcp_pieces(seen, server, str(settings.networks_path))
    if part.gateways and listener is not None:
        yield metadata_piece(seen, listener)


def _rules(part: Part, seen: Seen, settings: AgentSettings) -> Iterator[Piece]:
    tables = ["bridge lessor"]
    if part.gateways and settings.gateway_firewall == "nftables":
        tables.append("inet lessor")
    for name in tables:
        there = name in seen.rulesets
        command = f"nft list table {name}"
        yield piece("rules", name, "there", "there" if there else "", command, ok=there)
