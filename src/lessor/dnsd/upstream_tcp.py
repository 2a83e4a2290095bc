"""Asks upstream servers over TCP: for clients that ask over TCP, because an answer is long.

A socket has one question at a time. A client has one socket at a time: silent servers cost the
client that asks them.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from lessor.core.dns.message import TCP_SIZE, ask_upstream, read_reply
from lessor.dnsd.clients import Client
from lessor.dnsd.loop import IN, OUT, Loop
from lessor.dnsd.open_question import OpenQuestion
from lessor.dnsd.sockets import disconnect

TRY_S = 2.0  # from the connection to the answer
_LENGTH = struct.Struct("!H")
_IDS = 1 << 16

# gets an answer and its rcode; None: there was none
Took = Callable[[OpenQuestion, bytes, int | None], None]


class _Call:
    """A socket with the question that it has now."""

    __slots__ = ("question", "received", "sent", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.question: OpenQuestion | None = None
        self.sent = False
        self.received = bytearray()


class UpstreamTcp:
    """The sockets of one DHCP server for TCP.

    Args:
        loop: calls it back.
        sockets: that it owns from now on.
        took: gets each answer.
    """

    def __init__(self, loop: Loop, sockets: list[socket.socket], took: Took) -> None:
        self._loop = loop
        self._took = took
        self._calls = [_Call(sock) for sock in sockets]
        self._queue: deque[OpenQuestion] = deque()

    def ask(self, question: OpenQuestion) -> None:
        """Ask, as soon as a socket is free."""
        self._queue.append(question)
        tries = question.tries
        self._loop.later(TRY_S, lambda: self._time_over(question, tries))
        self._next()

    def close(self) -> None:
        """Close the sockets."""
        for call in self._calls:
            self._loop.remove(call.sock)
            call.sock.close()
        self._calls.clear()
        self._queue.clear()

    def _next(self) -> None:
        """Begin with waiting questions whose clients have no socket yet."""
        for question in list(self._queue):
            family = socket.AF_INET6 if ":" in question.asked[0] else socket.AF_INET
            of_family = [one for one in self._calls if one.sock.family == family]
            free = next((one for one in of_family if one.question is None), None)
            if free is not None and _client(question) not in self._busy():
                self._queue.remove(question)
                self._begin(free, question)
            elif not of_family:
                self._queue.remove(question)
                self._took(question, b"", None)

    def _busy(self) -> list[Client]:
        return [_client(one.question) for one in self._calls if one.question is not None]

    def _begin(self, call: _Call, question: OpenQuestion) -> None:
        call.question, call.sent = question, False
        call.received.clear()
        try:
            call.sock.connect(question.asked)
        except BlockingIOError:
            pass
        except OSError:  # no route; not at once, for a queue of these would go deep
            self._loop.later(0, partial(self._end, call, b"", None))
            return
        self._loop.add(call.sock, partial(self._ready, call), OUT)

    def _ready(self, call: _Call, _: int) -> None:
        question = call.question
        if question is None:
            return
        try:
            if not call.sent:
                question.number = secrets.randbelow(_IDS)
                message = ask_upstream(question.question, question.number)
                call.sock.sendall(_LENGTH.pack(len(message)) + message)
                call.sent = True
                self._loop.change(call.sock, IN)
                return
            received = call.sock.recv(TCP_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self._end(call, b"", None)
            return
        call.received += received
        self._read(call, question, is_over=not received)

    def _read(self, call: _Call, question: OpenQuestion, *, is_over: bool) -> None:
        size = _LENGTH.size
        if len(call.received) >= size:
            (length,) = _LENGTH.unpack_from(call.received)
            if len(call.received) >= size + length:
                message = bytes(call.received[size : size + length])
                reply = read_reply(message)
                wire = question.question.wire.lower()
                right = reply and reply.id == question.number and reply.wire == wire
                self._end(call, message if right else b"", reply.rcode if right and reply else None)
                return
        if is_over:
            self._end(call, b"", None)

    def _time_over(self, question: OpenQuestion, tries: int) -> None:
        if question.closed or question.tries != tries:
            return
        for call in self._calls:
            if call.question is question:
                self._end(call, b"", None)
                return
        if question in self._queue:
            self._queue.remove(question)
            self._took(question, b"", None)

    def _end(self, call: _Call, message: bytes, rcode: int | None) -> None:
        question, call.question = call.question, None
        self._loop.remove(call.sock)  # epoll would report an idle one as hung up all the time
        with suppress(OSError):
            disconnect(call.sock)
        if question is not None:
            self._took(question, message, rcode)
        self._next()


def _client(question: OpenQuestion) -> Client:
    return next(iter(question.askers.values())).client
