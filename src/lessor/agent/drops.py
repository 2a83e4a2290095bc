"""Reads what was dropped of VMs' DHCP, now and then, and says whose it was for a while."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

from lessor.agent.overlay import Overlay
from lessor.agent.run import Run
from lessor.core.desired import Desired
from lessor.core.drops import Drops, joined, sentences
from lessor.core.guards import drop_counters
from lessor.errors import LessorError

SAID_S = 600.0  # for so long after the last packet
LISTING = ("nft", "-j", "list", "counters", "table", "bridge", "lessor")


class DropWatch:
    """The counters of one host. Used in the one thread that drivers are used in.

    Args:
        run: runs nft.
        overlay: has those of Open vSwitch; None: there is none.
        clock: seconds, never going back.
    """

    def __init__(
        self, run: Run, overlay: Overlay | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = run
        self._overlay = overlay
        self._clock = clock
        self._seen: deque[tuple[float, Drops]] = deque()
        self._now = Drops()

    def problems(self, desired: Desired) -> Iterator[str]:
        """Look, and say which ports did it within the last ten minutes."""
        self._now = joined(self._flat(desired), self._tunnelled(desired))
        at = self._clock()
        while len(self._seen) > 1 and self._seen[1][0] < at - SAID_S:
            self._seen.popleft()
        before = self._seen[0][1] if self._seen else Drops()
        self._seen.append((at, self._now))
        ports = {tap.name: tap.port_id for tap in desired.state.taps.values()}
        yield from sentences(self._now, before, ports)

    def counts(self) -> dict[str, int]:
        """Return the host's sums, as of the last look."""
        return self._now.counts()

    def _flat(self, desired: Desired) -> Drops:
        if not desired.parts:
            return Drops()
        try:
            found = drop_counters(self._run(*LISTING))
        except LessorError:  # no table yet
            return Drops()
        return Drops(found.rogue_dhcp, found.flood_dhcp)

    def _tunnelled(self, desired: Desired) -> Drops:
        if not (self._overlay and desired.overlay):
            return Drops()
        try:
            return self._overlay.drops()
        except LessorError:  # OVS is away
            return Drops()
