"""A server and overlay hosts with agents, in a lab; agents start and end when they are told to."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from bench.http1 import TIMEOUT_S, Connection
from lessor.lab.lab import Lab
from lessor.lab.netns import in_netns
from lessor.lab.node import Node
from lessor.lab.process import Process, is_alive
from lessor.lab.services import AGENT, SERVER, start_agent
from lessor.lab.settings_file import API_PORT
from lessor.lab.state import HostSpec
from lessor.lab.wait import wait_for

DHCP_HOST = "net1"
PATIENT = {"dhcp_down_time": "3600"}  # an agent that is ended for a while loses no network
WITHIN_S = 300
STOP_S = 20
POLL_S = 0.01
SETTLED_S = 60


class OverlayFleet:
    """A lab of one DHCP host and some compute hosts, whose agents all run."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.api = Connection(self.connect)
        self._agents = {
            name: node.processes[AGENT] for name, node in lab.state.nodes.items() if node.agent
        }

    def connect(self) -> socket.socket:
        """Connect to the users' API from its own machine."""
        address = ("127.0.0.1", API_PORT)
        netns = self.lab.node(SERVER).netns
        made = in_netns(netns, lambda: socket.create_connection(address, timeout=TIMEOUT_S))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    # --- agents

    def agent(self, name: str) -> tuple[Path, Process]:
        """Return an agent, and the /proc in which it has that pid."""
        return self.lab.node(name).proc, self._agents[name]

    def row(self, name: str) -> dict[str, Any]:
        """Return a host as the server sees it."""
        row: dict[str, Any] = self.api.ask("GET", f"/v2.0/hosts/{name}")["host"]
        return row

    def stop_agent(self, name: str) -> None:
        """End an agent as systemd does, and wait until another run of it can be told apart."""
        proc, agent = self.agent(name)
        shown = self.row(name)["started_at"]
        self.lab.node(name).kill(agent, "TERM")
        wait_for(lambda: not is_alive(agent, proc), STOP_S, f"the agent of {name} has ended")
        wait_for(lambda: _second() > shown, STOP_S, "the next second begins")

    def launch(self, name: str) -> str:
        """Start an agent; return when the run before it had begun, for `is_done`."""
        before: str = self.row(name)["started_at"]
        self._agents[name] = start_agent(self.lab.node(name))
        return before

    def is_done(self, name: str, before: str) -> bool:
        """Return whether a later run is in sync and no port is pending."""
        row = self.row(name)
        return row["started_at"] != before and row["in_sync"] and not self.waiting()

    def waiting(self) -> list[dict[str, Any]]:
        """Return a port that is still DOWN, if there is one on a host that has an agent."""
        found: list[dict[str, Any]] = []
        for name in self._agents:
            found += self.api.ask("GET", f"/v2.0/ports?binding:host_id={name}&status=DOWN&limit=1")[
                "ports"
            ]
        return found

    def settle(self, what: str, within_s: float = WITHIN_S) -> None:
        """Wait until no port is pending."""
        wait_for(lambda: not self.waiting(), within_s, what)

    # --- what is in the store

    def network(self, name: str, cidr: str) -> str:
        """Make a vxlan network with a subnet; return its id."""
        body = {"name": name, "provider:network_type": "vxlan"}
        network_id: str = self.api.ask("POST", "/v2.0/networks", {"network": body})["network"]["id"]
        subnet = {"network_id": network_id, "cidr": cidr, "ip_version": 4}
        self.api.ask("POST", "/v2.0/subnets", {"subnet": subnet})
        return network_id

    def ports(self, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
        """Make ports in one request."""
        made: list[dict[str, Any]] = self.api.ask("POST", "/v2.0/ports", {"ports": list(bodies)})[
            "ports"
        ]
        return made


def port(network_id: str, host: str, name: str, *, tap: bool = False) -> dict[str, Any]:
    """Return what a compute service says of a port; with `tap` the agent makes its tap."""
    return {
        "network_id": network_id,
        "name": name,
        "device_id": f"vm-{name}",
        "device_owner": "compute:nova",
        "binding:host_id": host,
        "binding:profile": {"tap": "managed"} if tap else {},
    }


def who(made: dict[str, Any]) -> tuple[str, IPv4Address]:
    """Return the MAC and the address of a port."""
    return made["mac_address"], IPv4Address(made["fixed_ips"][0]["ip_address"])


def tap_of(made: dict[str, Any]) -> str:
    """Return the name of a port's tap."""
    name: str = made["binding:vif_details"]["tap_name"]
    return name


def compute_hosts(count: int) -> list[HostSpec]:
    """Return one DHCP host and so many compute hosts."""
    net = HostSpec(name=DHCP_HOST, network_host=True, overlay=True)
    return [net, *(HostSpec(name=f"cmp{at}", overlay=True) for at in range(1, count + 1))]


@contextmanager
def up(hosts: Sequence[HostSpec]) -> Iterator[OverlayFleet]:
    """Make a lab, and take it down behind us."""
    folder = Path(tempfile.mkdtemp(prefix="lessor-bench-"))
    lab = Lab.up(folder, hosts, PATIENT)
    try:
        yield OverlayFleet(lab)
    finally:
        lab.down()
        shutil.rmtree(folder, ignore_errors=True)


def dnsmasqs(node: Node) -> set[int]:
    """Return the pids of a host's DHCP servers."""
    return {process.pid for process in node.find("dnsmasq")}


def until(condition: Any, within_s: float, what: str) -> float:
    """Wait closely; return the seconds that it took."""
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() > started + within_s:
            raise TimeoutError(f"{what}: not so after {within_s:g} s")
        time.sleep(POLL_S)
    return time.perf_counter() - started


def _second() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
