"""All that is wrong on a host beyond what drivers report, and what is counted there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lessor.agent.diagnosis.drops import DropWatch
from lessor.agent.diagnosis.inspection import Check, Inspection
from lessor.agent.diagnosis.paths import PathProbe
from lessor.agent.diagnosis.tunnels import TunnelWatch
from lessor.agent.overlay import Overlay
from lessor.agent.watchers import Task
from lessor.core.plan.desired import Desired
from lessor.model import Problem, View
from lessor.settings import AgentSettings
from lessor.signal import Signal


class Diagnosis:
    """The checks of a pass, and what watches drops, tunnels and their paths beside it.

    Args:
        settings: of the agent.
        overlay: Open vSwitch; None: it is not used here.
        view: returns what the agent knows; None: nothing yet.
        checks: of each full pass.

    Attributes:
        desired: what the host should have, as of the last plan; None: not known yet.
        changed: `problems` changed between two passes.
    """

    def __init__(
        self,
        settings: AgentSettings,
        overlay: Overlay | None,
        view: Callable[[], View | None],
        checks: Sequence[Check],
    ) -> None:
        self.desired: Desired | None = None
        self.changed: Signal[[]] = Signal()
        self._inspection = Inspection(checks)
        self._drops = DropWatch(settings, overlay, lambda: self.desired)
        self._probes = list(_probes(settings, overlay, view))
        for one in (self._drops, *self._probes):
            one.changed.subscribe(self.changed.emit)

    @property
    def again_s(self) -> float | None:
        """Seconds until a check has to be repeated; None: no check found anything."""
        return self._inspection.again_s

    def look(self, desired: Desired, *, full: bool) -> None:
        """Run all checks if `full`, else those that found something. In the drivers' thread."""
        self._inspection.look(desired, full=full)

    def problems(self) -> Iterator[str | Problem]:
        """Yield what was found last."""
        yield from self._inspection.problems()
        for probe in self._probes:
            yield from probe.problems()
        yield from self._drops.problems()

    def counts(self) -> dict[str, int]:
        """Return what was counted until now, by name."""
        return self._drops.counts()

    def tasks(self) -> list[Task]:
        """Return what runs beside the passes, each until cancelled."""
        return [self._drops.run, *(probe.run for probe in self._probes)]


def _probes(
    settings: AgentSettings, overlay: Overlay | None, view: Callable[[], View | None]
) -> Iterator[TunnelWatch | PathProbe]:
    own = settings.local_ip
    if overlay and own:
        yield TunnelWatch(own, settings.vxlan_udp_port, view, overlay)
        yield PathProbe(own, view)
