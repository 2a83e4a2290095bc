"""Creates sockets inside another network namespace, without moving this process.

A socket stays in the namespace of its creation, and `setns(2)` of a network namespace moves only
one thread. So a separate thread enters, creates the socket and ends.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpcore
import httpx

T = TypeVar("T")

CLONE_NEWNET = 0x40000000


def in_netns(netns: Path, call: Callable[[], T]) -> T:
    """Return the result of `call`, run in a thread that has entered `netns`.

    Args:
        netns: /proc/PID/ns/net, or a name of `ip netns add`.
        call: without arguments; must not depend on the caller's thread.

    Raises:
        OSError: no such namespace, no permission, or from `call`.
    """

    def enter_and_call() -> T:
        _enter(netns)
        return call()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(enter_and_call).result()


def _enter(netns: Path) -> None:
    # os.setns() came with Python 3.12
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(netns))
    finally:
        os.close(fd)


class NetnsBackend(httpcore.NetworkBackend):
    """Opens HTTP connections from inside a network namespace."""

    def __init__(self, netns: Path) -> None:
        self._netns = netns
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect like httpcore's own backend, but in the namespace."""
        return in_netns(
            self._netns,
            lambda: self._inner.connect_tcp(host, port, timeout, local_address, socket_options),
        )


class NetnsTransport(httpx.HTTPTransport):
    """An httpx transport inside a network namespace.

    `httpx.Client(transport=NetnsTransport(path), trust_env=False)`: proxies of this machine's
    environment aren't reachable from there.
    """

    def __init__(self, netns: Path) -> None:
        super().__init__(trust_env=False)
        self._pool.close()
        # httpx has no argument for httpcore's network backend; its pool has.
        self._pool = httpcore.ConnectionPool(network_backend=NetnsBackend(netns))
