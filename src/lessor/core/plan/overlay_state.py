"""Joins what overlay networks ask of a host with what flat ones do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lessor.core.openflow import int_flows, tun_flows
from lessor.core.plan.overlay import OverlayPart
from lessor.core.state import Flows, HostState, OvsBridge, OvsPort
from lessor.settings import AgentSettings


def with_overlay(
    state: HostState, parts: Sequence[OverlayPart], settings: AgentSettings, datapath: str
) -> HostState:
    """Return `state` with all that the overlay networks `parts` need, br-int and br-tun included.

    Args:
        state: of the flat networks.
        parts: of the overlay networks; at least one.
        settings: of the agent.
        datapath: "system" or "netdev".
    """
    inner, outer = settings.integration_bridge, settings.tunnel_bridge
    facts = [part.facts for part in parts]
    ports = [port for part in parts for port in (*part.ports, *part.tunnels)]
    return replace(
        state,
        namespaces={p.namespace.name: p.namespace for p in parts if p.namespace},
        ovs_bridges={name: OvsBridge(name, datapath) for name in (inner, outer)},
        dhcp_devices={p.device.name: p.device for p in parts if p.device},
        dhcp_servers=state.dhcp_servers | {p.server.name: p.server for p in parts if p.server},
        metadata=state.metadata | {p.listener.interface: p.listener for p in parts if p.listener},
        taps=state.taps | {t.name: t for part in parts for t in part.taps},
        ovs_ports={port.name: port for port in (*_patches(inner, outer), *ports)},
        flows={
            inner: Flows(inner, int_flows.int_flows(facts)),
            outer: Flows(outer, tun_flows.tun_flows(facts)),
        },
    )


def _patches(inner: str, outer: str) -> tuple[OvsPort, OvsPort]:
    """Return the pair of ports that joins br-int and br-tun (B15.1)."""
    to_tun, to_int = int_flows.PATCH, tun_flows.PATCH
    return (
        OvsPort(to_tun, inner, "patch", options=(("peer", to_int),)),
        OvsPort(to_int, outer, "patch", options=(("peer", to_tun),)),
    )
