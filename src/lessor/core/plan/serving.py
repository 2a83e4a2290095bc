"""Which networks a host has a DHCP server for and cannot serve, by the failures of a pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lessor.core.plan.desired import Desired
from lessor.core.plan.network import NetworkPlan

LASTING_S = 3.0  # a failure of one pass may be mended by the next
SWITCH_KINDS = ("ovs_bridges", "ovs_ports", "flows")  # one failure of these may concern all of OVS
KINDS = (
    *SWITCH_KINDS,
    *("bridges", "namespaces", "dhcp_devices", "addresses", "dhcp_servers"),
)  # that a DHCP server needs


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure of a pass. `name`: of the thing; "": of all of its kind. `text`: why."""

    kind: str
    name: str
    text: str
    waits: bool = False


def unserved(desired: Desired, failures: Iterable[Failure], switch: str = "") -> dict[str, str]:
    """Return why networks have no DHCP from this host, by network id.

    Args:
        desired: what this host should have.
        failures: of the last pass.
        switch: the name that failures of all of Open vSwitch go by.
    """
    failed = [one for one in failures if one.kind in KINDS and (not one.waits or _is_wire(one))]
    if not failed:
        return {}
    serving = [plan for plan in desired.plans if plan.server]
    found = [
        (plan.network.id, one.text) for plan in serving for one in _concerning(plan, failed, switch)
    ]
    return dict(reversed(found))  # the first reason of a network is the cause


def _concerning(plan: NetworkPlan, failures: Iterable[Failure], switch: str) -> Iterator[Failure]:
    """Yield the failures that keep a network's DHCP server from serving."""
    state = plan.state
    needs = {"", *state.bridges, *state.addresses, *state.namespaces, *state.dhcp_servers}
    needs.update(own.thing for own in plan.own_ports)
    for one in failures:
        everywhere = one.kind in SWITCH_KINDS and one.name == switch
        if _has(plan, one.kind) and (everywhere or one.name in needs):
            yield one


def _has(plan: NetworkPlan, kind: str) -> bool:
    """Return whether a plan has things of a kind; flows are made for all networks at once."""
    return plan.facts is not None if kind == "flows" else bool(getattr(plan.state, kind))


def _is_wire(one: Failure) -> bool:
    """Tell whether a bridge waits for its cable or its interface: VMs don't wait with it."""
    return one.kind == "bridges"


class Lasting:
    """Leaves out what has failed for less than `LASTING_S`."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def of(self, reasons: Mapping[str, str], now: float) -> dict[str, str]:
        """Return the reasons of the networks that have had one for a while.

        Args:
            reasons: of now, by network id.
            now: seconds, never going back.
        """
        self._since = {key: self._since.get(key, now) for key in reasons}
        return {key: why for key, why in reasons.items() if now - self._since[key] >= LASTING_S}
