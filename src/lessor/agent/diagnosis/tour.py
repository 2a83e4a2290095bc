"""Checks one network on this host piece by piece, as an operator would by hand.

It reads with the usual programs, not with the drivers: it shows what runs, not what the agent
believes. It changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lessor.agent.host.ovs import Ovsdb, rundir, socket_of
from lessor.agent.host.ovs_alive import DATABASE, SWITCH, database_obstacle, switch_obstacle
from lessor.agent.host.run import Run
from lessor.core.diagnosis.dhcp import DhcpStatus
from lessor.core.diagnosis.tour import (
    Device,
    Flow,
    Port,
    Seen,
    read_flows,
)
from lessor.core.diagnosis.tour_plan import plan_pieces
from lessor.core.plan.desired import Desired
from lessor.core.plan.network import NetworkPlan
from lessor.core.state import DhcpServer
from lessor.errors import LessorError
from lessor.model import Piece, View
from lessor.netns import prefix
from lessor.settings import AgentSettings

LISTENING = "0A"  # TCP_LISTEN, linux/tcp_states.h
ReadStatus = Callable[[DhcpServer], DhcpStatus]
LONGEST_S = 3.0  # for one program: who asks waits ten seconds


def tour(
    network_id: str,
    view: View,
    desired: Desired,
    settings: AgentSettings,
    *,
    run: Run,
    dhcp: ReadStatus,
) -> tuple[Piece, ...]:
    """Return what this host should have for a network, and what it has.

    Args:
        network_id: of the network.
        view: what the agent knows.
        desired: what came of it.
        settings: of the agent.
        run: runs programs.
        dhcp: reads the status of a DHCP server.
    """
    scope = view.scopes.get(network_id)
    plan = next((plan for plan in desired.plans if plan.network.id == network_id), None)
    known = Piece(
        what="view",
        name=network_id,
        should="known here",
        found=f"revision {scope.revision}" if scope else "nothing",
        ok=scope is not None,
        command="lessor agent plan",
    )
    if scope is None:
        return (known,)
    if plan is None:
        reasons = [one.text for one in desired.problems if network_id in one.networks]
        return (_unplanned(network_id, reasons),)
    server = desired.state.dhcp_servers.get(plan.server)
    return (known, *_Host(settings, run, dhcp).pieces(plan, server))


def _unplanned(network_id: str, reasons: Iterable[str]) -> Piece:
    return Piece(
        what="view",
        name=network_id,
        should="provided on this host",
        found="; ".join(reasons) or "not provided",
        ok=False,
        command="lessor agent plan",
    )


class _Host:
    """Reads one host. What cannot be read counts as not there."""

    def __init__(self, settings: AgentSettings, run: Run, dhcp: ReadStatus) -> None:
        self._settings = settings
        self._run = run
        self._dhcp = dhcp

    def pieces(self, plan: NetworkPlan, server: DhcpServer | None) -> Iterator[Piece]:
        """Yield the pieces of a network; of Open vSwitch only if it can be asked."""
        switched = bool(plan.state.ovs_bridges)
        silent = [piece for piece in self._daemons() if not piece.ok] if switched else []
        yield from silent
        seen = self._seen(plan, server, ovs=switched and not silent)
        for piece in plan_pieces(plan, server, seen, self._settings):
            if not (silent and piece.command.startswith("ovs-")):
                yield piece

    def _daemons(self) -> Iterator[Piece]:
        remote = self._settings.ovsdb_connection
        place = socket_of(remote)
        for name, why in (
            (SWITCH, switch_obstacle(Path(rundir(remote)))),
            (DATABASE, database_obstacle(place) if place else ""),
        ):
            yield Piece(
                what="daemon",
                name=name,
                should="answers",
                found=why or "answers",
                ok=not why,
                command="systemctl status openvswitch-switch",
            )

    def _seen(self, plan: NetworkPlan, server: DhcpServer | None, *, ovs: bool) -> Seen:
        """Return what the pieces of a plan are judged by; `ovs` False: without Open vSwitch."""
        state = plan.state
        named = self._lines("ip", "netns", "list") if state.namespaces else []
        there = {line.split()[0] for line in named if line}
        inside = [space for space in state.namespaces if space in there]
        listening = {listener.namespace for listener in state.metadata.values()}
        bridges, ports = self._ovs() if ovs else (set[str](), dict[str, Port]())
        tables = self._lines("nft", "list", "tables") if state.bridges else []
        return Seen(
            namespaces=there,
            devices={space: self._devices(space) for space in ("", *inside)},
            routers={space: self._router(space) for space in inside},
            listening={s: self._listening(s) for s in ("", *inside) if s in listening},
            bridges=bridges,
            ports=ports,
            flows={name: self._flows(name) if ovs else () for name in state.ovs_bridges},
            dhcp=self._dhcp(server) if server else None,
            rulesets={line.removeprefix("table ").strip() for line in tables},
        )

    # --- what is looked at

    def _text(self, *argv: str) -> str:
        try:
            return self._run(*argv, timeout_s=LONGEST_S)
        except LessorError:
            return ""

    def _lines(self, *argv: str) -> list[str]:
        return self._text(*argv).splitlines()

    def _json(self, space: str, *argv: str) -> list[dict[str, Any]]:
        inside = ("-n", space) if space else ()
        return list(json.loads(self._text("ip", "-j", *inside, *argv) or "[]"))

    def _devices(self, space: str) -> dict[str, Device]:
        return {row["ifname"]: _device(row) for row in self._json(space, "addr") if row}

    def _router(self, space: str) -> str:
        routes = self._json(space, "-4", "route", "show", "default")
        return str(routes[0].get("gateway", "")) if routes else ""

    def _listening(self, space: str) -> set[int]:
        rows = [line.split() for line in self._lines(*prefix(space), "cat", "/proc/net/tcp")[1:]]
        return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTENING}

    def _ovs(self) -> tuple[set[str], dict[str, Port]]:
        database = Ovsdb(self._settings.ovsdb_connection, timeout_s=LONGEST_S)
        try:
            bridges = database.bridges()
        except LessorError:
            return set(), {}
        finally:
            database.close()
        ports = {
            row.name: Port(
                bridge=row.bridge,
                tag=row.tag,
                remote=row.options.get("remote_ip", ""),
                peer=row.options.get("peer", ""),
                error=row.error,
            )
            for bridge in bridges.values()
            for row in bridge.ports
        }
        return set(bridges), ports

    def _flows(self, bridge: str) -> tuple[Flow, ...]:
        target = f"unix:{rundir(self._settings.ovsdb_connection)}/{bridge}.mgmt"
        command = ("ovs-ofctl", "-O", "OpenFlow14", "--names", "dump-flows", target)
        return read_flows(self._text(*command))


def _device(row: Mapping[str, Any]) -> Device:
    return Device(
        mac=str(row.get("address", "")),
        mtu=int(row.get("mtu", 0)),
        up="UP" in row.get("flags", ()),
        master=str(row.get("master", "")),
        addresses=tuple(
            f"{one['local']}/{one['prefixlen']}"
            for one in row.get("addr_info", ())
            if one.get("family") == "inet"
        ),
    )
