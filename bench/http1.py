"""HTTP/1.1 at little cost: the client shares two cores with the server that it measures."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

Connect = Callable[[], socket.socket]
END_OF_HEAD = b"\r\n\r\n"
TIMEOUT_S = 120


class Refused(Exception):
    """The server answered with another status than 2xx."""


def request(method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
    """Return the bytes of a request that leaves the connection open."""
    content = msgspec.json.encode(body) if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    kind = "Content-Type: application/json\r\n" if content else ""
    return f"{head}{kind}\r\n".encode() + content


@dataclass(slots=True)
class Reading:
    """An answer as far as it has come."""

    data: bytearray = field(default_factory=bytearray)
    size: int = 0  # of head and body; 0: the head isn't whole

    def add(self, chunk: bytes) -> bool:
        """Add received data; return whether the answer is complete."""
        if not chunk:
            raise ConnectionError("the server closed the connection within an answer")
        self.data += chunk
        if not self.size and (end := self.data.find(END_OF_HEAD)) >= 0:
            self.size = end + len(END_OF_HEAD) + _content_length(bytes(self.data[:end]))
        return 0 < self.size <= len(self.data)

    def body(self) -> bytes:
        """Return the body of a whole answer.

        Raises:
            Refused: the status says that the server did not do it.
        """
        head, _, body = bytes(self.data).partition(END_OF_HEAD)
        if head.split(b" ", 2)[1][:1] != b"2":
            raise Refused(f"{head.splitlines()[0].decode()}: {body[:500].decode()}")
        return body


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


class Connection:
    """One kept-alive connection, one request at a time."""

    def __init__(self, connect: Connect) -> None:
        self._socket = connect()

    def call(self, asked: bytes) -> bytes:
        """Send a request and return the body of its answer, as bytes.

        Raises:
            Refused: the server did not do it.
        """
        self._socket.sendall(asked)
        reading = Reading()
        while not reading.add(self._socket.recv(1 << 18)):
            pass
        return reading.body()

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request and return what its JSON says."""
        answer = self.call(request(method, path, body))
        return msgspec.json.decode(answer) if answer else None

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@dataclass(frozen=True, slots=True)
class Burst:
    """How many requests at once went: the whole time, each one's time in seconds, the bodies."""

    seconds: float
    each: list[float]
    bodies: list[bytes]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.each) / self.seconds


def burst(connect: Connect, clients: int, asked: Iterable[bytes]) -> Burst:
    """Let clients share out requests; each sends its next one when it has its answer.

    One thread does it for all of them: it needs less of the machine than one a client would.
    """
    left = iter(asked)
    each: list[float] = []
    answers: list[Reading] = []
    with selectors.DefaultSelector() as waiting:
        sockets = [connect() for _ in range(clients)]
        started = time.perf_counter()
        open_ = sum(_next(waiting, one, left) for one in sockets)
        while open_:
            for key, _ in waiting.select(TIMEOUT_S):
                client: Any = key.fileobj
                sent, reading = key.data
                if not reading.add(client.recv(1 << 18)):
                    continue
                each.append(time.perf_counter() - sent)
                answers.append(reading)
                waiting.unregister(client)
                open_ -= not _next(waiting, client, left)
        seconds = time.perf_counter() - started
        for one in sockets:
            one.close()
    return Burst(seconds, each, [answer.body() for answer in answers])


def _next(waiting: selectors.BaseSelector, client: socket.socket, left: Any) -> bool:
    """Send the next request; return whether there was one."""
    asked = next(left, None)
    if asked is None:
        return False
    client.sendall(asked)
    waiting.register(client, selectors.EVENT_READ, (time.perf_counter(), Reading()))
    return True


def tcp(address: tuple[str, int]) -> Connect:
    """Return what connects to an address."""

    def connect() -> socket.socket:
        made = socket.create_connection(address, timeout=TIMEOUT_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    return connect
