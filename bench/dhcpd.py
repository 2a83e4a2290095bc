"""lessor-dhcpd alone, on a veth: what an exchange, a change and a start cost it.

The sender is Python, too, and so the limit of both on one machine: the figure is what the process
could do with a processor of its own, by the processor time that it took. Lease events are in it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import msgspec

from bench import dhcp
from bench.figure import Figure, Limit, of_repeats, p50_p99
from bench.processes import cpu_s, memory_mib
from lessor.agent.leases.inbox import Inbox
from lessor.core.state import DhcpRange, DhcpServer, Reservation
from lessor.daemon.rights import unprivileged
from lessor.dhcpd.__main__ import USERS
from lessor.dhcpd.client import Dhcpd, entry_of, header_of
from lessor.dhcpd.messages import Entry
from lessor.netns import inside

SIZES = (100, 1_000, 10_000, 65_000)
SERVER = IPv4Address("10.64.255.254")
RANGE = DhcpRange(
    subnet_id="s",
    network_id="n",
    cidr=IPv4Network("10.64.0.0/16"),
    server=SERVER,
    start=IPv4Address("10.64.0.2"),
    router=IPv4Address("10.64.255.253"),
    mtu=1500,
    dns=(),
    routes=(),
    domain="example.org",
)
HERE, THERE, NAME = "lessor-bench-dhcpd", "lessor-bench-client", "bench"
WINDOW = 32  # exchanges at once
PUTS, STARTS = 300, 5
KEA = 11_000  # exchanges a second of Kea 2.2 on two cores, whatever the size
THREE_TIMES = Limit(3 * KEA, least=True)
XID, ADDRESS, TYPE = slice(46, 50), slice(58, 62), 284  # in an answer; 53 is its first option


@dataclass(frozen=True, slots=True)
class Client:
    """A client's two messages, and its address."""

    discover: bytes
    request: bytes
    address: bytes


def measure(quick: bool) -> Iterator[Figure]:
    """Yield the figures of each number of reservations."""
    for size in SIZES[:2] if quick else SIZES:
        with _veth(), _process() as (daemon, inbox):
            yield from _figures(daemon, inbox, size, 1.0 if quick else 3.0)


def _figures(daemon: Dhcpd, inbox: Inbox, size: int, seconds: float) -> Iterator[Figure]:
    what = f"{size:,} reservations"
    entries = [_entry(number) for number in range(size)]
    daemon.put(NAME, entries)
    clients = [_client(number) for number in range(size)]
    pid = daemon.hello().pid
    with inside(THERE):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        wire.bind(("c0", 0x0800))
    rates: list[float] = []
    done = 0
    for _ in range(3):
        before = cpu_s(pid)
        completed = _exchanges(wire, clients, seconds)
        rates.append(completed / (cpu_s(pid) - before))
        done += completed
        inbox.renew()
    yield of_repeats(
        f"lessor-dhcpd, exchanges a second of its processor, {what}",
        rates,
        "1/s",
        done,
        expected=THREE_TIMES,
    )
    yield from p50_p99(f"lessor-dhcpd, a reservation more, {what}", _puts(daemon, entries[-1:]))
    yield Figure(what=f"lessor-dhcpd, resident, {what}", value=memory_mib(pid)[0], unit="MiB", n=1)
    taken = [_restart(daemon, wire, clients[-1]) for _ in range(STARTS)]
    yield of_repeats(
        f"lessor-dhcpd, start to first answer, {what}", taken, "ms", STARTS, expected=Limit(100)
    )
    wire.close()


def _exchanges(wire: socket.socket, clients: Sequence[Client], seconds: float) -> int:
    """Go from DISCOVER to ACK, so many at once; return how many were completed.

    A client whose answer is lost leaves its place in the window empty.
    """
    wire.settimeout(0.2)
    completed = at = 0
    for client in clients[:WINDOW]:
        wire.send(client.discover)
        at += 1
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            frame = wire.recv(2048)
        except TimeoutError:
            at += 1
            wire.send(clients[at % len(clients)].discover)
            continue
        client = clients[int.from_bytes(frame[XID], "big")]
        assert frame[ADDRESS] == client.address
        if frame[TYPE] == dhcp.OFFER:
            wire.send(client.request)
            continue
        assert frame[TYPE] == dhcp.ACK
        completed += 1
        at += 1
        wire.send(clients[at % len(clients)].discover)
    return completed


def _puts(daemon: Dhcpd, entries: Sequence[Entry]) -> list[float]:
    """Return the seconds until each was served."""
    taken = []
    for _ in range(PUTS):
        started = time.perf_counter()
        daemon.put(NAME, entries)
        taken.append(time.perf_counter() - started)
    return taken


def _restart(daemon: Dhcpd, wire: socket.socket, client: Client) -> float:
    """Kill the process, and start it; return the milliseconds from there to its first answer."""
    assert daemon.process is not None
    os.kill(daemon.process.pid, signal.SIGKILL)
    while daemon.process.alive():
        time.sleep(0.01)
    wire.settimeout(0.002)
    started = time.perf_counter()
    daemon.connect()
    while True:
        wire.send(client.discover)
        try:
            while wire.recv(2048)[ADDRESS] != client.address:
                pass
        except TimeoutError:
            continue
        return (time.perf_counter() - started) * 1000


def _entry(number: int) -> Entry:
    address = RANGE.cidr[number + 2]
    one = Reservation(f"p{number}", "n", "s", _mac(number), address, f"vm{number}", "")
    return entry_of(one, RANGE, 86400)[0]


def _client(number: int) -> Client:
    address = RANGE.cidr[number + 2]
    assert isinstance(address, IPv4Address)
    return Client(
        discover=dhcp.discover(_mac(number), number),
        request=dhcp.request(_mac(number), number, address, SERVER),
        address=address.packed,
    )


def _mac(number: int) -> str:
    return (0xFA163E000000 + number).to_bytes(6, "big").hex(":")


@contextmanager
def _process() -> Iterator[tuple[Dhcpd, Inbox]]:
    folder = Path(tempfile.mkdtemp(prefix="lessor-bench-"))
    inbox = Inbox(folder / "inbox", unprivileged(USERS).gid)
    inbox.make()
    daemon = Dhcpd(folder / "dhcpd", inbox.folder, "bench", answer_s=60)
    try:
        daemon.connect()
        header = header_of(DhcpServer(NAME, "dhcp0", (RANGE,), {}, namespace=HERE))
        daemon.open(msgspec.structs.replace(header, rate=1e6, burst=1e6))
        yield daemon, inbox
    finally:
        daemon.end()
        shutil.rmtree(folder)


@contextmanager
def _veth() -> Iterator[None]:
    """Have a veth from one namespace to another."""
    try:
        for name in (HERE, THERE):
            _ip("netns", "add", name)
        _ip("-n", HERE, "link", "add", "dhcp0", "type", "veth", "peer", "c0", "netns", THERE)
        _ip("-n", HERE, "link", "set", "dhcp0", "up")
        _ip("-n", THERE, "link", "set", "c0", "up")
        yield
    finally:
        for name in (HERE, THERE):
            subprocess.run(["ip", "netns", "del", name], check=False)


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True)
