"""TCP connections of clients: questions and answers after their lengths.

A connection that is silent, or takes no answers, is closed. A client has few of them, and where
there are too many in all, the idlest is closed: connections that are held open keep nobody out.

Source: RFC 7766.
"""

from __future__ import annotations

import socket
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from lessor.dnsd.clients import MAX_CONNECTIONS, Client, Clients
from lessor.dnsd.loop import IN, OUT, Loop

IDLE_S = 10.0
TOTAL = 1000  # connections of all clients of a host
ACCEPTED = 16  # of a round
READ = 512  # octets of a round: a dozen questions, each of which may have a long answer
MAX_QUESTION = 4096  # octets; with a long name and options it has some 400
MAX_UNSENT = 256 << 10  # octets that a client has not taken
_LENGTH = struct.Struct("!H")


@dataclass(slots=True, eq=False)
class Connection:
    """A connection of a client. `close` is called once, by `Connections`."""

    sock: socket.socket
    client: Client
    clients: Clients  # that it is one of
    active_at: float
    answer: Callable[[bytes, Connection], bool]  # False: it asks too much
    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    waits: bool = False  # for room to send
    closed: bool = False


class Connections:
    """All TCP connections of a host.

    Args:
        loop: calls it back.
        total: maximum number.
        idle_s: seconds without a question or an answer, after which one is closed.
    """

    def __init__(self, loop: Loop, total: int = TOTAL, idle_s: float = IDLE_S) -> None:
        self._loop = loop
        self._total = total
        self._idle_s = idle_s
        self._by_age: OrderedDict[Connection, None] = OrderedDict()  # the idlest first
        self._sweeps = False

    def __len__(self) -> int:
        return len(self._by_age)

    def accept(
        self,
        listening: socket.socket,
        clients: Clients,
        answer: Callable[[bytes, Connection], bool],
    ) -> None:
        """Accept waiting connections of one listening socket."""
        for _ in range(ACCEPTED):
            try:
                sock, source = listening.accept()
            except OSError:  # none, or it has ended meanwhile, or no descriptor is free
                return
            client = clients.get(source[0])
            if client is None or client.connections >= MAX_CONNECTIONS:
                sock.close()
                continue
            sock.setblocking(False)
            self._add(Connection(sock, client, clients, self._loop.now, answer))

    def send(self, connection: Connection, message: bytes) -> None:
        """Send an answer, if the connection is still there."""
        if connection.closed:
            return
        connection.unsent += _LENGTH.pack(len(message)) + message
        self._flush(connection)

    def close_of(self, clients: Clients) -> None:
        """Close the connections of one server's clients."""
        for connection in [one for one in self._by_age if one.clients is clients]:
            self._close(connection)

    def _add(self, connection: Connection) -> None:
        if len(self._by_age) >= self._total:
            self._close(next(iter(self._by_age)))
        connection.client.connections += 1
        self._by_age[connection] = None
        self._loop.add(connection.sock, partial(self._ready, connection))
        if not self._sweeps:
            self._sweeps = True
            self._loop.later(self._idle_s, self._sweep)

    def _ready(self, connection: Connection, events: int) -> None:
        if events & OUT:
            self._flush(connection)
        if connection.closed or not events & ~OUT:
            return
        try:
            data = connection.sock.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.received += data
        if not self._read(connection):
            self._close(connection)

    def _read(self, connection: Connection) -> bool:
        """Answer all whole questions; return whether the connection may stay."""
        buffer, at = connection.received, 0
        while len(buffer) - at >= _LENGTH.size and not connection.closed:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if length > MAX_QUESTION:
                return False
            end = at + _LENGTH.size + length
            if len(buffer) < end:
                break
            self._active(connection)
            if not connection.answer(bytes(buffer[at + _LENGTH.size : end]), connection):
                return False
            at = end
        del buffer[:at]
        return True

    def _flush(self, connection: Connection) -> None:
        try:
            sent = connection.sock.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(connection)
            return
        del connection.unsent[:sent]
        if len(connection.unsent) > MAX_UNSENT:
            self._close(connection)
            return
        if sent:
            self._active(connection)
        if connection.waits != bool(connection.unsent):
            connection.waits = bool(connection.unsent)
            self._loop.change(connection.sock, IN | OUT if connection.waits else IN)

    def _active(self, connection: Connection) -> None:
        connection.active_at = self._loop.now
        self._by_age.move_to_end(connection)

    def _sweep(self) -> None:
        """Close what has been idle; come again while there are connections."""
        while self._by_age:
            idlest = next(iter(self._by_age))
            left = idlest.active_at + self._idle_s - self._loop.now
            if left > 0:
                self._loop.later(left, self._sweep)
                return
            self._close(idlest)
        self._sweeps = False

    def _close(self, connection: Connection) -> None:
        if connection.closed:
            return
        connection.closed = True
        connection.client.connections -= 1
        del self._by_age[connection]
        self._loop.remove(connection.sock)
        connection.sock.close()
