"""Accepts the connections of a listening socket, in the event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

AT_ONCE = 32  # connections accepted before other tasks of the loop run
REST_S = 1.0  # pause when the kernel has no more sockets


class Door:
    """Owns one listening socket.

    Args:
        listening: non-blocking.
        take: called with each connection, non-blocking too; it closes the connection.
    """

    def __init__(self, listening: socket.socket, take: Callable[[socket.socket], None]) -> None:
        self._listening = listening
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None
        self._watch()

    def is_open(self) -> bool:
        """Return whether connections are accepted."""
        return self._listening.fileno() >= 0

    def close(self) -> None:
        """Accept no more connections."""
        if self._rest is not None:
            self._rest.cancel()
        if self.is_open():
            self._loop.remove_reader(self._listening)
            self._listening.close()

    def _watch(self) -> None:
        self._rest = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                made, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptors or no memory: an immediate retry would spin
                self._loop.remove_reader(self._listening)
                self._rest = self._loop.call_later(REST_S, self._watch)
                return
            made.setblocking(False)
            self._take(made)
