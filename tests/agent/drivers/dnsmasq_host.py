"""A host in a network namespace, for tests of the DHCP driver with real dnsmasqs and packets."""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from lessor.agent.drivers.dhcp import Incident, KnownLeases
from lessor.agent.drivers.dnsmasq.driver import DnsmasqDriver
from lessor.agent.drivers.dnsmasq.hook import Hook, hook
from lessor.agent.drivers.dnsmasq.process import find_all
from lessor.agent.host.run import run
from lessor.agent.leases.leasebook import LeaseBook
from lessor.agent.leases.spool import Spool
from lessor.core.diff import Changes, diff
from lessor.core.dnsmasq.command import Paths
from lessor.core.state import DhcpRange, DhcpServer, Reservation
from lessor.errors import Pending
from tests.dhcpclient import DhcpClient, Reply

CLONE_NEWNET = 0x40000000
H = TypeVar("H", bound="Host")
LIBC = ctypes.CDLL(None, use_errno=True)
BRIDGE = "br100"
RANGE = DhcpRange(
    subnet_id="s1",
    network_id="n1",
    cidr=IPv4Network("10.0.0.0/16"),
    server=IPv4Address("10.0.0.1"),
    start=IPv4Address("10.0.0.2"),
    router=IPv4Address("10.0.0.1"),
    mtu=1450,
    dns=(),
    routes=(),
    domain="novalocal",
)


def mac(n: int) -> str:
    return f"fa:16:3e:00:{n >> 8:02x}:{n & 255:02x}"


def reserve(n: int, at: int | None = None, **more: Any) -> Reservation:
    fields = {"hostname": f"vm{n}", "domain": "novalocal", **more}
    address = IPv4Address("10.0.0.0") + (n if at is None else at)
    return Reservation(f"p{n}", "n1", "s1", mac(n), address, **fields)


def server(*reservations: Reservation, **more: Any) -> DhcpServer:
    fields = {"ranges": (RANGE,), **more}
    by_address = {str(r.address): r for r in reservations}
    return DhcpServer(name=BRIDGE, interface=BRIDGE, reservations=by_address, **fields)


