"""Watches whether this host's tunnels carry packets, by BFD's status in Open vSwitch's database.

No problem is reported while Open vSwitch itself does not answer: its last status may be old.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import structlog

from lessor.agent.diagnosis import paths
from lessor.agent.overlay import Overlay
from lessor.core.diagnosis.tunnels import Broken, Peer, Way, broken, sentences
from lessor.errors import LessorError
from lessor.model import Problem, View
from lessor.net.address import Address, parse_address
from lessor.signal import Signal

LOOK_S = 1.0
PING_S = 15.0  # between pings of an end that is not heard


class TunnelWatch:
    """The tunnels of one host.

    Args:
        own: this host's tunnel end.
        port: of UDP, that tunnels use.
        view: returns what the agent knows; None: nothing yet.
        overlay: has the tunnels.

    Attributes:
        changed: `problems` changed.
    """

    def __init__(
        self,
        own: Address,
        port: int,
        view: Callable[[], View | None],
        overlay: Overlay,
    ) -> None:
        self._own = own
        self._port = port
        self._view = view
        self._overlay = overlay
        self.changed: Signal[[]] = Signal()
        self._fresh = True  # the database has news
        self._broken: dict[Address, Broken] = {}
        self._count = 0  # of all tunnels
        self._pings: dict[Address, tuple[float, bool]] = {}  # when asked, and what came
        self._problems: tuple[Problem, ...] = ()
        self._log = structlog.get_logger()

    def problems(self) -> Iterable[Problem]:
        """Return what is wrong, each with the networks that it concerns."""
        return self._problems

    async def run(self) -> None:
        """Watch until cancelled."""
        self._overlay.subscribe(self._news)
        while True:
            if self._overlay.alive.obstacles():
                self._broken, self._fresh = {}, True
            elif self._fresh or self._broken:
                await self._look()
            problems = tuple(self._found(time.time()))
            if problems != self._problems:
                self._log_of(problems)
                self._problems = problems
                self.changed.emit()
            await asyncio.sleep(LOOK_S)

    def _log_of(self, problems: Sequence[Problem]) -> None:
        for one in problems:
            self._log.warning("tunnels broken", problem=one.text)
        if not problems:
            self._log.info("tunnels carry again")

    def _news(self) -> None:
        self._fresh = True

    async def _look(self) -> None:
        self._fresh = False
        try:
            statuses = await asyncio.to_thread(self._overlay.tunnels)
        except LessorError:  # it doesn't answer: reported elsewhere
            self._fresh = True
            return
        self._take(statuses, time.time())
        await self._ping(time.time())

    def _take(self, statuses: Mapping[str, Mapping[str, str]], now: float) -> None:
        found = {}
        for remote, status in statuses.items():
            end = parse_address(remote)
            if one := broken(status, self._broken.get(end), now):
                found[end] = one
        self._count, self._broken = len(statuses), found

    async def _ping(self, now: float) -> None:
        """Ping the ends that no packet of tunnels comes from; answers are kept for a while."""
        hosts = self._hosts()
        self._pings = {end: one for end, one in self._pings.items() if end in self._broken}
        asked = [
            paths.Way(hosts[end], end, paths.SMALL)
            for end, one in self._broken.items()
            if end in hosts and one.due <= now and now - self._pings.get(end, (0.0,))[0] > PING_S
        ]
        if not asked:
            return
        try:
            _, silent = await paths.probed(self._own, asked, tries=1)
        except OSError:  # our end is on no interface, or raw sockets are forbidden
            silent = frozenset(asked)
        self._pings |= {path.end: (now, path not in silent) for path in asked}

    def _hosts(self) -> dict[Address, str]:
        view = self._view()
        return {way.end: way.host for way in paths.ways(view, self._own)} if view else {}

    def _found(self, now: float) -> Iterator[Problem]:
        if not self._broken:
            return
        hosts = self._hosts()
        peers: dict[Way, Sequence[Peer]] = {
            way: [
                Peer(hosts[end], end, one.since, self._pings.get(end, (0.0, None))[1])
                for end, one in self._broken.items()
                if one.way == way and one.due <= now and end in hosts
            ]
            for way in Way
        }
        for text, ends in sentences(self._own, self._port, self._count, peers):
            networks = self._networks({peer.end for peer in ends})
            since = min(peer.since for peer in ends)
            yield Problem(text=text, since=since, networks=networks)

    def _networks(self, ends: set[Address]) -> tuple[str, ...]:
        view = self._view() or View()
        return tuple(key for key, s in sorted(view.scopes.items()) if ends & {*s.peers.values()})
