"""Watches the host's network: links, IPv4 addresses, routes.

The call does not say what changed: its receiver looks again. So messages are not parsed, and a
dropped one (ENOBUFS) is as good as a received one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

GROUPS = 0x1 | 0x10 | 0x40  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE; rtnetlink(7)
BUFFER = 1 << 16
MESSAGES_AT_ONCE = 1000  # then others have their turn


class NetlinkWatch:
    """Calls back, in the event loop, a little after the first of a burst of changes.

    It listens from the moment it is made: changes between that and `run()` are not missed.

    Args:
        changed: called without arguments; may be called without need.
        gather_s: how long a burst is gathered before the call.
    """

    def __init__(self, changed: Callable[[], None], gather_s: float = 0.02) -> None:
        self._changed = changed
        self._gather_s = gather_s
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.bind((0, GROUPS))

    async def run(self) -> None:
        """Watch until cancelled; the socket is closed then."""
        try:
            while True:
                await self._readable()
                await asyncio.sleep(self._gather_s)
                self._drain()
                self._changed()
        finally:
            self.close()

    def close(self) -> None:
        """End it without having run."""
        self._socket.close()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        some = asyncio.Event()
        loop.add_reader(self._socket, some.set)
        try:
            await some.wait()
        finally:
            loop.remove_reader(self._socket)

    def _drain(self) -> None:
        # ENOBUFS, said once for any number of dropped messages, is an OSError as well: what is
        # left in the buffer makes the socket readable again
        with contextlib.suppress(OSError):
            for _ in range(MESSAGES_AT_ONCE):
                self._socket.recv(BUFFER)
