"""lessor-dnsd alone, beside dnsmasq for DNS alone: memory of many networks, costs of a question.

The sender is Python, too, and so the limit of both on one machine: the figure is what a process
could do with a processor of its own, by the processor time that it took.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from bench.figure import Figure, Limit, Peer, of_repeats, p50_p99
from bench.processes import cpu_s, memory_mib
from lessor.core.dns.zone import Entry, wire_name
from lessor.core.state import DhcpRange, DhcpServer
from lessor.daemon.home import Home
from lessor.dnsd.client import Dnsd
from lessor.netns import inside, prefix

NETWORKS, QUICK_NETWORKS, PORTS = 1_000, 50, 10
SIZES = (1_000, 10_000, 60_000)
CLIENTS, CHANGES, STARTS = 60, 300, 5
SERVER = IPv4Address("10.64.0.1")
CLIENT = IPv4Address("10.64.255.1")  # and those after it
RANGE = DhcpRange(
    subnet_id="s",
    network_id="n",
    cidr=IPv4Network("10.64.0.0/16"),
    server=SERVER,
    start=IPv4Address("10.64.0.2"),
    router=None,
    mtu=1500,
    dns=(),
    routes=(),
    domain="example.org",
)
SPACE = "lessor-bench-dns"
_QUESTION = struct.Struct("!6H")


def measure(quick: bool) -> Iterator[Figure]:
    """Yield the figures of many networks, and of one with many names."""
    with _folder() as folder:
        yield from _networks(folder, QUICK_NETWORKS if quick else NETWORKS)
    for size in SIZES[:1] if quick else SIZES:
        with _folder() as folder, _spaces(1) as (space,):
            yield from _names(folder, space, size, 1.0 if quick else 3.0)


def _networks(folder: Path, count: int) -> Iterator[Figure]:
    what = f"{count:,} networks of {PORTS} ports"
    with _spaces(count) as spaces:
        pids = [_dnsmasq(folder, space, PORTS) for space in spaces]
        theirs = sum(memory_mib(pid)[1] for pid in pids)
        _kill(pids)
        home = Home(folder / "dnsd")
        daemon = _started(home, spaces, PORTS)
        _answered(spaces)
        yield Figure(
            what=f"lessor-dnsd, proportional size, {what}",
            value=memory_mib(daemon.process.pid)[1],
            unit="MiB",
            n=1,
            peer=Peer(f"{count:,} dnsmasqs", theirs),
        )
        taken = []
        for _ in range(STARTS):
            daemon, ready_s = _restarted(home, daemon, spaces[-1])
            taken.append(ready_s * 1000)
        yield of_repeats(f"lessor-dnsd, start to first answer, {what}", taken, "ms", STARTS)
        _answered(spaces)
        daemon.process.end()
        daemon.close()


def _names(folder: Path, space: str, size: int, seconds: float) -> Iterator[Figure]:
    what = f"{size:,} names"
    pid = _dnsmasq(folder, space, size)
    theirs = _rate(pid, space, size, seconds)
    _kill([pid])
    home = Home(folder / "dnsd")
    daemon = _started(home, [space], size)
    rates = [_rate(daemon.process.pid, space, size, seconds) for _ in range(3)]
    yield of_repeats(
        f"lessor-dnsd, questions a second of its processor, {what}",
        rates,
        "1/s",
        int(sum(rates) * seconds),
        peer=Peer("dnsmasq", theirs),
    )
    entry = [_entry(size)]
    changes = []
    for at in range(CHANGES):
        started = time.perf_counter()
        daemon.feed(space, entry if at % 2 else (), () if at % 2 else entry)
        changes.append(time.perf_counter() - started)
    yield from p50_p99(f"lessor-dnsd, a name more or less, {what}", changes)
    taken = []
    for _ in range(STARTS):
        daemon, ready_s = _restarted(home, daemon, space)
        taken.append(ready_s * 1000)
    yield of_repeats(
        f"lessor-dnsd, start to first answer, {what}", taken, "ms", STARTS, expected=Limit(100)
    )
    daemon.process.end()
    daemon.close()


def _rate(pid: int, space: str, size: int, seconds: float) -> float:
    """Return answers a second of a process's time. Clients ask one question at a time."""
    _ask(space, size - 1)  # the process may still read its names
    with inside(space):
        socks = [_socket(CLIENT + n) for n in range(CLIENTS)]
    by_fd = {sock.fileno(): sock for sock in socks}
    poll = select.epoll()
    for n, sock in enumerate(socks):
        poll.register(sock, select.EPOLLIN)
        sock.send(_question(n * size // CLIENTS, size))
    answered, before = 0, cpu_s(pid)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for fd, _ in poll.poll(0.2) or [(fd, 0) for fd in by_fd]:
            sock = by_fd[fd]
            try:
                reply = sock.recv(512)
            except BlockingIOError:  # a question or its answer was lost
                reply = b""
            answered += reply[7:8] == b"\1"
            sock.send(_question(answered * 7919, size))
    rate = answered / (cpu_s(pid) - before)
    poll.close()
    for sock in socks:
        sock.close()
    return rate


def _answered(spaces: Sequence[str]) -> None:
    for space in spaces:
        _ask(space, PORTS - 1)


def _ask(space: str, number: int, timeout_s: float = 60) -> None:
    """Wait until a name is answered."""
    until = time.monotonic() + timeout_s
    with inside(space), _socket(CLIENT) as sock:
        while time.monotonic() < until:
            sock.send(_question(number, number + 1))
            sock.settimeout(0.05)
            try:
                if sock.recv(512)[7] == 1:
                    return
            except TimeoutError:
                continue
            time.sleep(0.05)
    raise TimeoutError(f"vm{number} is not answered in {space}")


def _restarted(home: Home, daemon: Dnsd, space: str) -> tuple[Dnsd, float]:
    """Kill the process and start it; return the seconds from there to its first answer."""
    os.kill(daemon.process.pid, signal.SIGKILL)
    while daemon.process.alive():
        time.sleep(0.01)
    daemon.close()
    started = time.perf_counter()
    again = Dnsd(home, "bench")
    _ask(space, PORTS - 1)
    return again, time.perf_counter() - started


def _started(home: Home, spaces: Sequence[str], count: int) -> Dnsd:
    daemon = Dnsd(home, "bench")
    for space in spaces:
        daemon.open(DhcpServer(space, "lo", (RANGE,), {}, namespace=space))
        daemon.feed(space, (), map(_entry, range(count)))
    return daemon


def _dnsmasq(folder: Path, space: str, count: int) -> int:
    """Start a dnsmasq that answers the same names; return its pid."""
    own = folder / space
    own.mkdir()
    lines = (f"{RANGE.cidr[n + 2]} vm{n}.example.org vm{n}\n" for n in range(count))
    (own / "names").write_text("".join(lines))
    subprocess.run(
        [
            *prefix(space),
            "dnsmasq",
            "--conf-file=/dev/null",
            "--bind-interfaces",
            f"--listen-address={SERVER}",
            "--except-interface=lo",
            f"--pid-file={own / 'pid'}",
            "--no-hosts",
            "--no-resolv",
            f"--addn-hosts={own / 'names'}",
            "--local=/example.org/",
            "--domain-needed",
            f"--rev-server={RANGE.cidr}",
        ],
        check=True,
    )
    return int((own / "pid").read_text())


def _kill(pids: Sequence[int]) -> None:
    ends = [os.pidfd_open(pid) for pid in pids]
    for end in ends:
        signal.pidfd_send_signal(end, signal.SIGKILL)
    for end in ends:
        poll = select.poll()
        poll.register(end, select.POLLIN)
        poll.poll(10_000)
        os.close(end)


def _entry(number: int) -> Entry:
    return Entry(wire_name(f"vm{number}.example.org"), RANGE.cidr[number + 2].packed)


def _question(number: int, size: int) -> bytes:
    head = _QUESTION.pack(number & 0xFFFF, 0x0100, 1, 0, 0, 0)
    return head + wire_name(f"vm{number % size}.example.org") + b"\0\1\0\1"


def _socket(address: IPv4Address) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((str(address), 0))
    sock.connect((str(SERVER), 53))
    sock.setblocking(False)
    return sock


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="lessor-bench-"))
    folder.chmod(0o755)  # dnsmasq reads its names as nobody
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _spaces(count: int) -> Iterator[list[str]]:
    """Have namespaces, each with the server's address and the clients' on `lo`."""
    spaces = [f"{SPACE}-{number}" for number in range(count)]
    clients = CLIENTS if count == 1 else 1
    lines = ["link set lo up", f"addr add {SERVER}/16 dev lo"]
    lines += [f"addr add {CLIENT + n}/32 dev lo" for n in range(clients)]
    try:
        _ip("".join(f"netns add {space}\n" for space in spaces))
        for space in spaces:
            _ip("\n".join(lines), "-n", space)
        yield spaces
    finally:
        _ip("".join(f"netns del {space}\n" for space in spaces))


def _ip(commands: str, *options: str) -> None:
    subprocess.run(["ip", *options, "-batch", "-"], input=commands, text=True, check=True)
