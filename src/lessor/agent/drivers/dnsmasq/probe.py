"""Probes every dnsmasq of this host: does it serve?

Every `EVERY_S` it sends a DNS query over the server's own address: dnsmasq does not log it, and one
process answers DNS and DHCP. After each change, and now and then, a DHCPINFORM for a reservation
shows that it is in memory, and makes no lease (`lessor.core.dnsmasq.packets`). Both packets stay
within the host, since sender and server have the same address: no VM, wire or guard sees them.
"""

from __future__ import annotations

import asyncio
import random
import select
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from lessor.agent.drivers.dnsmasq.faults import Fault
from lessor.agent.drivers.dnsmasq.proc import activity, waiting
from lessor.agent.drivers.dnsmasq.process import Process
from lessor.agent.drivers.dnsmasq.server import Server
from lessor.agent.drivers.dnsmasq.touch import Touches
from lessor.core.dnsmasq.packets import inform, is_acknowledged, is_answer, version_query
from lessor.core.dnsmasq.verdict import Cause, Symptoms, verdict
from lessor.core.state import DhcpRange, DhcpServer, Reservation
from lessor.net.address import Address
from lessor.netns import inside

EVERY_S = 1.5
PATIENCE_S = 0.75  # for one answer
ENOUGH = 2  # unanswered questions in a row
TICK_S = 0.2
PROVE_S = 300.0  # between two DHCP questions while nothing changes
PROVE_AGAIN_S = 30.0  # the same, where one was not answered or DNS is off
DNS, DHCP = 53, 67
ALIVE = (Cause.STOPPED, Cause.HUNG, Cause.SILENT, Cause.BUSY)


