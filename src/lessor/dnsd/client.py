"""The agent's end: starts the process, and tells it the servers and their names. For one thread.

The process outlives the agent. Its answers are checked: it has no rights, and reads what
guests send.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from lessor.core.dns.zone import Entry, zone_of
from lessor.core.state import DhcpServer
from lessor.daemon.control import MAX_FDS
from lessor.daemon.home import Home
from lessor.daemon.line import Line
from lessor.daemon.process import Process, start
from lessor.dnsd import files
from lessor.dnsd.messages import (
    MAX_ENTRIES,
    READ_BY_AGENT,
    VERSION,
    Change,
    Close,
    Counts,
    Done,
    Dump,
    Header,
    Hello,
    Names,
    OfAgent,
    OfProcess,
    Open,
    Refused,
    Resolvers,
    Servers,
    Sockets,
    Status,
    encode,
)
from lessor.dnsd.sockets import families, open_asking, open_sockets
from lessor.errors import LessorError, Unavailable

PROGRAM = "lessor.dnsd"
A = TypeVar("A", bound=OfProcess)


class Dnsd:
    """A connection to the process, which is started if there is none.

    Args:
        home: the folder of the process.
        version: of this program; a process that is found may have another one.

    Raises:
        Unavailable: it does not start, or does not answer.
        OSError: the folder can't be made.
    """

    def __init__(self, home: Home, version: str) -> None:
        self._home = home
        self.process: Process = start(home, PROGRAM, (version,))
        try:
            self._line = Line(home, self.process)
        except Unavailable:
            self.process.close()
            raise

    def close(self) -> None:
        """End the connection; the process goes on."""
        self._line.close()
        self.process.close()

    def hello(self) -> Servers:
        """Return the servers of the process, its version, and what is wrong.

        Raises:
            LessorError: it is of another version.
        """
        answer = self._ask(Hello(), Servers)
        if answer.version != VERSION:
            raise LessorError(f"{PROGRAM} speaks version {answer.version}, not {VERSION}")
        return answer

    def open(self, server: DhcpServer) -> int:
        """Serve a server with new sockets; return the revision of its names.

        Raises:
            OSError: the namespace is not there, or another program has port 53.
        """
        header = _header(server)
        return self._open(header, open_sockets(header.namespace, header.zone))

    def configure(self, server: DhcpServer) -> int:
        """Serve a server with other settings, at the addresses and in the namespace that it has."""
        header = _header(server)
        before = files.zone(self._home.folder, server.name)
        sockets: list[socket.socket] = []
        if before is None or families(before) != families(header.zone):
            sockets = open_asking(header.namespace, header.zone)
        return self._open(header, sockets)

    def _open(self, header: Header, sockets: Sequence[socket.socket]) -> int:
        try:
            files.write(self._home.folder, header)
            fds = [one.fileno() for one in sockets]
            for some in _pieces(fds, MAX_FDS):
                self._ask(Sockets(header.name), Done, some)
            return self._ask(Open(header), Done).revision
        finally:
            for one in sockets:
                one.close()

    def drop(self, name: str) -> None:
        """Serve a server no more."""
        files.remove(self._home.folder, name)
        self._ask(Close(name), Done)

    def feed(self, name: str, drop: Iterable[Entry], put: Iterable[Entry]) -> int:
        """Drop names of a server, then add others; return the revision after that.

        Until all of it is done, the process denies no name.
        """
        tagged = itertools.chain(((one, False) for one in drop), ((one, True) for one in put))
        some = list(itertools.islice(tagged, MAX_ENTRIES))
        while True:
            more = list(itertools.islice(tagged, MAX_ENTRIES))
            change = Change(
                name,
                tuple(one for one, is_put in some if not is_put),
                tuple(one for one, is_put in some if is_put),
                complete=not more,
            )
            revision = self._ask(change, Done).revision
            if not more:
                return revision
            some = more

    def names(self, name: str) -> Iterator[Entry]:
        """Yield the names that the process has of a server."""
        after: int | None = 0
        while after is not None:
            page = self._ask(Dump(name, after), Names)
            yield from page.entries
            after = page.next

    def use_resolvers(self, addresses: Sequence[str]) -> None:
        """Have servers without upstream servers of their own ask these."""
        self._ask(Resolvers(tuple(addresses)), Done)

    def counts(self, name: str) -> Counts:
        """Return what became of the questions to a server."""
        return self._ask(Status(name), Counts)

    def _ask(self, message: OfAgent, kind: type[A], fds: Sequence[int] = ()) -> A:
        reply = self._line.ask(encode(message), fds)
        answer: OfProcess | None = None
        with suppress(msgspec.MsgspecError, ValueError):
            answer = READ_BY_AGENT.decode(reply)
        if isinstance(answer, Refused):
            raise LessorError(f"{PROGRAM}: {answer.reason[:300]}")
        if not isinstance(answer, kind):
            raise LessorError(f"{PROGRAM} answered {type(message).__name__} with nonsense")
        return answer


def _header(server: DhcpServer) -> Header:
    return Header(server.name, server.namespace, zone_of(server))


def _pieces(fds: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (fds[at : at + size] for at in range(0, len(fds), size))
