"""The agent's end of lessor-dhcpd: starts it, and tells it what to serve.

Calls wait, but not for long: a process that has ended or hangs raises Unavailable. What it had is
on its disk; after `connect` its servers' revisions tell whether that is what the caller knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from itertools import islice
from pathlib import Path
from typing import TypeVar

from lessor.core.dhcp.packed import LAYOUT, pack
from lessor.core.dhcp.rows import client_ids, mac_of, ready
from lessor.core.firewall.tap_guard_rules import KNOWN_MARK
from lessor.core.lease_line import NONE, line_name
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpRange, DhcpServer, Reservation
from lessor.daemon.home import Home
from lessor.daemon.line import ANSWER_S, Line
from lessor.daemon.process import Process, end, find, start
from lessor.dhcpd.devices import Devices
from lessor.dhcpd.messages import (
    ANSWER,
    BATCH,
    MAX_LEASES,
    Answer,
    Close,
    Device,
    Done,
    Drop,
    Dump,
    Entry,
    Figures,
    Header,
    Held,
    Hello,
    Open,
    Page,
    Put,
    Question,
    Refused,
    Seed,
    ServerState,
    Status,
    Welcome,
    encode,
    read,
)
from lessor.dhcpd.sockets import open_sockets
from lessor.errors import Conflict, Invalid, NotFound, Unavailable
from lessor.wire import encode as to_json

PROGRAM = "lessor.dhcpd"
BATCH_BYTES = 96 << 10  # of reservations in one message
IPV4 = 4

T = TypeVar("T")
A = TypeVar("A", Welcome, Done, Page, Figures)


class Dhcpd:
    """The process of one host. For one thread.

    Args:
        folder: of the process.
        inbox: folder of the inbox that it reports lease events to.
        version: of this program; another one that runs tells its own.
        answer_s: seconds after which it hangs.
    """

    def __init__(
        self, folder: Path, inbox: Path, version: str, *, answer_s: float = ANSWER_S
    ) -> None:
        self._home = Home(folder)
        self._devices = Devices(folder)
        self._inbox = inbox
        self._version = version
        self._answer_s = answer_s
        self._process: Process | None = None
        self._line: Line | None = None
        self._lost = ""  # why there is no line any more

    @property
    def process(self) -> Process | None:
        """The process that was connected last; its pidfd is readable once it has ended."""
        return self._process

    def connect(self) -> Welcome:
        """Find the process, or start it; return what it says of itself, with all its servers.

        Raises:
            Unavailable: it does not start, or hangs.
            Conflict: one runs that speaks another protocol; `end` it.
            OSError: its folder can't be used.
        """
        self.close()
        self._process = start(self._home, PROGRAM, (str(self._inbox), self._version))
        self._line = Line(self._home, self._process)
        return self.hello()

    def join(self) -> Welcome | None:
        """Connect to the process if one runs; return what it says of itself, None: none does.

        Raises:
            Unavailable: it hangs.
        """
        self.close()
        self._process = find(self._home)
        if self._process is None:
            return None
        self._line = Line(self._home, self._process)
        return self.hello()

    def hello(self) -> Welcome:
        """Ask the process for its servers.

        Raises:
            Unavailable: it has ended, or hangs.
        """
        found: list[ServerState] = []
        while True:
            answer = self._ask(Hello(after=found[-1].name if found else ""), Welcome)
            found += answer.servers
            if not answer.more or not answer.servers:
                return Welcome(answer.pid, answer.version, tuple(found), False, answer.problem)

    def open(self, header: Header, *, sockets: bool = True) -> Done:
        """Add a server, or change it.

        Args:
            header: the server.
            sockets: open its sockets; False: it has them.

        Raises:
            Unavailable: the process has ended, or hangs.
            OSError: there is no such interface or namespace, or the device can't be noted.
        """
        if not sockets:
            return self._ask(Open(header), Done)
        made = open_sockets(header.device)
        try:
            self._devices.write(header.name, header.device)
            return self._ask(Open(header), Done, [one.fileno() for one in made])
        finally:
            made.close()

    def close_server(self, name: str) -> None:
        """Remove a server with its reservations; nothing happens if there is none.

        Raises:
            Unavailable: the process has ended, or hangs.
            OSError: its device can't be forgotten.
        """
        self._devices.remove(name)
        with suppress(NotFound):
            self._ask(Close(name), Done)

    def put(self, name: str, entries: Iterable[Entry]) -> Done:
        """Add or replace reservations; each batch of them as a whole.

        Raises:
            Unavailable: the process has ended, or hangs.
            NotFound: it has no such server.
            Conflict: it refuses a batch; those before it were put.
        """
        done = Done(0)
        for batch in _batches(entries):
            done = self._ask(Put(name, batch), Done)
        return done

    def drop(self, name: str, addresses: Iterable[IPv4Address]) -> Done:
        """Remove reservations and their leases.

        Raises:
            Unavailable: the process has ended, or hangs.
            NotFound: it has no such server.
        """
        done = Done(0)
        for batch in _pieces((address.packed for address in addresses), BATCH):
            done = self._ask(Drop(name, batch), Done)
        return done

    def dump(self, name: str) -> tuple[int, dict[IPv4Address, bytes]]:
        """Return a server's revision, and the texts of its reservations by address.

        Raises:
            Unavailable: the process has ended, or hangs.
            NotFound: it has no such server.
            Conflict: it changes meanwhile.
        """
        found: dict[IPv4Address, bytes] = {}
        revision, after = 0, b""
        while True:
            page = self._ask(Dump(name, after), Page)
            if revision not in {0, page.revision}:
                raise Conflict(f"the reservations of {name} change while they are read")
            revision = page.revision
            found |= {IPv4Address(key): text for key, text in page.reservations.items()}
            after = max(page.reservations, default=after)
            if not page.more:
                return revision, found

    def seed(self, name: str, leases: Iterable[LiveLease]) -> None:
        """Tell of all live leases that clients have from before the process started.

        Raises:
            Unavailable: the process has ended, or hangs.
            NotFound: it has no such server.
        """
        in_order = sorted(leases, key=lambda lease: lease.expires_at or 0)  # as they will expire
        for batch in _pieces(map(_held, in_order), MAX_LEASES):
            self._ask(Seed(name, batch), Done)
        self._ask(Seed(name, (), complete=True), Done)

    def status(self, name: str) -> Figures:
        """Return a server's counters.

        Raises:
            Unavailable: the process has ended, or hangs.
            NotFound: it has no such server.
        """
        return self._ask(Status(name), Figures)

    def end(self) -> None:
        """End the process that runs, also one that hangs.

        Raises:
            LessorError: it does not end.
        """
        self.close()
        end(self._home)

    def close(self) -> None:
        """Let go of the process; it goes on."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._process is not None:
            self._process.close()
            self._process = None

    def _ask(self, question: Question, kind: type[A], fds: Sequence[int] = ()) -> A:
        if self._line is None:
            raise Unavailable(self._lost or "lessor-dhcpd is not connected")
        try:
            answer = read(ANSWER, self._line.ask(encode(question), fds, self._answer_s))
        except (Unavailable, Invalid) as error:  # the next answer would be of this question
            self._line.close()
            self._line = None
            self._lost = f"lessor-dhcpd: {error}"
            raise Unavailable(self._lost) from error
        return _checked(answer, kind)


