"""How far the ports of a host are: what a report says of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lessor.core.flat import Part
from lessor.core.overlay import OverlayPart
from lessor.core.state import Bridge, DhcpServer, OvsPort, Reservation, Tap
from lessor.model import PortReport

_Word = tuple[str, bool, str]  # a port's id, whether it is so, and if not, why


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a pass found or left on the host.

    Attributes:
        bridges: the bridges as they are.
        taps: the taps as they are.
        addresses: the keys of our addresses as they are.
        servers: the DHCP servers as they are: what each has loaded.
        guarded: the protection of all taps is in force.
        ovs_ports: the ports of OVS bridges as they are.
        flows: all flows of OVS bridges are in force.
        devices: the names of the DHCP ports' devices as they are.
        problems: why a tap, address or DHCP server isn't as it should be, by its name.
        bridge_problems: the same of bridges, whose DHCP servers have their names.
    """

    bridges: Mapping[str, Bridge] = field(default_factory=dict)
    taps: Mapping[str, Tap] = field(default_factory=dict)
    addresses: Collection[str] = ()
    servers: Mapping[str, DhcpServer] = field(default_factory=dict)
    guarded: bool = False
    ovs_ports: Mapping[str, OvsPort] = field(default_factory=dict)
    flows: bool = False
    devices: Collection[str] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    bridge_problems: Mapping[str, str] = field(default_factory=dict)


def port_reports(
    parts: Sequence[Part],
    overlay: Sequence[OverlayPart],
    found: Found,
    revisions: Mapping[str, int],
) -> dict[str, PortReport]:
    """Return what this host can say of each port, by port id.

    Args:
        parts: what each flat network asks of this host.
        overlay: what each overlay network does.
        found: what there is.
        revisions: of the port rows that the parts were made from, by port id.
    """
    said: dict[str, tuple[bool | None, bool | None, str]] = {}
    for part in parts:
        wired, own = _wired(part, found), _own(part.own_ports, found.addresses, found)
        _say(said, wired, own, _served(part.bridge.name, part.reservations, found))
    for over in overlay:
        server = over.server
        served = _served(server.name, server.reservations.values(), found) if server else ()
        plugged, own = _plugged(over, found), _own(over.own_ports, found.devices, found)
        _say(said, plugged, own, served)
    return {
        port_id: PortReport(
            revision=revisions.get(port_id, 0), wired=wired, served=served, pending=why
        )
        for port_id, (wired, served, why) in said.items()
    }


def _say(
    said: dict[str, tuple[bool | None, bool | None, str]],
    wired: Iterable[_Word],
    own: Iterable[_Word],
    served: Iterable[_Word],
) -> None:
    """Join what is said of the ports of one network."""
    said |= {port_id: (there, None, why) for port_id, there, why in wired}
    said |= {port_id: (there, there, why) for port_id, there, why in own}
    for port_id, there, why in served:
        wired_here, _, before = said.get(port_id, (None, None, ""))
        said[port_id] = (wired_here, there, before or why)


def _wired(part: Part, found: Found) -> Iterator[_Word]:
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


def _plugged(part: OverlayPart, found: Found) -> Iterator[_Word]:
    wanted = {port.name: port for port in part.ports}
    for tap in part.taps:
        there = found.taps.get(tap.name) == tap
        plugged = there and found.ovs_ports.get(tap.name) == wanted[tap.name] and found.flows
        why = found.problems.get(tap.name, f"{tap.name} is not ready")
        yield tap.port_id, plugged, "" if plugged else why


def _own(
    own_ports: Iterable[tuple[str, str]], present: Collection[str], found: Found
) -> Iterator[_Word]:
    for port_id, key in own_ports:
        there = key in present
        why = found.problems.get(key, f"{key} is not there yet")
        yield port_id, there, "" if there else why


def _served(name: str, reservations: Iterable[Reservation], found: Found) -> Iterator[_Word]:
    server = found.servers.get(name)
    loaded = server.reservations if server else {}
    why = found.problems.get(name, "its reservation is not loaded yet")
    for wanted in reservations:
        served = loaded.get(str(wanted.address)) == wanted
        yield wanted.port_id, served, "" if served else why


def news(said: Mapping[str, PortReport], now: Mapping[str, PortReport]) -> dict[str, PortReport]:
    """Return the reports that differ from what was said before."""
    return {key: report for key, report in now.items() if said.get(key) != report}
