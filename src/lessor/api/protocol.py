"""HTTP connections that end when their client is too slow, or has too many of them.

A connection without a whole request holds memory and a descriptor of the server before anybody has
logged in. The limits are of what an honest client does: it sends a request's head at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_MANY = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one listener's connections.

    Attributes:
        per_address: connections that one address may have; 0: any number. Loopback may have more.
        head_s: from the start of a connection, or a request's first byte, to the end of its head.
        body_s: from the head's end to the body's: 64 MiB at 5 Mbit/s.
        connections: those that there are, by address.
    """

    per_address: int
    head_s: float = 10.0
    body_s: float = 120.0
    connections: Counter[str] = field(default_factory=Counter)

    def admit(self, address: str) -> bool:
        """Count a connection; tell whether its address may have it."""
        self.connections[address] += 1
        return not 0 < self.per_address < self.connections[address] or _is_loopback(address)

    def release(self, address: str) -> None:
        """Count a connection no more."""
        self.connections[address] -= 1
        if not self.connections[address]:
            del self.connections[address]


class _Gathering:
    """A transport that sends together what is written together.

    uvicorn writes an answer's head and its body one after the other, and each was a system call
    that woke the client. All else is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send data at the end of this turn of the event loop."""
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        """Send what was written, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        written, self._written = self._written, []
        if written:
            self._transport.write(b"".join(written))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with `Limits`."""

    def __init__(self, limits: Limits, **made_with: Any) -> None:
        super().__init__(**made_with)
        self._limits = limits
        self._address = ""
        self._due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for a request's head."""
        super().connection_made(_Gathering(transport, self.loop))  # type: ignore[arg-type]  # it acts as one
        self._address = self.client[0] if self.client else ""
        if self._limits.admit(self._address):
            self._expect(self._limits.head_s)
        else:
            self._end(_MANY)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._cancel()
        self._limits.release(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read; whatever came has ended uvicorn's own wait for the next request."""
        super().data_received(data)
        if self._due is None and self.timeout_keep_alive_task is None and self._is_idle():
            self._expect(self._limits.head_s)

    def on_message_begin(self) -> None:
        """Wait for the head's end."""
        super().on_message_begin()
        if self._due is None:
            self._expect(self._limits.head_s)

    def on_headers_complete(self) -> None:
        """Wait for the body's end."""
        self._expect(self._limits.body_s)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait no more: it is our turn."""
        self._cancel()
        super().on_message_complete()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect(self, within_s: float) -> None:
        self._cancel()
        self._due = self.loop.call_later(within_s, self._end, _LATE)

    def _cancel(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _end(self, answer: bytes) -> None:
        self._cancel()
        if self.transport.is_closing():
            return
        if self._is_idle():
            self.transport.write(answer)
        self.transport.close()


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
