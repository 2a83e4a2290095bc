"""A server and hosts with agents, in namespaces of a lab's making, each started when it is told to.

A DHCP client of ours is on the wire between the hosts, as a VM of another host is.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.http1 import TIMEOUT_S, Connection
from bench.wire import DeviceWire

from lessor.lab.cabling import SERVER as SERVER_ADDRESS
from lessor.lab.lab import FABRIC, Lab
from lessor.lab.netns import in_netns
from lessor.lab.node import Node
from lessor.lab.process import Process
from lessor.lab.services import AGENT, SERVER, write_settings, write_token
from lessor.lab.settings_file import (
    API_PORT,
    agent_flags,
    server_flags,
    settings_text,
    shared_flags,
)
from lessor.lab.state import HostSpec

HOST = "net1"  # the network host: bridge, DHCP server, agent
FAR = "far"  # a host without an agent: its ports are on the wire only
BRIDGE = "br100"


class Fleet:
    """A lab of one host, whose agent isn't started yet."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        spec = HostSpec(name=HOST, network_host=True)
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
        """Start the agent and wait until it is in sync."""
        self._lab.start(HOST, AGENT)

    def stop_agent(self) -> None:
        """End the agent as systemd does."""
        self._lab.kill(HOST, AGENT, "TERM")

    def process(self, name: str, what: str) -> tuple[Path, Process]:
        """Return the /proc in which a process of ours is seen, and which it is there."""
        return self._lab.node(name).proc, self._lab.host_state(name).processes[what]

    def wire(self) -> DeviceWire:
        """Plug a client into the wire between the hosts."""
        fabric = self._lab.node(FABRIC)
        lines = "link add bench0 type veth peer name bench1\nlink set bench1 master flat up\n"
        fabric.exec_here("ip", "-batch", "-", stdin=f"{lines}link set bench0 up\n")
        return DeviceWire(fabric.netns, "bench0")


@contextmanager
def up() -> Iterator[Fleet]:
    """Make a fleet, and take it down behind us."""
    folder = Path(tempfile.mkdtemp(prefix="lessor-bench-"))
    lab = Lab.up(folder, [HostSpec(name=HOST, network_host=True)], services=False)
    try:
        yield Fleet(lab)
    finally:
        lab.down()
        shutil.rmtree(folder, ignore_errors=True)


__all__ = ["AGENT", "BRIDGE", "FAR", "HOST", "SERVER", "SERVER_ADDRESS", "Fleet", "up"]
