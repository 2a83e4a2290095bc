"""Answers the agent's messages."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from lessor.daemon.control import close_all
from lessor.dhcpd.messages import (
    BATCH,
    PAGE,
    PROTOCOL,
    QUESTION,
    Answer,
    Close,
    Done,
    Drop,
    Dump,
    Figures,
    Hello,
    Open,
    Page,
    Put,
    Refused,
    Seed,
    ServerState,
    Status,
    Welcome,
    read,
)
from lessor.dhcpd.reporter import Reporter
from lessor.dhcpd.served import Served
from lessor.dhcpd.servers import Servers
from lessor.dhcpd.sockets import Sockets
from lessor.errors import Invalid, NotFound

Told = Hello | Close | Put | Drop | Dump | Seed | Status  # all but `Open`
SHOWN, REASON = 255, 1000  # characters of a problem, of a refusal
PAGE_BYTES = 96 << 10  # of what comes in pages, in one answer


class Desk:
    """Answers messages about these servers.

    Args:
        servers: what they are about.
        reporter: of their lease events.
        version: of the program.
        clock: seconds since 1970.
        listen: called with a server that has other sockets.
    """

    def __init__(
        self,
        servers: Servers,
        reporter: Reporter,
        version: str,
        clock: Callable[[], float],
        listen: Callable[[Served], None],
    ) -> None:
        self._servers = servers
        self._reporter = reporter
        self._version = version
        self._clock = clock
        self._since = clock()
        self._listen = listen

    def answer(self, data: bytes, fds: Sequence[int]) -> Answer:
        """Answer a message; what does not pass along with it is closed.

        Args:
            data: the message.
            fds: descriptors that came with it.
        """
        try:
            question = read(QUESTION, data)
            sockets = _sockets(fds) if isinstance(question, Open) and fds else None
        except Invalid as error:
            close_all(fds)
            return Refused(str(error)[:REASON])
        try:
            if isinstance(question, Open):
                return self._open(question, sockets)
            close_all(fds)
            return self._of(question)
        except Invalid as error:
            return Refused(str(error)[:REASON])
        except NotFound as error:
            return Refused(str(error)[:REASON], "unknown")

    def _of(self, question: Told) -> Answer:
        if isinstance(question, Hello):
            return self._hello(question)
        served = self._servers.by_name.get(question.name)
        if served is None:
            raise NotFound(f"there is no server {question.name}")
        if isinstance(question, Dump):
            return self._dump(served, question.after)
        if isinstance(question, Status):
            return self._status(served)
        unsaved = self._change(served, question)
        return Done(served.revision, unsaved[:SHOWN])

    def _change(self, served: Served, question: Put | Drop | Seed | Close) -> str:
        """Make a change; return why it is not on disk."""
        match question:
            case Put(entries=entries):
                return self._servers.put(served, entries)
            case Drop(addresses=addresses):
                return self._servers.drop(served, addresses)
            case Seed(leases=leases, complete=complete):
                served.seed(leases, complete=complete)
            case Close():
                self._servers.close(served)
        return ""

    def _hello(self, question: Hello) -> Answer:
        if question.protocol != PROTOCOL:
            raise Invalid(f"protocol {question.protocol} is not spoken here, but {PROTOCOL}")
        following = sorted(name for name in self._servers.by_name if name > question.after)
        found = [_state(self._servers.by_name[name]) for name in following[:PAGE]]
        more = len(following) > PAGE
        problem = self._servers.problem[:SHOWN]
        return Welcome(os.getpid(), self._version, tuple(found), more, problem)

    def _open(self, question: Open, sockets: Sockets | None) -> Answer:
        served = self._servers.open(question.header, sockets)
        if sockets is not None:
            self._listen(served)
        return Done(served.revision, "not on disk yet" if served.header_unsaved else "")

    def _dump(self, served: Served, after: bytes) -> Page:
        texts, more = self._servers.texts(served, after, BATCH)
        size = 0
        page: dict[bytes, bytes] = {}
        for address, text in texts.items():
            size += len(text) + 16
            if page and size > PAGE_BYTES:
                return Page(served.revision, page, more=True)
            page[address] = text
        return Page(served.revision, page, more)

    def _status(self, served: Served) -> Figures:
        return Figures(
            since=self._since,
            reservations=len(served.loaded),
            leases=len(served.leases.live),
            heard=served.heard,
            answered=served.answered,
            notes=dict(served.notes),
            clients=_last_clients(served),
            unreported=self._reporter.waiting,
            unreported_why=self._reporter.problem[:SHOWN],
            lost=self._reporter.lost,
            unsaved=len(served.unsaved) + served.header_unsaved,
        )


def _state(served: Served) -> ServerState:
    return ServerState(
        served.name,
        served.revision,
        served.header.fingerprint,
        served.attach(),
        served.leases.complete,
    )


def _last_clients(served: Served) -> dict[bytes, dict[str, int]]:
    """Return the counters of the last clients, as many as there is room for."""
    found: dict[bytes, dict[str, int]] = {}
    size = 0
    for mac, notes in reversed(served.clients.items()):
        size += sum(len(note) + 16 for note in notes)
        if size > PAGE_BYTES:
            break
        found[mac] = dict(notes)
    return found


def _sockets(fds: Sequence[int]) -> Sockets:
    """Return the sockets that came with a message.

    Raises:
        Invalid: something else came; the descriptors stay the caller's.
    """
    made: list[socket.socket] = []
    with suppress(OSError):
        made.extend(socket.socket(fileno=fd) for fd in fds)
    kinds = [(one.family, one.type) for one in made]
    if kinds == [(socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_INET, socket.SOCK_DGRAM)]:
        for one in made:
            one.setblocking(False)
        return Sockets(*made)
    for one in made:
        one.detach()
    raise Invalid("a server's sockets are one of packets and one of UDP")
