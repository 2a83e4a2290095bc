"""Plans this host: reads from it what a plan depends on besides the view."""

from __future__ import annotations

from lessor.agent.around import Surroundings
from lessor.agent.overlay import Overlay, datapath_type
from lessor.core.around import Around
from lessor.core.plan.desired import Desired, Planner
from lessor.errors import LessorError
from lessor.model import View
from lessor.settings import AgentSettings


class HostPlanner:
    """The planner of one host, with the host's own addresses and the local VLANs in Open vSwitch.

    Args:
        settings: of the agent.
        overlay: has the local VLANs that networks were given before; None: there is no OVS.
        around: knows what the host has and reaches without us.
    """

    def __init__(
        self, settings: AgentSettings, overlay: Overlay | None, around: Surroundings | None = None
    ) -> None:
        self._settings = settings
        self._overlay = overlay
        self._around = around or Surroundings(settings)
        self._planner: Planner | None = None

    def look(self) -> Around:
        """Look at what the host has and reaches without us, and return it."""
        return self._around.look()

    def plan(self, view: View, *, changed: bool = True) -> Desired:
        """Return what this host should have for `view`.

        While OVS does not answer, local VLANs are unknown and each plan starts without them:
        nothing can be wired then either.

        Args:
            view: rows that concern it.
            changed: the host's own addresses may have changed since the last call.
        """
        around = self._around.facts(changed=changed)
        planner = self._planner
        if planner is None:
            try:
                planner = self._planner = self._made(self._overlay.vlans() if self._overlay else {})
            except LessorError:
                planner = self._made({})
        return planner.desired(view, around)

    def _made(self, vlans: dict[str, int]) -> Planner:
        return Planner(self._settings, vlans, datapath_type(self._settings))
