"""A server and hosts with agents, in namespaces of a lab's making, each started when it is told to.

A DHCP client of ours is on the wire between the hosts, as a VM of another host is.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.http1 import TIMEOUT_S, Connection
from bench.wire import DeviceWire
from lessor.lab.lab import FABRIC, Lab
from lessor.lab.netns import in_netns
from lessor.lab.node import Node
from lessor.lab.process import Process, is_alive
from lessor.lab.services import SERVER, start_agent, write_settings, write_token
from lessor.lab.settings_file import (
    API_PORT,
    agent_flags,
    server_flags,
    settings_text,
    shared_flags,
)
from lessor.lab.state import HostSpec
from lessor.lab.wait import wait_for

HOST = "net1"  # the network host: bridge, DHCP server, agent
FAR = "far"  # a host without an agent: its ports are on the wire only
BRIDGE = "br100"
STOP_S = 20


class Fleet:
    """A lab of one host, whose agent isn't started yet.

    Args:
        lab: the lab.
        flags: settings of the agent.
    """

    def __init__(self, lab: Lab, flags: Mapping[str, str]) -> None:
        self._lab = lab
        self._agent: Process | None = None
        spec = HostSpec(name=HOST, network_host=True, flags=dict(flags))
        write_settings(lab.node(SERVER), settings_text(shared_flags([spec]), server_flags()))
        lab.start(SERVER, SERVER)
        self.api = Connection(self.connect)
        for name in (HOST, FAR):
            token = lab.api.create("hosts", {"name": name})["token"]
            if name == HOST:
                write_token(self.host, token)
        address = lab.host_state(HOST).address
        assert address is not None
        write_settings(
            self.host, settings_text(shared_flags([spec]), agent_flags(spec, address, [HOST]))
        )

    @property
    def host(self) -> Node:
        """The host."""
        return self._lab.node(HOST)

    def connect(self) -> socket.socket:
        """Connect to the users' API from its own machine."""
        node = self._lab.node(SERVER)
        address = ("127.0.0.1", API_PORT)
        made = in_netns(node.netns, lambda: socket.create_connection(address, timeout=TIMEOUT_S))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def start_agent(self) -> None:
        """Start the agent; it isn't waited for."""
        self._agent = start_agent(self.host)

    def stop_agent(self) -> None:
        """End the agent as systemd does, and wait for its end."""
        _, agent = self.agent
        self.host.kill(agent, "TERM")
        wait_for(lambda: not is_alive(agent, self.host.proc), STOP_S, "the agent has ended")

    @property
    def agent(self) -> tuple[Path, Process]:
        """The agent, and the /proc in which it has that pid."""
        assert self._agent is not None, "start the agent first"
        return self.host.proc, self._agent

    @property
    def row(self) -> dict[str, Any]:
        """The host as the server sees it."""
        row: dict[str, Any] = self.api.ask("GET", f"/v2.0/hosts/{HOST}")["host"]
        return row

    def wire(self) -> DeviceWire:
        """Plug a client into the wire between the hosts."""
        return client_on(self.fabric, "flat")

    @property
    def fabric(self) -> Node:
        """The node that has the wires between the others."""
        return self._lab.node(FABRIC)

    def bare_host(self) -> Node:
        """Make a host without anything of ours but its pid 1. It goes with the fleet."""
        node = Node(self._lab.folder, "bare")
        node.start()
        return node


def client_on(fabric: Node, bridge: str) -> DeviceWire:
    """Plug a client into one of the fabric's wires."""
    inner, outer = f"{bridge}-vm", f"{bridge}-vm-wire"
    ip_batch(
        fabric,
        f"link add {inner} type veth peer name {outer}",
        f"link set {outer} master {bridge} up",
        f"link set {inner} up",
    )
    return DeviceWire(fabric.netns, inner)


def ip_batch(node: Node, *lines: str) -> None:
    """Have ip(8) do these in the network of a node."""
    node.exec_here("ip", "-batch", "-", stdin="".join(f"{line}\n" for line in lines))


@contextmanager
def up(**flags: str) -> Iterator[Fleet]:
    """Make a fleet, and take it down behind us; `flags` are settings of the agent."""
    folder = Path(tempfile.mkdtemp(prefix="lessor-bench-"))
    lab = Lab.up(folder, [HostSpec(name=HOST, network_host=True)], services=False)
    try:
        yield Fleet(lab, flags)
    finally:
        lab.down()
        shutil.rmtree(folder, ignore_errors=True)
