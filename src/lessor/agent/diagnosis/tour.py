"""Walks through a host for one network, as an operator would by hand, and says what is there.

It reads with the usual programs, not with the drivers: it shows what runs, not what the agent
believes. It changes nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lessor.agent.host.ovs import Ovsdb, rundir, socket_of
from lessor.agent.host.ovs_alive import DATABASE, SWITCH, database_obstacle, switch_obstacle
from lessor.agent.host.run import Run
from lessor.core.diagnosis.tour import (
    Device,
    Dnsmasq,
    Flow,
    Port,
    Seen,
    read_flows,
    read_reservations,
)
from lessor.core.diagnosis.tour_plan import plan_pieces
from lessor.core.plan.desired import Desired
from lessor.core.plan.network import NetworkPlan
from lessor.core.state import DhcpServer
from lessor.errors import LessorError
from lessor.model import Piece, View
from lessor.netns import FOLDER, identity, identity_of, prefix
from lessor.settings import AgentSettings

LISTENING = "0A"  # TCP_LISTEN, linux/tcp_states.h
LONGEST_S = 3.0  # for one program: who asks waits ten seconds


def tour(
    network_id: str, view: View, desired: Desired, settings: AgentSettings, run: Run
) -> tuple[Piece, ...]:
    """Return what this host should have for a network, and what it has.

    Args:
        network_id: of the network.
        view: what the agent knows.
        desired: what came of it.
        settings: of the agent.
        run: runs programs.
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
    return (known, *_Look(settings, run).pieces(plan, server))


def _unplanned(network_id: str, reasons: Iterable[str]) -> Piece:
    return Piece(
        what="view",
        name=network_id,
        should="provided on this host",
        found="; ".join(reasons) or "not provided",
        ok=False,
        command="lessor agent plan",
    )


class _Look:
    """Looks at one host. What can't be seen counts as not there."""

    def __init__(self, settings: AgentSettings, run: Run) -> None:
        self._settings = settings
        self._run = run

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
            dnsmasq=self._dnsmasq(server) if server else None,
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

    def _dnsmasq(self, server: DhcpServer) -> Dnsmasq | None:
        folder = self._settings.networks_path / server.name
        with contextlib.suppress(OSError, ValueError):
            pid = int((folder / "pid").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if f"--dhcp-hostsdir={folder}/hosts" not in words:
                return None
            named = not server.namespace or (FOLDER / server.namespace).exists()
            here = named and identity_of(pid) == identity(server.namespace)
            return Dnsmasq(pid, here, frozenset(_reservations(folder)))
        return None


def _reservations(folder: Path) -> set[tuple[str, str]]:
    files = [folder / "reservations", *(folder / "hosts").iterdir()]
    return {one for file in files if file.is_file() for one in read_reservations(file.read_text())}


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
