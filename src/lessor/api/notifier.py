"""Wakes the long polls of the hosts that a change concerns, and no others."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from lessor.store.engine.peers import EVERYONE


class Notifier:
    """Waiting agents by host. Everything but `tell` belongs to the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.closed = False

    def tell(self, hosts: frozenset[str]) -> None:
        """Wake the waiters of these hosts; may be called from any thread."""
        if not self.closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, hosts)

    def close(self) -> None:
        """Wake everybody, for good: the server stops."""
        self.closed = True
        self._wake(tuple(self._waiting))

    @contextmanager
    def waiting(self, host: str) -> Iterator[asyncio.Event]:
        """Return an event that is set at each change that concerns the host from now on."""
        event = asyncio.Event()
        self._waiting[host].add(event)
        try:
            yield event
        finally:
            self._waiting[host].discard(event)
            if not self._waiting[host]:
                del self._waiting[host]

    def _wake(self, hosts: Collection[str]) -> None:
        for host in tuple(self._waiting) if EVERYONE.issubset(hosts) else hosts:
            for event in self._waiting.get(host, ()):
                event.set()
