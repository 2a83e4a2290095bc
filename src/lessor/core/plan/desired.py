"""From what an agent knows of the cloud to what its host should have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from lessor.core.around import NOTHING, Around, Refusals
from lessor.core.plan.flat import FlatPlanner
from lessor.core.plan.join import Join
from lessor.core.plan.network import Inputs, NetworkPlan, NetworkPlanner, title
from lessor.core.plan.overlay import OverlayPlanner
from lessor.core.plan.vlans import local_vlans
from lessor.core.state import HostState
from lessor.model import FLAT, VXLAN, Network, Port, Problem, Scope, View
from lessor.net.address import Address, ipv4s
from lessor.settings import AgentSettings


@dataclass(frozen=True, slots=True)
class Desired:
    """What the host should have, and why some of the view cannot be provided on this host.

    Attributes:
        state: all of it.
        plans: what each network asks of the host, by network id in order; those without a plan
            are among the problems.
        problems: what cannot be provided, or does not work.
    """

    state: HostState
    plans: tuple[NetworkPlan, ...] = ()
    problems: tuple[Problem, ...] = ()


class Planner:
    """Turns views into host states. A network is planned again when one of its rows changed."""

    def __init__(
        self, settings: AgentSettings, vlans: Mapping[str, int] | None = None, datapath: str = ""
    ) -> None:
        """Prepare.

        Args:
            settings: of the agent.
            vlans: the local VLANs that networks have on this host, by network id.
            datapath: of OVS bridges here: "system" or "netdev".
        """
        self._settings = settings
        self._vlans = dict(vlans or {})
        self._refusals = Refusals(settings)
        datapath = datapath or settings.datapath_type or "netdev"
        self._planners: dict[str, NetworkPlanner] = {
            FLAT: FlatPlanner(settings),
            VXLAN: OverlayPlanner(settings, datapath),
        }
        self._kept: dict[str, tuple[Scope, Inputs, NetworkPlan]] = {}
        self._join = Join(settings)

    def desired(self, view: View, around: Around = NOTHING) -> Desired:
        """Return what this host should have for `view`.

        Args:
            view: rows that concern it.
            around: what the host has and reaches without us.
        """
        obstacles = {key: self._obstacle(view.scopes[key].network) for key in sorted(view.scopes)}
        checked = {
            key: self._refusals.fit(key, view.scopes[key], around)
            for key, obstacle in obstacles.items()
            if not obstacle
        }
        fit = {key: scope for key, (scope, _) in checked.items()}
        plans = self._plans(fit, self._first_nics(view.scopes.values()))
        problems = (
            *(_problem(key, text) for key, text in obstacles.items() if text),
            *(_problem(plan.network.id, text) for plan in plans for text in plan.problems),
            *chain.from_iterable(found for _, found in checked.values()),
        )
        return Desired(self._join.state(plans, vteps(view), around), plans, problems)

    def _obstacle(self, network: Network) -> str:
        planner = self._planners.get(network.network_type)
        if planner is None:
            kind = network.network_type
            return f"{title(network)} is of type {kind}, which this agent cannot serve"
        return planner.obstacle(network)

    def _plans(
        self, scopes: Mapping[str, Scope], first_nics: frozenset[str]
    ) -> tuple[NetworkPlan, ...]:
        overlays = [key for key, scope in scopes.items() if scope.network.is_overlay]
        self._vlans = local_vlans(self._vlans, overlays)
        self._kept = {
            key: self._planned(key, scope, Inputs(first_nics, self._vlans.get(key, 0)))
            for key, scope in scopes.items()
        }
        return tuple(plan for _, _, plan in self._kept.values())

    def _planned(self, key: str, scope: Scope, inputs: Inputs) -> tuple[Scope, Inputs, NetworkPlan]:
        kept = self._kept.get(key)
        if kept and kept[0] is scope and kept[1] == inputs:
            return kept
        kind, before = scope.network.network_type, kept[2] if kept else None
        if before and before.network.network_type != kind:  # a cache is of its own planner
            before = None
        return scope, inputs, self._planners[kind].plan(scope, inputs, before)

    def _first_nics(self, scopes: Iterable[Scope]) -> frozenset[str]:
        """Return the ids of the ports that carry their VM's default route: its oldest port."""
        if not self._settings.use_single_default_gateway:
            return frozenset()
        oldest: dict[str, Port] = {}
        for port in chain.from_iterable(scope.ports.values() for scope in scopes):
            known = oldest.get(port.device_id)
            if not known or (port.created_at, port.id) < (known.created_at, known.id):
                oldest[port.device_id or port.id] = port
        return frozenset(port.id for port in oldest.values())


def _problem(network_id: str, text: str) -> Problem:
    return Problem(text=text, networks=(network_id,))


def vteps(view: View) -> tuple[Address, ...]:
    """Return the IPv4 VTEPs of all hosts that share an overlay network with this one."""
    ends = {end for scope in view.scopes.values() for end in scope.peers.values()}
    return tuple(sorted(ipv4s(ends)))
