"""Receives the connections of a listener: each gets a seat and is served, or is reset.

The guest process reads and writes a connection; the agent, which is root, reads nothing from it.
The agent keeps a descriptor, to see unacknowledged data and to end the connection in any case.

A flood only affects the port that causes it: see `lessor.core.metadata.seats`. The MAC of a
caller's address stays fixed until all sent data is acknowledged, also after the connection is
closed.

Source: tcp(7), SIOCOUTQ; connect(2), AF_UNSPEC.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import socket
import struct
import termios

from lessor.core.metadata.seats import Seats
from lessor.errors import Unavailable
from lessor.metadata.client_address import Caller, Callers
from lessor.metadata.port_lookup import Ports
from lessor.metadata.process import GuestProcess

CONNECTIONS = 256  # maximum of one listener
CONNECTIONS_OF_ONE = 24  # maximum of one port there
GRACE_S = 2.0  # for current requests when the listener closes
DRAIN_S = 10.0  # for unacknowledged data when a connection is closed
LOOK_S = 0.2  # between checks for unacknowledged data


_NO_PEER = struct.pack("=H14x", socket.AF_UNSPEC)  # struct sockaddr

_libc = ctypes.CDLL(None, use_errno=True)


class _Visit:
    """A connection with a seat. `kept`: the agent's descriptor of it, open until it is drained."""

    def __init__(self, reception: Reception, caller: Caller, kept: socket.socket) -> None:
        self._reception = reception
        self.caller = caller
        self.kept = kept
        self.until = 0.0

    @property
    def networks(self) -> tuple[str, ...]:
        """Return the networks of the receiving interface."""
        return self._reception.networks

    def left(self) -> None:
        """Drain the connection; no process reads or writes it any more."""
        self._reception.left(self)

    def lost(self) -> None:
        """Reset the connection: the process that served it has ended."""
        self._reception.part(self, drained=False)


class Reception:
    """The connections of one listener.

    Args:
        networks: ids of the interface's networks.
        process: serves the connections.
        callers: identifies callers; closed with the reception.
        ports: of the view.
    """

    def __init__(
        self, networks: tuple[str, ...], process: GuestProcess, callers: Callers, ports: Ports
    ) -> None:
        self.networks = networks
        self._process = process
        self._callers = callers
        self._ports = ports
        self._seats: Seats[_Visit] = Seats(CONNECTIONS, CONNECTIONS_OF_ONE)
        self._open: set[_Visit] = set()
        self._empty = asyncio.Event()

    def take(self, made: socket.socket) -> None:
        """Pass a connection to the process, or reset it."""
        try:
            caller = self._callers.meet(made)
        except (OSError, Unavailable):
            reset(made)
            return
        visit = _Visit(self, caller, made)
        self._open.add(visit)
        self._empty.clear()
        try:
            ended = self._seats.take(visit, self._ports.seat(self.networks, caller.mac))
            if ended is not None:
                self.part(ended, drained=False)
            self._process.hand_over(visit)
        except Unavailable:
            self.part(visit, drained=False)

    async def close(self) -> None:
        """End all connections; those with a current request after at most `GRACE_S`."""
        for visit in self._open:
            self._process.finish(visit)
        if self._open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE_S):
                    await self._empty.wait()
        for visit in list(self._open):
            self.part(visit, drained=False)
        self._callers.close()

    def left(self, visit: _Visit) -> None:
        """Drain a connection that no process reads or writes any more."""
        if visit.until:
            return
        with contextlib.suppress(OSError):  # it was reset
            visit.kept.shutdown(socket.SHUT_WR)
        visit.until = asyncio.get_running_loop().time() + DRAIN_S
        self._drain(visit)

    def _drain(self, visit: _Visit) -> None:
        loop = asyncio.get_running_loop()
        waits = visit in self._open and _is_waiting(visit.kept)
        if waits and loop.time() < visit.until:
            loop.call_later(LOOK_S, self._drain, visit)
        else:
            self.part(visit, drained=not waits)

    def part(self, visit: _Visit, *, drained: bool) -> None:
        """Forget a connection; if it is not drained, drop its data."""
        if visit not in self._open:
            return
        self._open.discard(visit)
        if drained:
            visit.kept.close()
        else:
            reset(visit.kept)
        self._process.forget(visit)
        self._seats.leave(visit)
        self._callers.part(visit.caller)
        if not self._open:
            self._empty.set()


def reset(made: socket.socket) -> None:
    """End a connection at once for all its descriptors, and drop its data."""
    _libc.connect(made.fileno(), _NO_PEER, len(_NO_PEER))  # fails if it has already ended
    made.close()


def _is_waiting(made: socket.socket) -> bool:
    """Return whether the kernel has unacknowledged data; the FIN itself counts 1."""
    try:
        told = fcntl.ioctl(made, termios.TIOCOUTQ, bytes(4))
    except OSError:
        return False
    return int(struct.unpack("i", told)[0]) > 1
