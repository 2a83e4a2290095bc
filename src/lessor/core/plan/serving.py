"""Which networks a host has a DHCP server for, and can't serve by what a pass found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lessor.core.plan.desired import Desired
from lessor.core.plan.flat import Part
from lessor.core.plan.overlay import OverlayPart

LASTING_S = 3.0  # a failure of one pass may be mended by the next
SWITCH_KINDS = ("ovs_bridges", "ovs_ports", "flows")  # one failure of these concerns all overlays
OVERLAY_KINDS = (*SWITCH_KINDS, "namespaces", "dhcp_devices", "dhcp_servers")
FLAT_KINDS = ("bridges", "addresses", "dhcp_servers")


@dataclass(frozen=True, slots=True)
class Failure:
    """What a pass could not do: of which kind, of which thing ("": of all), and why."""

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
    failed = list(failures)
    if not failed:
        return {}
    found = [*_overlays(desired.overlay, failed, switch), *_flats(desired.parts, failed)]
    return dict(reversed(found))  # the first reason of a network is the cause


def _overlays(
    parts: Iterable[OverlayPart], failures: list[Failure], switch: str
) -> Iterator[tuple[str, str]]:
    some = [one for one in failures if one.kind in OVERLAY_KINDS and not one.waits]
    for part in parts if some else ():
        if part.server is None:
            continue
        names = {part.network_id, *(device for _, device in part.own_ports)}
        if part.namespace:
            names.add(part.namespace.name)
        for one in some:
            everywhere = one.kind in SWITCH_KINDS and one.name in {"", switch}
            if everywhere or not one.name or one.name in names:
                yield part.network_id, one.text


def _flats(parts: Iterable[Part], failures: list[Failure]) -> Iterator[tuple[str, str]]:
    some = [one for one in failures if one.kind in FLAT_KINDS and (not one.waits or _is_wire(one))]
    for part in parts if some else ():
        if not part.ranges:
            continue
        names = {"", part.bridge.name, *(address.key for address in part.addresses)}
        yield from ((part.network.id, one.text) for one in some if one.name in names)


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
