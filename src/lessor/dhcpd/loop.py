"""The loop of lessor-dhcpd: frames in, lease events to the agent, then answers out.

One round takes a few frames of each socket that has some, reports all their events at once, and
sends their answers only then: an address that a client has is one that the agent will know of.
"""

from __future__ import annotations

import heapq
import select
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

from lessor.daemon.control import Closed, Listener, Peer
from lessor.dhcpd.desk import Desk
from lessor.dhcpd.messages import encode
from lessor.dhcpd.reporter import Reporter
from lessor.dhcpd.served import Served
from lessor.dhcpd.servers import Servers

MAX_FRAME = 2048  # bytes; no request is longer
FRAMES = 32  # of one socket in a round
SOCKETS = 16  # in a round
TICK_S = 1.0  # between two looks for expired leases and at what could not be written
EXPIRED = 500  # leases of one server that are ended at a time
MAX_DELAYED = 10_000  # answers
CLIENT = slice(70, 76)  # of a frame: chaddr


class Loop:
    """Serves until the process ends.

    Args:
        listener: the control socket.
        servers: all servers.
        reporter: of their lease events.
        version: of the program.
    """

    def __init__(
        self, listener: Listener, servers: Servers, reporter: Reporter, version: str
    ) -> None:
        self._listener = listener
        self._servers = servers
        self._reporter = reporter
        self._desk = Desk(servers, reporter, version, time.time, self._listen)
        self._poll = select.epoll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._peers: dict[int, Peer] = {}
        self._listening: dict[int, tuple[Served, socket.socket]] = {}
        self._faulty = False
        self._answers: list[tuple[socket.socket, bytes]] = []
        self._delayed: list[tuple[float, int, socket.socket, bytes]] = []
        self._number = 0
        self._tick_at = 0.0
        self._watch(listener.fileno(), self._accept)
        for served in servers.by_name.values():
            self._listen(served)

    def run(self) -> None:
        """Serve."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Make one round."""
        ready = self._ready
        for fd, _ in self._poll.poll(self._wait(), SOCKETS):
            if fd in ready:  # not closed in this round
                ready[fd]()
        now = time.monotonic()
        ticks = now >= self._tick_at
        if ticks:
            self._tick_at = now + TICK_S
            self._tick()
        self._reporter.flush(again=ticks)
        for sock, frame in self._answers:
            with suppress(OSError):  # the interface is down, or has gone
                sock.send(frame)
        self._answers.clear()
        while self._delayed and self._delayed[0][0] <= now:
            _, _, sock, frame = heapq.heappop(self._delayed)
            with suppress(OSError):
                sock.send(frame)
        if self._servers.busy:
            self._servers.work()

    def _wait(self) -> float:
        """Return the seconds until there is something to do at the latest."""
        if self._servers.busy:
            return 0
        until = self._tick_at
        if self._delayed:
            until = min(until, self._delayed[0][0])
        return max(0.0, until - time.monotonic())

    def _hear(self, served: Served, sock: socket.socket) -> None:
        """Take the frames that have come to a server."""
        if not served.listens_by(sock):
            self._forget(sock.fileno())
            return
        servers, now, at = self._servers, time.time(), time.monotonic()
        for _ in range(FRAMES):
            try:
                frame = sock.recv(MAX_FRAME)
            except OSError:  # there is none; or, once, the interface went down
                return
            if not servers.filled:
                servers.find(served, frame[CLIENT])
            try:
                outcome = served.hear(frame, now, at)
            except Exception:  # noqa: BLE001 - a frame that we fail at costs its sender, not all
                self._tell_fault()
                continue
            if outcome is None:
                continue
            for event in outcome.events:
                self._reporter.add(served.name, event, served.hostname(event.address))
            for answer in outcome.frames:
                if outcome.wait and len(self._delayed) < MAX_DELAYED:
                    self._number += 1
                    due = (at + outcome.wait, self._number, sock, answer)
                    heapq.heappush(self._delayed, due)
                else:
                    self._answers.append((sock, answer))

    def _tick(self) -> None:
        now = time.time()
        for served in self._servers.by_name.values():
            for event in list(islice(served.leases.expired(now), EXPIRED)):
                served.leases.record(event)
                self._reporter.add(served.name, event, served.hostname(event.address))
        self._servers.save_all()
        for fd, (served, sock) in list(self._listening.items()):
            if not served.listens_by(sock):
                self._forget(fd)

    def _tell_fault(self) -> None:
        """Write the first fault to the log: it has little room, and guests cause them."""
        if not self._faulty:
            self._faulty = True
            traceback.print_exc()

    def _listen(self, served: Served) -> None:
        """Hear a server's socket; one that it had before is closed, and so heard no more."""
        if served.sockets is not None:
            sock = served.sockets.packet
            self._watch(sock.fileno(), lambda: self._hear(served, sock))
            self._listening[sock.fileno()] = served, sock

    def _accept(self) -> None:
        peer = self._listener.accept(len(self._peers))
        if peer is not None:
            self._peers[peer.fileno()] = peer
            self._watch(peer.fileno(), lambda: self._speak(peer))

    def _speak(self, peer: Peer) -> None:
        """Answer a message."""
        try:
            message = peer.receive()
            if message is not None:
                peer.send(encode(self._desk.answer(*message)))
        except Closed:
            del self._peers[peer.fileno()], self._ready[peer.fileno()]
            peer.close()

    def _watch(self, fd: int, step: Callable[[], None]) -> None:
        if fd in self._ready:  # of a socket that was closed
            self._forget(fd)
        self._ready[fd] = step
        self._poll.register(fd, select.EPOLLIN)

    def _forget(self, fd: int) -> None:
        """Hear a socket no more that is closed, or will be."""
        self._listening.pop(fd, None)
        self._ready.pop(fd, None)
        with suppress(OSError):
            self._poll.unregister(fd)
