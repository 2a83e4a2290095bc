"""How far the ports of a host are: what a report says of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from lessor.core.flat import Part
from lessor.core.state import Bridge, DhcpServer, Tap
from lessor.model import PortReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a pass found or left on the host.

    Attributes:
        bridges: the bridges as they are.
        taps: the taps as they are.
        addresses: the keys of our addresses as they are.
        servers: the DHCP servers as they are: what each has loaded.
        guarded: the protection of all taps is in force.
        problems: why a tap, address or DHCP server isn't as it should be, by its name.
        bridge_problems: the same of bridges, whose DHCP servers have their names.
    """

    bridges: Mapping[str, Bridge] = field(default_factory=dict)
    taps: Mapping[str, Tap] = field(default_factory=dict)
    addresses: Collection[str] = ()
    servers: Mapping[str, DhcpServer] = field(default_factory=dict)
    guarded: bool = False
    problems: Mapping[str, str] = field(default_factory=dict)
    bridge_problems: Mapping[str, str] = field(default_factory=dict)


def port_reports(
    parts: tuple[Part, ...], found: Found, revisions: Mapping[str, int]
) -> dict[str, PortReport]:
    """Return what this host can say of each port, by port id.

    Args:
        parts: what each network asks of this host.
        found: what there is.
        revisions: of the port rows that the parts were made from, by port id.
    """
    said: dict[str, tuple[bool | None, bool | None, str]] = {}
    for part in parts:
        for port_id, wired, why in _wired(part, found):
            said[port_id] = (wired, None, why)
        said |= {port_id: (there, there, why) for port_id, there, why in _own(part, found)}
        for port_id, served, why in _served(part, found):
            wired_here, _, before = said.get(port_id, (None, None, ""))
            said[port_id] = (wired_here, served, before or why)
    return {
        port_id: PortReport(
            revision=revisions.get(port_id, 0), wired=wired, served=served, pending=why
        )
        for port_id, (wired, served, why) in said.items()
    }


def _wired(part: Part, found: Found) -> Iterator[tuple[str, bool, str]]:
    apart = _apart(part.bridge, found)
    for tap in part.taps:
        wired = not apart and found.guarded and found.taps.get(tap.name) == tap
        why = apart or found.problems.get(tap.name, f"{tap.name} is not ready")
        yield tap.port_id, wired, "" if wired else why


def _apart(wanted: Bridge, found: Found) -> str:
    """Say why a bridge is not on its wire; "" if it is, or if none is wanted."""
    bridge = found.bridges.get(wanted.name)
    if wanted.interface is None or (bridge and bridge.interface == wanted.interface):
        return ""
    lacks = f"{wanted.interface} is not in bridge {wanted.name} yet"
    return found.bridge_problems.get(wanted.name, lacks)


def _own(part: Part, found: Found) -> Iterator[tuple[str, bool, str]]:
    for port_id, key in part.own_ports:
        there = key in found.addresses
        why = found.problems.get(key, f"{key} is not there yet")
        yield port_id, there, "" if there else why


def _served(part: Part, found: Found) -> Iterator[tuple[str, bool, str]]:
    name = part.bridge.name
    server = found.servers.get(name)
    loaded = server.reservations if server else {}
    why = found.problems.get(name, "its reservation is not loaded yet")
    for wanted in part.reservations:
        served = loaded.get(str(wanted.address)) == wanted
        yield wanted.port_id, served, "" if served else why


def news(said: Mapping[str, PortReport], now: Mapping[str, PortReport]) -> dict[str, PortReport]:
    """Return the reports that differ from what was said before."""
    return {key: report for key, report in now.items() if said.get(key) != report}