class Host:
    """A host with a bridge, a wire on it where clients are, and an agent's DHCP part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clients: dict[str, DhcpClient] = {}
        self.root = folder / "networks"
        self.chosen = ""  # another hook than ours
        self.clock: Callable[[], float] = time.monotonic
        self.run: Any = run
        self.known: KnownLeases | None = None
        self.config_file = ""
        self.names = True  # are written after each pass
        self._close_driver: Callable[[], None] | None = None
        self.start_agent()

    def start_agent(self, called: Hook | None = None, *, release: bool = True) -> None:
        """A new agent that remembers nothing but what is on disk."""
        if self._close_driver:
            self._close_driver()
        self.incidents: list[Incident] = []
        self.hook = called or hook(
            self.folder / "agent/hook", self.folder / "agent/spool", self.chosen
        )
        self.paths = Paths(self.root / BRIDGE, self.hook.program, self.hook.user)
        self.spool = Spool(self.folder / "agent/spool", self.hook.inbox)
        self.book = LeaseBook(self.folder / "leases", self.spool)
        self.driver = DnsmasqDriver(
            self._run,
            self.root,
            self.book,
            hook=self.hook,
            runtime=self.folder / "run",
            release=release,
            clock=self._clock,
            known=self.known,
            label=lambda server: f"network of {server.name}",
            config_file=self.config_file,
        )
        self._close_driver = self.driver.close
        self.driver.incidents.subscribe(self.incidents.append)

    def _run(self, *argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        output: str = self.run(*argv, stdin=stdin, timeout_s=timeout_s)
        return output

    def _clock(self) -> float:
        return self.clock()

    def once(self, *wanted: DhcpServer) -> list[Exception]:
        """One pass of the loop; return its problems."""
        actual = self.driver.observe()
        changes = diff({one.name: one for one in wanted}, actual)
        problems: list[Exception] = []
        for part in (
            Changes(create=changes.create, replace=changes.replace),
            Changes(delete=changes.delete),
        ):
            try:
                self.driver.apply(part)
            except ExceptionGroup as group:
                problems += group.exceptions
        if self.names:
            self.driver.write_names()
        return problems

    def bring(self, *wanted: DhcpServer, within_s: float = 10) -> None:
        """Pass after pass until nothing differs."""
        until = time.monotonic() + within_s
        while problems := self.once(*wanted):
            assert time.monotonic() < until, problems
            assert all(isinstance(one, Pending) for one in problems), problems
            time.sleep(min(getattr(one, "retry_s", 0) for one in problems))
        assert self.differs(*wanted) is False

    def differs(self, *wanted: DhcpServer) -> bool:
        return bool(diff({one.name: one for one in wanted}, self.driver.observe()))

    def client(self, of: int | str, **more: Any) -> DhcpClient:
        """The client with that number or MAC; it is kept, since closing its socket takes long."""
        own = mac(of) if isinstance(of, int) else of
        if own not in self.clients:
            self.clients[own] = DhcpClient("c1", own, **more)
        return self.clients[own]

    def lease(self, n: int, **more: Any) -> Reply:
        reply = self.client(n, **more).acquire()
        assert reply
        return reply

    def pids(self) -> list[int]:
        found = find_all(self.paths)
        for process in found:
            process.close()
        return [process.pid for process in found]

    def pid(self) -> int:
        (pid,) = self.pids()
        return pid

    def kill(self) -> None:
        """Kill the dnsmasq, and wait for its end: a pass before that finds nothing wrong."""
        pidfd = os.pidfd_open(self.pid())
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            assert select.select([pidfd], [], [], 5)[0]
        finally:
            os.close(pidfd)

    def events(self) -> list[tuple[str, str, str]]:
        return [(e.action, e.mac_address, str(e.address)) for e in self.spool.read()]

    def wait_for(self, what: Callable[[], Any], timeout_s: float = 30) -> Any:
        until = time.monotonic() + timeout_s
        while not (result := what()):
            assert time.monotonic() < until, "not in time"
            time.sleep(0.01)
        return result

    def held(self) -> dict[str, str]:
        """Return the leases in the book, address and MAC."""
        self.book.catch_up()
        return {str(one.address): one.mac for one in self.book.live(BRIDGE).values()}

    @contextmanager
    def probing(self, *wanted: DhcpServer) -> Iterator[None]:
        """Have the servers probed and watched, and brought to `wanted` whenever that says so."""
        changed, ended = threading.Event(), threading.Event()
        made = self.made = Watching(self, changed, ended)
        threads = [
            threading.Thread(target=made.watch),
            threading.Thread(target=made.follow, args=wanted),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            made.end()
            for thread in threads:
                thread.join()
            made.shut()
        assert not made.errors, made.errors

    def told(self, event: str) -> list[Incident]:
        return [one for one in self.incidents if one.event == event]

    def stop_all(self) -> None:
        self.driver.close()
        for process in find_all(self.paths):
            process.stop()
            process.close()
        for client in self.clients.values():
            client.close()


class Watching:
    """What the agent does for DHCP servers: the driver's own loop, and a pass after each change."""

    def __init__(self, host: Host, changed: threading.Event, ended: threading.Event) -> None:
        self._host = host
        self._changed = changed
        self._ended = ended
        self._stop: Callable[[], object] = lambda: None
        self._thread = ThreadPoolExecutor(1)  # the one that uses the driver
        self.problems: list[str] = []
        self.errors: list[BaseException] = []

    def watch(self) -> None:
        asyncio.run(self._watch())

    async def _watch(self) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(over.set)
        if self._ended.is_set():
            return
        driver = self._host.driver
        driver.changed.subscribe(self._changed.set)
        tasks = [asyncio.create_task(driver.run(self._thread)), asyncio.create_task(over.wait())]
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        self.errors += [error for task in done if (error := task.exception())]

    def follow(self, *wanted: DhcpServer) -> None:
        while not self._ended.is_set():
            if self._changed.wait(0.05) or self.problems:
                self._changed.clear()
                try:
                    found = self._thread.submit(self._host.once, *wanted).result()
                    self.problems = [str(one) for one in found]
                except BaseException as error:
                    self.errors.append(error)
                    raise

    def end(self) -> None:
        self._ended.set()
        self._stop()

    def shut(self) -> None:
        self._thread.shutdown()


def make_wire() -> None:
    for command in (
        f"link add {BRIDGE} type bridge forward_delay 0",
        "link add c0 type veth peer name c1",
        f"link set c0 master {BRIDGE} up",
        "link set c1 up",
        f"addr add 192.0.2.9/24 dev {BRIDGE}",  # the operator's own
        f"addr add 10.0.0.1/16 dev {BRIDGE}",
        f"addr add 10.1.0.1/24 dev {BRIDGE}",
        f"link set {BRIDGE} up",
        "link set lo up",
    ):
        run("ip", *command.split())


@contextmanager
def host_in_namespace() -> Iterator[Host]:
    """A host in a network namespace that this process enters, and leaves at the end."""
    with kind_in_namespace(Host) as made:
        yield made


@contextmanager
def kind_in_namespace(kind: type[H]) -> Iterator[H]:
    """The same, of another kind."""
    name = f"lessor-dhcp-{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix="lessor-dhcp-"))  # pytest's own folders shut nobody out
    folder.chmod(0o755)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    run("ip", "netns", "add", name)
    inside = os.open(f"/run/netns/{name}", os.O_RDONLY)
    assert LIBC.setns(inside, CLONE_NEWNET) == 0
    made = None
    try:
        make_wire()
        made = kind(folder)
        yield made
    finally:
        if made:
            made.stop_all()
        assert LIBC.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        os.close(inside)
        run("ip", "netns", "del", name)
        shutil.rmtree(folder)
