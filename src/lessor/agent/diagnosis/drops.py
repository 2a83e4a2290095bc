"""Watches which frames of VMs are dropped on this host, and reports their ports for a while.

It has a thread of its own: neither a switch that hangs nor a tap that is listened to holds up a
pass. Linux bridges' counters tell with which addresses a VM sends; br-int's don't, so there taps
are listened to while their counters rise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from lessor.agent.diagnosis.drop_counts import BridgeCounts, SwitchCounts, whereabouts
from lessor.agent.diagnosis.listen import listen
from lessor.agent.overlay import Overlay
from lessor.core.diagnosis.drops import Ongoing, port_sentences, ports_here, wire_problems
from lessor.core.offences import BY_SOURCE, Count, Offence, Reason, lasts_s
from lessor.core.plan.desired import Desired
from lessor.model import Problem
from lessor.settings import AgentSettings
from lessor.signal import Signal

LOOK_S = 5.0  # between looks
SOON_S = 1.0  # while somebody is to be listened to
SUSPECT_S = 30.0  # a tap is listened to so long after its counter rose


class Recent:
    """Remembers when counters rose. What stood at the first look may be from long ago."""

    def __init__(self) -> None:
        self._packets: dict[Offence, int] = {}
        self._at: dict[Offence, float] = {}
        self._started = False

    def take(self, now: float, found: Mapping[Offence, Count]) -> None:
        """Take the counters of a moment, in seconds since 1970."""
        for offence, count in found.items():
            if count.age_s is not None:
                self._at[offence] = now - count.age_s
            elif count.packets > self._packets.get(offence, 0 if self._started else count.packets):
                self._at[offence] = now
        self._packets = {offence: count.packets for offence, count in found.items()}
        self._started = True
        self._at = {o: at for o, at in self._at.items() if now - at < lasts_s(o.reason)}

    def ongoing(self) -> dict[Offence, Ongoing]:
        """Return what goes on."""
        known = self._packets
        return {o: Ongoing(known[o], at) for o, at in self._at.items() if o in known}


class DropWatch:
    """The counters of one host.

    Args:
        settings: of the agent.
        overlay: knows what ports of Open vSwitch are called; None: there is none.
        desired: what the host should have; None: not known yet.
        clock: seconds since 1970.

    Attributes:
        changed: `problems` differ; emitted in the event loop.
    """

    def __init__(
        self,
        settings: AgentSettings,
        overlay: Overlay | None,
        desired: Callable[[], Desired | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._desired = desired
        self._clock = clock
        self._bridges = BridgeCounts()
        self._switch = SwitchCounts(settings, overlay.run, overlay.names) if overlay else None
        self._recent = Recent()
        self._heard: dict[tuple[str, Reason], Offence] = {}
        self._places: dict[str, str] = {}
        self._problems: tuple[str | Problem, ...] = ()
        self._about: tuple[frozenset[Offence], int] = frozenset(), 0
        self._suspects = False
        self.changed: Signal[[]] = Signal()

    def problems(self) -> tuple[str | Problem, ...]:
        """Return what goes on, a sentence each, as of the last look."""
        return self._problems

    def counts(self) -> dict[str, int]:
        """Return the host's sums, as of the last look."""
        sums = self._bridges.sums
        other = self._switch.sums if self._switch else {}
        return {name: many + other.get(name, 0) for name, many in sums.items()}

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="lessor-drops") as thread:
            try:
                while True:
                    if await loop.run_in_executor(thread, self._look):
                        self.changed.emit()
                    soon = self._suspects or self._desired() is None
                    await asyncio.sleep(SOON_S if soon else LOOK_S)
            finally:
                thread.submit(self.close)

    def close(self) -> None:
        """Let go of what reads counters. In the thread that looked."""
        self._bridges.close()

    def _look(self) -> bool:
        desired = self._desired()
        return desired is not None and self.look(desired)

    def look(self, desired: Desired) -> bool:
        """Look once; return whether there is something else to say than before."""
        found = dict(self._bridges.offences()) if desired.state.bridges else {}
        switched: dict[Offence, Count] = {}
        if self._switch and desired.state.ovs_bridges:
            switched = self._switch.offences()
        self._recent.take(self._clock(), found | switched)
        self._listen(desired, switched)
        ongoing = {self._named(offence): one for offence, one in self._recent.ongoing().items()}
        ports = ports_here(desired, {offence.tap for offence in ongoing})
        self._problems = (*port_sentences(ongoing, ports), *self._wire(desired, ongoing))
        return self._is_other(frozenset(ongoing))

    def _is_other(self, about: frozenset[Offence]) -> bool:
        """Tell whether other offences go on than before; how many packets is no matter.

        A problem may come some looks after an offence began: a few frames are none.
        """
        now = about, len(self._problems)
        before, self._about = self._about, now
        return before != now

    # --- taps in br-int

    def _listen(self, desired: Desired, switched: Mapping[Offence, Count]) -> None:
        """Listen to taps whose counters rise and whose addresses are not known."""
        ongoing, now = self._recent.ongoing(), self._clock()
        self._heard = {key: one for key, one in self._heard.items() if Offence(*key) in ongoing}
        taps = {
            offence.tap
            for offence, one in ongoing.items()
            if offence in switched
            and offence.reason in BY_SOURCE
            and now - one.at < SUSPECT_S
            and (offence.tap, offence.reason) not in self._heard
        }
        self._suspects = bool(taps)
        assert self._switch or not taps
        names = self._switch.names() if self._switch and taps else {}
        for one in listen(ports_here(desired, taps), names):
            self._heard[one.tap, one.reason] = one

    def _named(self, offence: Offence) -> Offence:
        return self._heard.get((offence.tap, offence.reason), offence)

    # --- the wire

    def _wire(self, desired: Desired, ongoing: Mapping[Offence, Ongoing]) -> Iterator[Problem]:
        servers = {one.mac for one in ongoing if one.reason is Reason.WIRE}
        if not servers:
            self._places = {}
            return
        bridges = desired.state.bridges.values()
        wires = {bridge.name: bridge.interface or "" for bridge in bridges}
        self._places = whereabouts(wires, servers) | {
            mac: place for mac, place in self._places.items() if mac in servers
        }
        vms = {
            guard.mac: plan.network
            for plan in desired.plans
            for guard in plan.guards
            if guard.bridge in wires
        }
        guards = (guard for plan in desired.plans for guard in plan.guards)
        ours = {str(s) for guard in guards if guard.bridge in wires for s in guard.dhcp_servers}
        yield from wire_problems(ongoing, vms, ours, self._places)
