"""DNS of one DHCP server: its sockets, its clients, and what becomes of a question."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from functools import partial

from lessor.core.dhcp.limit import Limit
from lessor.core.dns.answer import answer
from lessor.core.dns.message import (
    NOERROR,
    SERVFAIL,
    TCP_SIZE,
    Question,
    read_question,
    respond,
)
from lessor.core.dns.zone import Names, Range, Zone
from lessor.dnsd.clients import QUESTIONS, Client, Clients
from lessor.dnsd.connections import Connection, Connections
from lessor.dnsd.loop import Loop
from lessor.dnsd.open_question import Asker
from lessor.dnsd.ready import ReadyAnswers, new_mark
from lessor.dnsd.sockets import Sockets, packed
from lessor.dnsd.upstream import Upstream

BATCH = 32  # questions of a round: one network's flood delays others by a millisecond
MESSAGE = 4096  # octets that are read of a question over UDP
FORGET_S = 60.0


class Service:
    """DNS of one server, from now until `close`.

    Args:
        loop: calls it back.
        connections: those of the host.
        ready: the same.
        zone: its settings.
        names: its names.
        is_complete: returns whether it has all names; without, it does not say that one is missing.
        host_servers: returns the host's own name servers.
        limit: of a client's questions.

    Attributes:
        counts: what became of questions: answered, forwarded, malformed, limited, strangers.
    """

    def __init__(
        self,
        loop: Loop,
        connections: Connections,
        ready: ReadyAnswers,
        zone: Zone,
        names: Names,
        *,
        is_complete: Callable[[], bool],
        host_servers: Callable[[], tuple[str, ...]],
        limit: Limit = QUESTIONS,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._loop = loop
        self._connections = connections
        self._zone = zone
        self._names = names
        self._is_complete = is_complete
        self._host_servers = host_servers
        self._clients = Clients(zone, limit)
        self._sockets = Sockets()
        self._ready = ready
        self._marks: dict[bytes, int] = {}  # of answers, by the address that was asked
        self._upstream = Upstream(loop, [], [], self._servers)
        self._closed = False
        loop.later(FORGET_S, self._forget)

    @property
    def open(self) -> int:
        """How many questions wait for upstream servers."""
        return self._upstream.open

    @property
    def silent(self) -> tuple[str, ...]:
        """Upstream servers that have not answered lately."""
        return self._upstream.silent

    @property
    def has_sockets(self) -> bool:
        """Whether it is asked at all."""
        return bool(self._sockets.udp)

    def use(self, zone: Zone) -> None:
        """Take other settings."""
        self._zone = zone
        self._clients.use(zone)
        self.changed()

    def changed(self) -> None:
        """Answer from the names as they are now."""
        self._marks = {address: new_mark() for address in self._marks}

    def serve(self, sockets: Sockets) -> None:
        """Serve on these sockets, and close those before.

        Without listening ones those before stay, and these ask upstream servers from now on.
        """
        if not sockets.udp:
            self._upstream.close()
            self._upstream = self._asking_by(sockets)
            return
        self._close_sockets()
        self._sockets = sockets
        self._marks = {self._range(sock): new_mark() for sock in sockets.udp}
        self._upstream = self._asking_by(sockets)
        for sock in sockets.udp:
            at = self._range(sock)
            self._loop.add(sock, partial(self._udp_ready, sock, at))
        for sock in sockets.tcp:
            at = self._range(sock)
            self._loop.add(sock, partial(self._tcp_ready, sock, at))

    def _asking_by(self, sockets: Sockets) -> Upstream:
        return Upstream(self._loop, sockets.ask_udp, sockets.ask_tcp, self._servers)

    def close(self) -> None:
        """Serve no more."""
        self._closed = True
        self._close_sockets()

    def _close_sockets(self) -> None:
        self._upstream.close()
        for sock in (*self._sockets.udp, *self._sockets.tcp):
            self._loop.remove(sock)
            sock.close()
        self._connections.close_of(self._clients)

    def _servers(self) -> tuple[str, ...]:
        """Return the upstream servers, without this server itself."""
        own = {one.server for one in self._zone.ranges}
        listed = self._host_servers() if self._zone.follows_host else self._zone.upstream
        return tuple(one for one in listed if packed(one) not in own)

    def _range(self, sock: socket.socket) -> bytes:
        return packed(sock.getsockname()[0])

    def _at(self, address: bytes) -> Range:
        """Return the subnet whose clients ask this address."""
        ranges = self._zone.ranges
        return next((one for one in ranges if one.server == address), ranges[0])

    def _udp_ready(self, sock: socket.socket, address: bytes, _: int) -> None:
        clients, now, mark = self._clients, self._loop.now, self._marks[address]
        for _ in range(BATCH):
            try:
                message, source = sock.recvfrom(MESSAGE)
            except OSError:
                return
            client = clients.get(source[0])
            if client is None:
                self.counts["strangers"] += 1
            elif not client.may_ask(clients.limit, now):
                self.counts["limited"] += 1
            elif (reply := self._ready.get(mark, message)) is not None:
                self.counts["answered"] += 1
                _send_to(sock, source, reply)
            else:
                self._take_udp(message, client, sock, source, address)

    def _take_udp(
        self,
        message: bytes,
        client: Client,
        sock: socket.socket,
        source: tuple[str, int],
        address: bytes,
    ) -> None:
        question = read_question(message)
        if question is None:
            return
        found = self._answer(question, address, question.size)
        if found is None:
            send = partial(_send_to, sock, source)
            same = (source, question.id, question.wire)
            asker = Asker(client, question, question.size, send, same)
            self._upstream.ask(asker, tcp=False)
            return
        reply, lasts = found
        if lasts:
            self._ready.put(self._marks[address], message, reply)
        _send_to(sock, source, reply)

    def _tcp_ready(self, sock: socket.socket, address: bytes, _: int) -> None:
        take = partial(self._take_tcp, address)
        self._connections.accept(sock, self._clients, take)

    def _take_tcp(self, address: bytes, message: bytes, connection: Connection) -> bool:
        """Take a question of a connection; False: the client asks too much, or no question."""
        if not connection.client.may_ask(self._clients.limit, self._loop.now):
            self.counts["limited"] += 1
            return False
        question = read_question(message)
        if question is None:
            return False
        found = self._answer(question, address, TCP_SIZE)
        if found is None:
            send = partial(self._connections.send, connection)
            same = (connection, question.id, question.wire)
            asker = Asker(connection.client, question, TCP_SIZE, send, same)
            self._upstream.ask(asker, tcp=True)
        else:
            self._connections.send(connection, found[0])
        return True

    def _answer(self, question: Question, address: bytes, size: int) -> tuple[bytes, bool] | None:
        """Return an answer, and whether it is the same next time; None: it is asked upstream."""
        if question.rcode != NOERROR:
            self.counts["malformed"] += 1
            return respond(question, question.rcode, size=size), False
        found = answer(self._zone, self._names, question, self._at(address), size)
        if found is None:
            self.counts["forwarded"] += 1
            return None
        self.counts["answered"] += 1
        is_known = self._is_complete() or bool(found.records.data)
        reply = respond(question, found.rcode if is_known else SERVFAIL, found.records, size=size)
        return reply, is_known and len(found.records.data) <= 1

    def _forget(self) -> None:
        if not self._closed:
            self._clients.forget_idle(self._loop.now)
            self._loop.later(FORGET_S, self._forget)


def _send_to(sock: socket.socket, source: tuple[str, int], message: bytes) -> None:
    try:
        sock.sendto(message, source)
    except OSError:  # no route, or the buffer is full: the client asks again
        return
