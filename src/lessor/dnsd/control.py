"""Does what the agent says on the control socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import msgspec

from lessor.daemon.control import Closed, Listener, Peer, close_all
from lessor.dnsd.host import Host
from lessor.dnsd.loop import Loop
from lessor.dnsd.messages import (
    MAX_ENTRIES,
    READ_BY_PROCESS,
    VERSION,
    Change,
    Close,
    Counts,
    Done,
    Dump,
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
from lessor.errors import LessorError


class Control:
    """The control socket and its connections.

    Args:
        loop: calls it back.
        listener: of the socket.
        host: the servers.
        version: of the program.
    """

    def __init__(self, loop: Loop, listener: Listener, host: Host, version: str) -> None:
        self._version = version
        self._loop = loop
        self._listener = listener
        self._host = host
        self._peers: dict[Peer, dict[str, list[socket.socket]]] = {}  # sockets that wait for `Open`
        loop.add(listener, self._accept)

    def _accept(self, _: int) -> None:
        peer = self._listener.accept(len(self._peers))
        if peer is not None:
            self._peers[peer] = {}
            self._loop.add(peer, partial(self._ready, peer))

    def _ready(self, peer: Peer, _: int) -> None:
        """Take one message of a round: questions come in between."""
        try:
            received = peer.receive()
            if received is not None:
                data, fds = received
                peer.send(encode(self._answer(data, fds, self._peers[peer])))
        except Closed:
            self._close(peer)

    def _close(self, peer: Peer) -> None:
        for sockets in self._peers.pop(peer).values():
            _close_sockets(sockets)
        self._loop.remove(peer)
        peer.close()

    def _answer(
        self, data: bytes, fds: Sequence[int], staged: dict[str, list[socket.socket]]
    ) -> OfProcess:
        try:
            message = READ_BY_PROCESS.decode(data)
        except (msgspec.MsgspecError, ValueError) as error:
            close_all(fds)
            return Refused(f"a message is malformed: {error}")
        if isinstance(message, Sockets):
            staged.setdefault(message.server, []).extend(_sockets(fds))
            return Done(0)
        close_all(fds)
        try:
            return self._do(message, staged)
        except (LessorError, OSError) as error:
            return Refused(str(error))

    def _do(self, message: OfAgent, staged: dict[str, list[socket.socket]]) -> OfProcess:
        host = self._host
        answer: OfProcess = Done(0)
        match message:
            case Hello():
                answer = Servers(VERSION, self._version, tuple(host.states()), tuple(host.problems))
            case Open(header):
                answer = Done(host.open(header, staged.pop(header.name, [])))
            case Close(name):
                host.drop(name)
            case Change(name, drop, put, complete):
                answer = Done(host.change(name, drop, put, complete=complete))
            case Dump(name, after):
                page = host.page(name, after, MAX_ENTRIES)
                answer = Names(tuple(page.entries), page.next)
            case Resolvers(addresses):
                host.resolvers = addresses
            case Status(name):
                answer = Counts(*host.counts(name))
        return answer


def _sockets(fds: Iterable[int]) -> Iterator[socket.socket]:
    """Yield the sockets among descriptors, and close the others."""
    for fd in fds:
        try:
            sock = socket.socket(fileno=fd)
        except OSError:
            os.close(fd)
            continue
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            yield sock
        else:
            sock.close()


def _close_sockets(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