def header_of(
    server: DhcpServer, *, fingerprint: str = "", marked: bool = False, rapid_commit: bool = False
) -> Header:
    """Return the header of a server.

    Args:
        server: the server.
        fingerprint: of what the caller wants to recognize.
        marked: it hears only frames that the bridge's firewall let in.
        rapid_commit: a DISCOVER that asks for it gets an ACK (RFC 4039).
    """
    ranges = (one for one in server.ranges if one.cidr.version == IPV4)
    device = Device(server.interface, server.namespace, KNOWN_MARK, marked)
    addresses = tuple(sorted({one.server.packed for one in ranges}))
    return Header(server.name, device, addresses, LAYOUT, fingerprint, rapid_commit=rapid_commit)


def entry_of(one: Reservation, range_: DhcpRange, lease_time: int) -> tuple[Entry, tuple[str, ...]]:
    """Return a reservation as the process takes it, and why options of its port were left out."""
    row, problems = ready(one, range_, lease_time)
    name = line_name(one.hostname)
    entry = Entry(
        address=one.address.packed,
        mac=mac_of(one),
        clients=client_ids(one),
        hostname="" if name == NONE else name,
        row=pack(row),
        reservation=to_json(one),
    )
    return entry, problems


def _checked(answer: Answer, kind: type[A]) -> A:
    if isinstance(answer, Refused):
        refusal = NotFound if answer.kind == "unknown" else Conflict
        raise refusal(f"lessor-dhcpd: {answer.reason}")
    if not isinstance(answer, kind):
        raise Unavailable(f"lessor-dhcpd answers with {type(answer).__name__}")
    return answer


def _batches(entries: Iterable[Entry]) -> Iterator[tuple[Entry, ...]]:
    """Yield entries in batches that fit into a message each."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        more = len(entry.row) + len(entry.reservation) + len(entry.hostname) + 64
        more += sum(map(len, entry.clients))
        if batch and (len(batch) == BATCH or size + more > BATCH_BYTES):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(entry)
        size += more
    if batch:
        yield tuple(batch)


def _pieces(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    rest = iter(items)
    while piece := tuple(islice(rest, size)):
        yield piece


def _held(lease: LiveLease) -> Held:
    return Held(
        lease.address.packed,
        bytes.fromhex(lease.mac.replace(":", "")),
        bytes.fromhex(lease.client_id.replace(":", "")),
        lease.expires_at,
    )
