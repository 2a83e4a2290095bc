"""All pieces of a network on one host: what its plan has, whatever the kind of the network."""

from __future__ import annotations

from collections.abc import Iterator

from lessor.core.diagnosis.tour import Seen, dhcp_pieces, metadata_piece
from lessor.core.diagnosis.tour_bridge import bridge_pieces
from lessor.core.diagnosis.tour_switch import switch_pieces
from lessor.core.plan.network import NetworkPlan
from lessor.core.state import DhcpServer
from lessor.model import Piece
from lessor.settings import AgentSettings


def plan_pieces(
    plan: NetworkPlan, server: DhcpServer | None, seen: Seen, settings: AgentSettings
) -> Iterator[Piece]:
    """Yield what one host should have for a network, and what it has.

    Args:
        plan: what the network asks of the host.
        server: its DHCP server here, with what else it serves; None: this host has none.
        seen: what is on the host.
        settings: of the host's agent.
    """
    yield from bridge_pieces(plan, seen, settings)
    yield from switch_pieces(plan, seen, settings)
    if server is not None and seen.dhcp is not None:
        yield from dhcp_pieces(seen.dhcp, server)
    for listener in plan.state.metadata.values():
        yield metadata_piece(seen, listener)
