"""Asks the upstream servers of one DHCP server, in strict order, over UDP.

A socket has a port that the kernel chose at random, for one question or for those of two seconds.
An answer counts if it comes from the server that was asked, with the id and the question. A server
that has left several questions in a row unanswered is passed over for a while: in strict order each
further question would wait for it.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from lessor.core.dns.message import (
    FORMERR,
    NOERROR,
    NXDOMAIN,
    REFUSED,
    SERVFAIL,
    ask_upstream,
    read_reply,
    respond,
)
from lessor.dnsd.clients import MAX_OPEN as MAX_OPEN_OF_CLIENT
from lessor.dnsd.clients import Client
from lessor.dnsd.loop import ERR, Loop
from lessor.dnsd.open_question import PORT, Asker, OpenQuestion, Server, key
from lessor.dnsd.sockets import disconnect
from lessor.dnsd.upstream_tcp import UpstreamTcp

TRY_S = 1.5  # of one server; stub resolvers wait for 5 s
MANY = 1000  # open questions of a server, from which on each client may have few
FEW = 5
MAX_OPEN = 4000  # of a server
SILENT = 3  # unanswered questions in a row, after which a server is passed over
PASSED_OVER_S = 10.0
FRESH_S = 2.0  # a socket takes further questions; the other one's answers come within TRY_S
REPLY = 4096  # octets that are read of an answer: UDP_SIZE was asked for
BATCH = 32  # answers that are read at once
_ERROR_QUEUE = 0x2000  # MSG_ERRQUEUE
_IDS = 1 << 16


class _Asking:
    """A socket, with the questions that its answers are for."""

    __slots__ = ("since", "sock", "waiting")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.since = 0.0
        self.waiting: dict[int, OpenQuestion] = {}


class Upstream:
    """The upstream servers of one DHCP server.

    Args:
        loop: calls it back.
        udp: sockets that it owns from now on.
        tcp: the same.
        servers: returns the addresses of the servers, in order.
    """

    def __init__(
        self,
        loop: Loop,
        udp: list[socket.socket],
        tcp: list[socket.socket],
        servers: Callable[[], tuple[str, ...]],
    ) -> None:
        self._loop = loop
        self._servers = servers
        self._sockets: dict[int, list[_Asking]] = {}
        self._open: dict[object, OpenQuestion] = {}
        self._silent: dict[Server, tuple[int, float]] = {}  # questions in a row, since when
        self._tcp = UpstreamTcp(loop, tcp, self._took)
        for sock in udp:
            asking = _Asking(sock)
            self._sockets.setdefault(sock.family, []).append(asking)
            loop.add(sock, partial(self._readable, asking))

    @property
    def open(self) -> int:
        """How many questions are open."""
        return len(self._open)

    @property
    def silent(self) -> tuple[str, ...]:
        """Addresses of the servers that are passed over now."""
        return tuple(server[0] for server in self._silent if self._is_passed_over(server))

    def ask(self, asker: Asker, *, tcp: bool) -> None:
        """Ask for a client."""
        same = self._open.get(key(asker.question, tcp=tcp))
        if same is not None and (asker.source in same.askers or self._may_ask(asker.client)):
            same.join(asker)
            return
        servers = self._in_order()
        if same is not None or not servers or not self._may_ask(asker.client):
            rcode = SERVFAIL if servers else REFUSED
            asker.send(respond(asker.question, rcode, size=asker.size))
            return
        question = OpenQuestion(asker.question, tcp, servers)
        question.join(asker)
        self._open[question.key] = question
        self._go_on(question)

    def close(self) -> None:
        """Close the sockets; what is open stays unanswered."""
        for asking in (one for group in self._sockets.values() for one in group):
            self._loop.remove(asking.sock)
            asking.sock.close()
        self._tcp.close()
        for question in self._open.values():
            question.drop()
        self._open.clear()

    def _may_ask(self, client: Client) -> bool:
        """Return whether a client may have one more open question."""
        if len(self._open) >= MAX_OPEN:
            return False
        return client.open < (MAX_OPEN_OF_CLIENT if len(self._open) < MANY else FEW)

    def _in_order(self) -> list[Server]:
        """Return the servers, those that have been silent lately behind the others."""
        servers = [(one, PORT) for one in self._servers()]
        return sorted(servers, key=self._is_passed_over)

    def _is_passed_over(self, server: Server) -> bool:
        count, since = self._silent.get(server, (0, 0.0))
        return count >= SILENT and self._loop.now - since < PASSED_OVER_S

    def _go_on(self, question: OpenQuestion) -> None:
        """Put a question to its next server; without one, answer it."""
        while not question.closed and question.next():
            if question.tcp:
                self._tcp.ask(question)
                return
            with suppress(OSError):  # no route: the next one
                self._send(question)
                return
        self._finish(question)

    def _send(self, question: OpenQuestion) -> None:
        asking = self._choose(socket.AF_INET6 if ":" in question.asked[0] else socket.AF_INET)
        number = secrets.randbelow(_IDS)
        while number in asking.waiting:
            number = secrets.randbelow(_IDS)
        asking.sock.sendto(ask_upstream(question.question, number), question.asked)
        question.number = number
        asking.waiting[number] = question
        tries = question.tries
        self._loop.later(TRY_S, lambda: self._time_over(asking, number, question, tries))

    def _choose(self, family: int) -> _Asking:
        """Return the socket for the next question.

        Raises:
            OSError: there is none of this family.
        """
        group = self._sockets.get(family)
        if not group:
            raise OSError("no socket of this family")
        asking = group[0]
        if asking.waiting and self._loop.now - asking.since > FRESH_S:
            group.append(group.pop(0))
            asking = group[0]
        if not asking.waiting:
            disconnect(asking.sock)
            asking.since = self._loop.now
        return asking

    def _readable(self, asking: _Asking, events: int) -> None:
        if events & ERR:
            self._read_errors(asking)
        for _ in range(BATCH):
            try:
                message, source = asking.sock.recvfrom(REPLY)
            except BlockingIOError:
                return
            except OSError:  # what an ICMP error left behind
                continue
            self._read(asking, message, source[:2])

    def _read(self, asking: _Asking, message: bytes, source: Server) -> None:
        reply = read_reply(message)
        question = asking.waiting.get(reply.id) if reply else None
        if reply is None or question is None or source != question.asked:
            return
        is_refusal = reply.rcode not in (NOERROR, NXDOMAIN)
        same = reply.wire == question.question.wire.lower()
        if not same and (reply.wire or not is_refusal):  # an error may come without its question
            return
        del asking.waiting[reply.id]
        self._took(question, message if same else b"", reply.rcode)

    def _took(self, question: OpenQuestion, message: bytes, rcode: int | None) -> None:
        """Take an answer; None as `rcode`: there was none, over TCP."""
        if rcode is None:
            self._was_silent(question.asked)
        else:
            self._silent.pop(question.asked, None)
        if rcode in (NOERROR, NXDOMAIN):
            self._finish(question, message)
            return
        if rcode is not None:
            question.exclude(message if rcode != FORMERR or question.question.edns else b"")
        self._go_on(question)

    def _read_errors(self, asking: _Asking) -> None:
        """Go on with questions whose server is not there: an ICMP error says so."""
        for _ in range(BATCH):
            try:
                message, _, _, source = asking.sock.recvmsg(REPLY, 0, _ERROR_QUEUE)
            except OSError:
                return
            question = asking.waiting.get(int.from_bytes(message[:2])) if message else None
            if question is not None and source and source[:2] == question.asked:
                del asking.waiting[question.number]
                question.exclude(b"")
                self._go_on(question)

    def _time_over(self, asking: _Asking, number: int, question: OpenQuestion, tries: int) -> None:
        if asking.waiting.get(number) is question and question.tries == tries:
            del asking.waiting[number]
            self._was_silent(question.asked)
            self._go_on(question)

    def _was_silent(self, server: Server) -> None:
        count, _ = self._silent.get(server, (0, 0.0))
        self._silent[server] = (count + 1, self._loop.now)

    def _finish(self, question: OpenQuestion, reply: bytes = b"") -> None:
        if not question.closed:
            del self._open[question.key]
            question.finish(reply)