class Prober:
    """Probes the servers of one host, in the event loop.

    Args:
        servers: returns the servers, by name.
        touches: yields foreign changes of files.
        changed: called after a new finding.
    """

    def __init__(
        self,
        servers: Callable[[], Mapping[str, Server]],
        touches: Touches,
        changed: Callable[[], None],
    ) -> None:
        self._servers = servers
        self._touches = touches
        self._changed = changed
        self._probes: dict[str, Probe] = {}
        self._poll = select.epoll()
        self._files: dict[int, Probe] = {}  # by the descriptors of their sockets

    async def run(self) -> None:
        """Probe until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._poll.fileno(), self._read)
        touches = self._touches.fileno()
        if touches is not None:
            loop.add_reader(touches, self._read_touches)
        try:
            while True:
                self._tick(loop.time())
                await asyncio.sleep(TICK_S)
        finally:
            loop.remove_reader(self._poll.fileno())
            if touches is not None:
                loop.remove_reader(touches)
            for probe in self._probes.values():
                probe.close()
            self._probes.clear()
            self._poll.close()

    def _tick(self, now: float) -> None:
        servers = self._servers()
        for name, server in servers.items():
            probe = self._probes.get(name)
            process = server.process if server.sure else None
            if probe and probe.process is not process:
                probe.close()
                del self._probes[name]
                probe = None
            if probe is None and process:
                probe = self._probes[name] = Probe(server, process, self._open, now)
            if probe and now >= probe.due and probe.step(now):
                self._changed()
        for name in self._probes.keys() - servers.keys():
            self._probes.pop(name).close()

    def _read(self) -> None:
        now = asyncio.get_running_loop().time()
        for file, _ in self._poll.poll(0):
            probe = self._files.get(file)
            if probe and probe.read(file, now):
                self._changed()

    def _open(self, probe: Probe, question: Question) -> None:
        self._poll.register(question.file, select.EPOLLIN)
        self._files[question.file] = probe
        question.closing = self._closed

    def _closed(self, question: Question) -> None:
        self._poll.unregister(question.file)
        self._files.pop(question.file, None)

    def _read_touches(self) -> None:
        by_folder = {id(one.folder): one for one in self._servers().values()}
        found = False
        for folder, file in self._touches.read():
            for server in by_folder.values() if folder is None else (by_folder.get(id(folder)),):
                if server:
                    server.health.touch(file or "(changes were lost)")
                    found = True
        if found:
            self._changed()


class Question:
    """A socket in a server's namespace, and the question that waits for an answer there."""

    def __init__(self, server: DhcpServer, address: Address, port: int) -> None:
        """Make the socket.

        Raises:
            OSError: there is no such namespace, interface or address.
        """
        self.port = port
        self.closing: Callable[[Question], None] | None = None
        with inside(server.namespace):
            self._socket = socket.socket(
                socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
        try:
            if port == DHCP:  # dnsmasq hears on that device only
                device = server.interface.encode() + b"\0"
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            self._socket.bind((str(address), 0))
            self._socket.connect((str(address), port))
        except OSError:
            self._socket.close()
            raise
        self.file = self._socket.fileno()
        self.number = random.getrandbits(16)
        self.waits = False
        self.misses = 0

    def ask(self, packet: Callable[[int], bytes]) -> None:
        """Send the question. It has this socket's number, so a late answer counts too.

        Raises:
            OSError: it can't be sent.
        """
        self.waits = True
        self._socket.send(packet(self.number))

    def is_answered(self) -> bool:
        """Read all packets, late ones too; tell whether the question is answered."""
        check = is_acknowledged if self.port == DHCP else is_answer
        with suppress(OSError):  # no packet left, or the port is closed
            while packet := self._socket.recv(2048):
                self.waits = self.waits and not check(packet, self.number)
        if not self.waits:
            self.misses = 0
        return not self.waits

    def close(self) -> None:
        """Give the socket back."""
        if self.closing:
            self.closing(self)
        self._socket.close()


class Probe:
    """The questions to one process. `due` is the time of the next one."""

    def __init__(
        self,
        server: Server,
        process: Process,
        opened: Callable[[Probe, Question], None],
        now: float,
    ) -> None:
        self.process = process
        self.due = now + random.uniform(0, EVERY_S)  # noqa: S311 - spreads the servers
        self._server = server
        self._opened = opened
        self._dns: Question | None = None
        self._dhcp: Question | None = None
        self._asked_for: Reservation | None = None
        self._unanswered: Reservation | None = None
        self._dns_from = now
        self._prove_at = now + random.uniform(PROVE_S / 2, PROVE_S)  # noqa: S311 - as above
        self._heard_at = now
        self._ticks = 0
        self._stopped: set[Cause] = set()

    def close(self) -> None:
        """Give its sockets back."""
        for one in (self._dns, self._dhcp):
            if one:
                one.close()
        self._dns = self._dhcp = None

    def step(self, now: float) -> bool:
        """Check the unanswered questions and ask again; tell whether there is a new finding."""
        news = self._missed(now) | self._missed_proof(now) | self._look_at_states()
        self.due = now + PATIENCE_S
        try:
            self._ask(now)
        except ConnectionRefusedError:  # the operator's settings may turn DNS off
            self._do_without_dns(now)
        except OSError:  # no such address or device now: their drivers restore it
            self.close()
            self.due = now + EVERY_S
        return news

    def read(self, file: int, now: float) -> bool:
        """Take an answer; tell whether there is a new finding."""
        health = self._server.health
        if self._dns and file == self._dns.file and self._dns.is_answered():
            self._heard_at = now
            if not self._dhcp:
                self.due = max(now, self.due - PATIENCE_S + EVERY_S)
            return health.clear(*ALIVE)
        if self._dhcp and file == self._dhcp.file and self._dhcp.is_answered():
            self._end_proof(now)
            self._unanswered, self._heard_at = None, now
            return health.clear(*ALIVE, Cause.DIVERGED)
        return False

    def _ask(self, now: float) -> None:
        loaded = self._server.loaded
        if not loaded.ranges:
            return
        if now >= self._dns_from:
            if self._dns is None:
                self._dns = self._question(loaded, loaded.ranges[0].server, DNS)
            self._dns.ask(version_query)
        else:
            self._prove_at = min(self._prove_at, now + PROVE_AGAIN_S)
        self._prove(loaded, now)

    def _do_without_dns(self, now: float) -> None:
        """Ask by DHCP only, for a time: DNS is off, or the queries are dropped."""
        if self._dns:
            self._dns.close()
        self._dns = None
        self._dns_from, self._prove_at = now + PROVE_S, now

    def _question(self, loaded: DhcpServer, address: Address, port: int) -> Question:
        made = Question(loaded, address, port)
        self._opened(self, made)
        return made

    def _prove(self, loaded: DhcpServer, now: float) -> None:
        """Ask for a reservation after a change, and after a long time without a question."""
        asked = self._to_prove(loaded, now)
        if asked is not self._asked_for:
            self._end_proof(now)
        server = next((r.server for r in loaded.ranges if _has(r, asked)), None)
        if asked is None or server is None:
            self._end_proof(now)
            return
        self._asked_for = asked
        if self._dhcp is None:
            self._dhcp = self._question(loaded, server, DHCP)
        self._dhcp.ask(lambda number: inform(asked.mac, server, number))

    def _to_prove(self, loaded: DhcpServer, now: float) -> Reservation | None:
        fresh, self._server.health.unproven = self._server.health.unproven, None
        asked = fresh or self._asked_for
        if asked is None and now >= self._prove_at and loaded.reservations:
            sample = random.choice(list(loaded.reservations.values()))  # noqa: S311 - any will do
            asked = self._unanswered or sample
        known = asked is not None and loaded.reservations.get(str(asked.address)) == asked
        return asked if known else None

    def _end_proof(self, now: float) -> None:
        if self._dhcp:
            self._dhcp.close()
            self._prove_at = now + PROVE_S
        self._dhcp = self._asked_for = None

    def _missed(self, now: float) -> bool:
        """Check the DNS question; if it may be lost on its way, ask by DHCP instead."""
        if self._dns is None or not self._dns.waits:
            return False
        found = self._cause(self._dns, now)
        if found and found[0] is Cause.SILENT and self._server.loaded.reservations:
            self._do_without_dns(now)
            return False
        return self._record(*found) if found else False

    def _missed_proof(self, now: float) -> bool:
        """Check the DHCP question; if DNS is silent too, the DNS question decides."""
        asked = self._asked_for
        if not (self._dhcp and self._dhcp.waits and asked) or (self._dns and self._dns.waits):
            return False
        found = self._cause(self._dhcp, now)
        if found is None:
            return False
        self._unanswered = asked
        self._end_proof(now)
        self._prove_at = now + PROVE_AGAIN_S
        if self._dns is None:
            return self._record(*found)
        why = f"it does not answer for {asked.mac} {asked.address}, which is in its files"
        return self._record(Cause.DIVERGED, why)

    def _cause(self, question: Question, now: float) -> tuple[Cause, str] | None:
        """Return the fault after two unanswered questions; None: not known yet."""
        seen = activity(self.process.pid)
        if seen is None:
            return None  # it died, which its pidfd shows
        question.misses += 1
        if question.misses == 1:
            self._ticks = seen.ticks
        if question.misses < ENOUGH:
            return None
        symptoms = Symptoms(
            state=str(seen).removeprefix("state "),
            worked=seen.ticks > self._ticks,
            waiting=waiting(self.process.pid),
            silent_s=now - self._heard_at,
        )
        return verdict(symptoms)

    def _look_at_states(self) -> bool:
        """Find a stopped helper, and without DNS a stopped dnsmasq, at the second look."""
        pids = [(Cause.HELPER, self.process.helper)]
        if self._dns is None:
            pids.append((Cause.STOPPED, self.process.pid))
        seen = {cause: found for cause, pid in pids if pid and (found := activity(pid))}
        before, self._stopped = self._stopped, {one for one in seen if seen[one].stopped}
        news = False
        for cause in self._stopped & before:
            what = (
                "it" if cause is Cause.STOPPED else f"its lease helper (pid {self.process.helper})"
            )
            news |= self._record(cause, f"{what} hangs ({seen[cause]})")
        if Cause.HELPER in before - self._stopped:
            news |= self._server.health.clear(Cause.HELPER)
        return news

    def _record(self, cause: Cause, why: str) -> bool:
        return self._server.health.record(Fault(self.process, cause, why))


def _has(range_: DhcpRange, reservation: Reservation | None) -> bool:
    return reservation is not None and range_.subnet_id == reservation.subnet_id
