"""Hosts with DHCP namespaces, for tests of the DHCP driver with real dnsmasqs and packets."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from lessor.agent.drivers.dnsmasq.process import find_all
from lessor.agent.host.run import run
from lessor.core.dnsmasq.command import Paths
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpServer, Reservation
from lessor.netns import FOLDER
from tests.agent.drivers.dnsmasq_host import CLONE_NEWNET, LIBC, RANGE, Host
from tests.dhcpclient import DhcpClient


def lines(*commands: str) -> None:
    """Run lines of `ip` in one process."""
    run("ip", "-batch", "-", stdin="\n".join(commands))


class Place:
    """A namespace of this test, entered by its thread, with DHCP namespaces beside it.

    A network's tap has its address; clients are at the outer end of its veth, or on its bridge.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._made: list[str] = []
        self._prefix = f"lessor-q{os.getpid()}"

    def namespace(self, n: int) -> str:
        return f"{self._prefix}-{n}"

    def plug(self, n: int, address: str = "10.0.0.1", bridge: str = "") -> None:
        """Make a namespace with a tap; its outer end is o<n>, on a bridge if one is named."""
        name = self.namespace(n)
        run("ip", "netns", "add", name)
        self._made.append(name)
        self.device(n, address, bridge)

    def device(self, n: int, address: str = "10.0.0.1", bridge: str = "") -> None:
        name, tap = self.namespace(n), f"tap{n}"
        if f"o{n}" in [
            name for _, name in socket.if_nameindex()
        ]:  # its namespace lives on while a process is in it
            lines(f"link del o{n}")
        lines(f"link add o{n} type veth peer name {tap} netns {name}", f"link set o{n} up")
        if bridge:
            lines(f"link set o{n} master {bridge}")
        inside = (
            "link set lo up",
            f"address add {address}/16 dev {tap}",
            f"address add 169.254.169.254/32 dev {tap}",
            f"link set {tap} up",
        )
        run("ip", "-n", name, "-batch", "-", stdin="\n".join(inside))

    def unplug(self, n: int) -> None:
        """Take a namespace away by hand."""
        run("ip", "netns", "del", self.namespace(n))
        self._made.remove(self.namespace(n))

    def client(self, interface: str, mac: str) -> DhcpClient:
        made = DhcpClient(interface, mac)
        self._stack.callback(made.close)
        return made

    def host(self) -> OverlayHost:
        folder = Path(tempfile.mkdtemp(prefix="lessor-q-"))
        folder.chmod(0o755)  # dnsmasq reads as nobody
        self._stack.callback(shutil.rmtree, folder)
        made = OverlayHost(folder)
        self._stack.callback(made.stop_all)
        return made

    def server(self, n: int, *reservations: Reservation, **more: Any) -> DhcpServer:
        """The server of network `n`; equal networks have equal addresses."""
        ranges = (replace(RANGE, network_id=f"net-{n}"),)
        return DhcpServer(
            name=f"net-{n}",
            interface=f"tap{n}",
            reservations={str(one.address): one for one in reservations},
            namespace=self.namespace(n),
            **{"ranges": ranges, **more},
        )

    def second(self, n: int, of: DhcpServer, address: str, **more: Any) -> DhcpServer:
        """The same network's server in namespace `n`, at an address of its own."""
        ranges = tuple(replace(one, server=IPv4Address(address)) for one in of.ranges)
        place = {"interface": f"tap{n}", "namespace": self.namespace(n), "ranges": ranges}
        return replace(of, **{**place, **more})

    def clean(self) -> None:
        for name in self._made:
            run("ip", "netns", "del", name)


class OverlayHost(Host):
    """The DHCP part of one host's agent; its `store` has the leases of other hosts."""

    store: list[LiveLease] | None = None
    asked = 0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.known = self._tell
        self.start_agent()

    def _tell(self, _networks: object) -> list[LiveLease] | None:
        self.asked += 1
        return self.store

    def main_pids(self) -> dict[str, int]:
        found = {}
        for folder in self.root.iterdir():
            for process in find_all(Paths(folder, self.paths.hook, self.paths.hook_user)):
                found[folder.name] = process.pid
                process.close()
        return found

    def leases_of(self, name: str) -> dict[str, str]:
        self.book.catch_up()
        return {str(one.address): one.mac for one in self.book.live(name).values()}

    def stop_all(self) -> None:
        self.driver.close()
        for folder in self.root.iterdir() if self.root.exists() else ():
            for process in find_all(Paths(folder, self.paths.hook, self.paths.hook_user)):
                process.stop()
                process.close()


@contextmanager
def place() -> Iterator[Place]:
    """A place in a network namespace that this thread enters, and leaves at the end."""
    name = f"lessor-q{os.getpid()}"
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    run("ip", "netns", "add", name)
    inside = os.open(FOLDER / name, os.O_RDONLY)
    assert LIBC.setns(inside, CLONE_NEWNET) == 0
    try:
        with ExitStack() as stack:
            made = Place(stack)
            stack.callback(made.clean)
            lines("link set lo up")
            yield made
    finally:
        assert LIBC.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        os.close(inside)
        run("ip", "netns", "del", name)
