"""Probes periodically whether the path MTU to each peer's tunnel end fits tunnel traffic.

Probes are echo requests with "don't fragment", of the size that the largest packet of a VM has in
the tunnel. A path is narrow when small ones are answered and large ones are not; when none is, no
problem is reported: the host may be away, or a firewall may stop all of them.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import structlog

from lessor.core.diagnosis.icmp import answered, echo, narrow_paths
from lessor.model import View
from lessor.net.address import Address
from lessor.signal import Signal

EVERY_S = 30.0
LOOK_S = 2.0  # between looks for new paths
TRIES, TRY_S = 3, 1.0
SMALL = 64  # bytes
OVERHEAD = {4: 50, 6: 70}  # bytes that a tunnel adds to a VM's packet (semantics.md B22)
# linux/in.h, linux/in6.h: "don't fragment", whatever the kernel believes of the path
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 10, 23, 3


@dataclass(frozen=True, slots=True)
class Way:
    """The path to a host's tunnel end. `size`: of the largest packet that has to pass, in bytes."""

    host: str
    end: Address
    size: int


def ways(view: View, own: Address) -> frozenset[Way]:
    """Return the paths that this host's tunnels take."""
    sizes: dict[tuple[str, Address], int] = {}
    for scope in view.scopes.values():
        if not scope.network.is_overlay:
            continue
        size = scope.network.mtu + OVERHEAD[own.version]
        for host, end in scope.peers.items():
            if end != own and end.version == own.version:
                sizes[host, end] = max(size, sizes.get((host, end), 0))
    return frozenset(Way(host, end, size) for (host, end), size in sizes.items())


class PathProbe:
    """Probes the paths of one host.

    Args:
        own: this host's tunnel end.
        view: returns what the agent knows; None: nothing yet.

    Attributes:
        changed: `problems` changed.
    """

    def __init__(self, own: Address, view: Callable[[], View | None]) -> None:
        self._own = own
        self._view = view
        self.changed: Signal[[]] = Signal()
        self._narrow: frozenset[Way] = frozenset()
        self._count = 0  # of all paths
        self._log = structlog.get_logger()

    def problems(self) -> Iterable[str]:
        """Return the problems of narrow paths: one sentence for all of one size."""
        sizes: dict[int, list[tuple[str, Address]]] = {}
        for way in sorted(self._narrow, key=lambda way: way.host):
            sizes.setdefault(way.size, []).append((way.host, way.end))
        return [narrow_paths(found, size, self._count) for size, found in sizes.items()]

    async def run(self) -> None:
        """Probe until cancelled: new paths and narrow ones soon, all of them now and then."""
        known: frozenset[Way] = frozenset()
        due = asyncio.get_running_loop().time()
        while True:
            view = self._view()
            wanted = ways(view, self._own) if view else frozenset[Way]()
            now = asyncio.get_running_loop().time()
            fresh = wanted if now >= due else (wanted - known) | (self._narrow & wanted)
            self._count = len(wanted)
            if now >= due:
                due = now + EVERY_S
            narrow = (self._narrow & wanted) - fresh
            silent: frozenset[Way] = frozenset()
            if fresh:
                found, silent = await self._probed(fresh)
                narrow |= found
            if narrow != self._narrow:
                self._narrow = narrow
                self.changed.emit()
            known = wanted - silent
            await asyncio.sleep(LOOK_S)

    async def _probed(self, fresh: frozenset[Way]) -> tuple[frozenset[Way], frozenset[Way]]:
        try:
            return await probed(self._own, fresh)
        except OSError as error:  # the address is on no interface yet, or raw sockets are forbidden
            self._log.debug("paths not probed", error=str(error))
            return frozenset(), fresh


async def probed(
    own: Address, asked: Iterable[Way], tries: int = TRIES
) -> tuple[frozenset[Way], frozenset[Way]]:
    """Return the paths on which only small packets are answered, and those on which none are.

    Raises:
        OSError: there can be no socket.
    """
    probes = {}
    for number, way in enumerate(asked):
        probes[2 * number] = (way, SMALL)
        probes[2 * number + 1] = (way, way.size)
    with _socket(own) as sock:
        left = set(probes)
        for _ in range(tries):
            _send(sock, own, {number: probes[number] for number in left})
            await _receive(sock, own, left)
            if not left:
                break
    large = [(number, way) for number, (way, _) in probes.items() if number % 2 and number in left]
    silent = frozenset(way for number, way in large if number - 1 in left)
    return frozenset(way for _, way in large) - silent, silent


def _socket(own: Address) -> socket.socket:
    if own.version == 4:  # noqa: PLR2004 - IPv4
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        option = (socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
    else:
        made = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        option = (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
    try:
        made.setsockopt(*option)
        made.bind((str(own), 0))
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _identifier() -> int:
    return os.getpid() & 0xFFFF


def _send(sock: socket.socket, own: Address, probes: Mapping[int, tuple[Way, int]]) -> None:
    for number, (way, size) in probes.items():
        packet = echo(own.version, _identifier(), number & 0xFFFF, size)
        with suppress(OSError):  # too large for our own interface, or no way there: no answer
            sock.sendto(packet, (str(way.end), 0))


async def _receive(sock: socket.socket, own: Address, left: set[int]) -> None:
    """Take answers off `left` until there is none, or the time is over."""
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError):
        async with asyncio.timeout(TRY_S):
            while left:
                packet = await loop.sock_recv(sock, 1 << 16)
                number = answered(own.version, packet, _identifier())
                if number is not None:
                    left.discard(number)
