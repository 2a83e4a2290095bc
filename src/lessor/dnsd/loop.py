"""The event loop: epoll and timers, in one thread. No callback blocks.

Not asyncio: docs/decisions/0040 has the figures.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Protocol

IN, OUT, ERR, HUP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR, select.EPOLLHUP
Ready = Callable[[int], None]  # gets the events
EVENTS = 64  # of one round


class Watched(Protocol):
    """What has a descriptor."""

    def fileno(self) -> int:
        """Return it."""


class Loop:
    """Calls back when sockets are ready and when times have come."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = clock()
        self._clock = clock
        self._epoll = select.epoll()
        self._ready: dict[int, Ready] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ended = False

    def add(self, watched: Watched, ready: Ready, events: int = IN) -> None:
        """Watch a descriptor."""
        self._ready[watched.fileno()] = ready
        self._epoll.register(watched.fileno(), events)

    def change(self, watched: Watched, events: int) -> None:
        """Watch a descriptor for other events."""
        self._epoll.modify(watched.fileno(), events)

    def remove(self, watched: Watched) -> None:
        """Stop watching a descriptor, before it is closed."""
        if self._ready.pop(watched.fileno(), None) is not None:
            self._epoll.unregister(watched.fileno())

    def later(self, after_s: float, call: Callable[[], None]) -> None:
        """Call once, after some seconds. It can't be cancelled: the callback checks."""
        heapq.heappush(self._timers, (self.now + after_s, next(self._order), call))

    def run(self) -> None:
        """Run until `end`."""
        while not self._ended:
            self.turn()

    def end(self) -> None:
        """End after this round."""
        self._ended = True

    def turn(self, maximum_s: float = 60.0) -> None:
        """Wait for something, and do what is to be done then."""
        wait_s = min(maximum_s, self._timers[0][0] - self._clock()) if self._timers else maximum_s
        events = self._epoll.poll(max(0.0, wait_s), EVENTS)
        self.now = self._clock()
        for fd, event in events:
            ready = self._ready.get(fd)
            if ready is not None:  # one before it in this round may have closed it
                ready(event)
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()

    def close(self) -> None:
        """Close the epoll descriptor."""
        self._epoll.close()
