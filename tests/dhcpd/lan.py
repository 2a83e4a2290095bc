"""A wire between a DHCP server's interface and clients: two namespaces, and the process."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from lessor.agent.leases.inbox import Inbox
from lessor.core.leases import parse_line
from lessor.core.state import DhcpServer, Reservation
from lessor.daemon.process import find
from lessor.daemon.rights import unprivileged
from lessor.dhcpd.__main__ import USERS
from lessor.dhcpd.client import Dhcpd, entry_of, header_of
from lessor.dhcpd.messages import Entry, Header
from lessor.model import LeaseEvent
from lessor.netns import inside
from tests.core.dhcp.client import RANGE, reservation
from tests.dhcpclient import DhcpClient

INTERFACE, SERVER = "dhcp0", "net-a"
_numbers = itertools.count()


def ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True, timeout=20)


def mac(number: int) -> str:
    return reservation(number).mac


def entry(one: Reservation, lease_time: int = 86400) -> Entry:
    made, problems = entry_of(one, RANGE, lease_time)
    assert not problems
    return made


def wait_for(condition: Callable[[], object], within_s: float = 10.0) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "in vain"
        time.sleep(0.01)


@dataclass
class Lan:
    """One server's interface in a namespace, clients in another, and the process's folder."""

    folder: Path
    here: str  # namespaces
    there: str
    clients: list[DhcpClient] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.folder / "inbox", unprivileged(USERS).gid)
        self.inbox.make()
        self.daemon = self.agent()

    @property
    def home(self) -> Path:
        return self.folder / "dhcpd"

    def agent(self, *, version: str = "1", answer_s: float = 10.0) -> Dhcpd:
        """Return the end of another agent."""
        return Dhcpd(self.home, self.inbox.folder, version, answer_s=answer_s)

    def server(self, *, name: str = SERVER) -> DhcpServer:
        return DhcpServer(name, INTERFACE, (RANGE,), {}, namespace=self.here)

    def header(self, *, name: str = SERVER) -> Header:
        return header_of(self.server(name=name))

    def begin(self, *numbers: int, lease_time: int = 86400) -> None:
        """Start the process, with one server and these reservations."""
        self.daemon.connect()
        self.daemon.open(self.header())
        self.daemon.put(SERVER, [entry(reservation(n), lease_time) for n in numbers])

    def client(self, number: int, **more: object) -> DhcpClient:
        with inside(self.there):
            made = DhcpClient("c0", mac(number), **more)  # type: ignore[arg-type] # its keywords
        self.clients.append(made)
        return made

    def events(self) -> list[LeaseEvent]:
        """Return the events that were reported, in their order."""
        lines = filter(None, self.inbox.current.read_text().split("\n"))
        found = [parse_line(line, 1, 0.0, 1e12) for line in lines]
        return [event for event in found if event]

    def reported(self, action: str, number: int) -> Callable[[], bool]:
        """Return a condition: the last event of this client is such a one."""
        return lambda: (
            [e.action for e in self.events() if e.mac_address == mac(number)][-1:] == [action]
        )

    def kill(self) -> None:
        """Kill the process, and wait for its end."""
        process = self.daemon.process
        assert process is not None
        os.kill(process.pid, 9)
        wait_for(lambda: not process.alive())


@contextmanager
def lan(folder: Path) -> Iterator[Lan]:
    number = next(_numbers)
    here, there = (f"lt-{os.getpid()}-{number}{side}" for side in "ab")
    made = None
    try:
        for name in (here, there):
            ip("netns", "add", name)
        ip("-n", here, "link", "add", INTERFACE, "type", "veth", "peer", "c0", "netns", there)
        ip("-n", here, "addr", "add", f"{RANGE.server}/24", "dev", INTERFACE)
        ip("-n", here, "link", "set", INTERFACE, "up")
        ip("-n", there, "link", "set", "c0", "up")
        made = Lan(folder, here, there)
        yield made
    finally:
        if made is not None:
            for client in made.clients:
                client.close()
            made.daemon.end()
            assert find(made.daemon._home) is None
        for name in (here, there):
            with suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)


def address(number: int) -> IPv4Address:
    found = reservation(number).address
    assert isinstance(found, IPv4Address)
    return found
