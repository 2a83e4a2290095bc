"""How far the ports of a host are: what a report says of them."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from lessor.core.openflow.flow_bundle import resolvable
from lessor.core.plan.flat import Part
from lessor.core.plan.overlay import OverlayPart
from lessor.core.plan.reserve import Reserved
from lessor.core.plan.rows import replaced, row_changes
from lessor.core.state import Bridge, DhcpServer, Flows, OvsPort, Reservation, Tap
from lessor.model import Port, PortReport

_Told = tuple[str, bool, str]  # a port's id, whether it is so, and if not, why
_Word = tuple[bool | None, bool | None, str]  # wired, served, and what is waited for
_Words = dict[str, _Word]  # by port id
_SERVED: _Word = (None, True, "")  # what is said of most ports


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
        flows: all flows of OVS bridges are in force, but those of VMs' ports that aren't there.
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


@dataclass(frozen=True, slots=True)
class _Known:
    """What was said of one network's ports, and what it was said from."""

    rows: dict[str, Port] = field(default_factory=dict)
    reserved: dict[str, Reservation] = field(default_factory=dict)
    words: _Words = field(default_factory=dict)
    reports: dict[str, PortReport] = field(default_factory=dict)


class PortReports:
    """Says how far ports are. What was said is kept, so that it costs what has changed."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._all: tuple[list[dict[str, PortReport]], dict[str, PortReport]] = ([], {})

    def of(
        self, parts: Sequence[Part], overlay: Sequence[OverlayPart], found: Found
    ) -> dict[str, PortReport]:
        """Return what this host can say of each port, by port id.

        Args:
            parts: what each flat network asks of this host.
            overlay: what each overlay network does.
            found: what there is.
        """
        before, self._known = self._known, {}
        for part in parts:
            known = before.get(part.network.id, _Known())
            words = _flat_words(part, found)
            self._known[part.network.id] = _after(known, part.kept.rows, part.reserved, words)
        for over in overlay:
            known = before.get(over.network_id, _Known())
            reserved = over.reserved if over.server else Reserved()
            words = _overlay_words(over, reserved, found)
            self._known[over.network_id] = _after(known, over.rows, reserved, words)
        return self._joined([known.reports for known in self._known.values()])

    def _joined(self, reports: list[dict[str, PortReport]]) -> dict[str, PortReport]:
        """Return them in one: the same object as long as nothing differs."""
        former, whole = self._all
        same = len(former) == len(reports) and all(map(operator.is_, former, reports))
        if not same:
            whole = dict(chain.from_iterable(one.items() for one in reports))
        self._all = reports, whole
        return whole


def _after(known: _Known, rows: dict[str, Port], reserved: Reserved, words: _Words) -> _Known:
    """Return what is said of the ports of one network now.

    A port with a reservation is served, unless there are words about it.
    """
    by_port = reserved.by_port
    changes = row_changes(known.rows, rows)
    ids = {port.id for port in changes.fresh}.union(changes.gone)
    if by_port is not known.reserved:
        ids |= known.reserved.keys() ^ by_port.keys()
    ids.update(key for key, _ in known.words.items() ^ words.items())
    said = {key: words.get(key) or (_SERVED if key in by_port else None) for key in ids}
    made = {
        key: PortReport(revision=rows[key].revision, wired=word[0], served=word[1], pending=word[2])
        for key, word in said.items()
        if word and key in rows
    }
    drop = [key for key in ids if key in known.reports and key not in made]
    put = {key: report for key, report in made.items() if known.reports.get(key) != report}
    return _Known(rows, by_port, words, replaced(known.reports, drop, put))


def _flat_words(part: Part, found: Found) -> _Words:
    wired, own = _wired(part, found), _own(part.own_ports, found.addresses, found)
    return _words(wired, own, part.reserved, part.bridge.name, found)


def _overlay_words(over: OverlayPart, reserved: Reserved, found: Found) -> _Words:
    plugged, own = _plugged(over, found), _own(over.own_ports, found.devices, found)
    return _words(plugged, own, reserved, over.network_id, found)


def _words(
    wired: Iterable[_Told], own: Iterable[_Told], reserved: Reserved, server: str, found: Found
) -> _Words:
    """Return what there is to say of ports, without those that are served and no more."""
    waiting = _unserved(reserved, found.servers.get(server))
    late = found.problems.get(server, "its reservation is not loaded yet")
    words: _Words = dict.fromkeys(waiting, (None, False, late))
    for port_id, there, why in wired:
        served = port_id not in waiting if port_id in reserved.by_port else None
        words[port_id] = (there, served, why or (late if served is False else ""))
    return words | {port_id: (there, there, why) for port_id, there, why in own}


def _unserved(reserved: Reserved, server: DhcpServer | None) -> set[str]:
    """Return the ids of the ports whose reservations a server hasn't loaded."""
    wanted, loaded = reserved.by_address, server.reservations if server else {}
    if loaded is wanted:
        return set()
    other = [key for key, one in wanted.items() if loaded.get(key) is not one]
    return {wanted[key].port_id for key in other if loaded.get(key) != wanted[key]}


def _wired(part: Part, found: Found) -> Iterator[_Told]:
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


def _plugged(part: OverlayPart, found: Found) -> Iterator[_Told]:
    wanted = {port.name: port for port in part.ports}
    for tap in part.taps:
        there = found.taps.get(tap.name) == tap
        in_bridge = there and found.ovs_ports.get(tap.name) == wanted[tap.name]
        plugged = in_bridge and found.flows and tap.name not in found.problems
        all_ports = found.problems.get(wanted[tap.name].bridge, f"{tap.name} is not ready")
        why = found.problems.get(tap.name, all_ports)
        yield tap.port_id, plugged, "" if plugged else why


def _own(
    own_ports: Iterable[tuple[str, str]], present: Collection[str], found: Found
) -> Iterator[_Told]:
    for port_id, key in own_ports:
        there = key in present
        why = found.problems.get(key, f"{key} is not there yet")
        yield port_id, there, "" if there else why


def flows_in_force(
    wanted: Mapping[str, Flows],
    actual: Mapping[str, Flows],
    ports: Mapping[str, OvsPort],
    there: Mapping[str, OvsPort],
    awaited: Collection[str] = (),
) -> bool:
    """Tell whether bridges have all flows that they can have while some VMs' taps aren't there.

    Such a port waits, maybe for days, for its hypervisor; the others don't wait with it.

    Args:
        wanted: the flows by bridge.
        actual: those that there are.
        ports: the ports of OVS bridges as wanted.
        there: those that there are; one on no bridge does not work.
        awaited: ports that flows could not be applied for: they went in the middle of the pass.
    """
    if dict(actual) == dict(wanted):
        return True
    working = {name for name, port in there.items() if port.bridge} - set(awaited)
    waiting = {name for name, port in ports.items() if port.kind == "vif" and name not in working}
    present = ports.keys() - waiting
    return bool(waiting) and all(
        bridge in actual and actual[bridge].lines == resolvable(flows.lines, present)[0]
        for bridge, flows in wanted.items()
    )


def news(said: Mapping[str, PortReport], now: Mapping[str, PortReport]) -> dict[str, PortReport]:
    """Return the reports that differ from what was said before."""
    other = [key for key, report in now.items() if said.get(key) is not report]
    return {key: now[key] for key in other if said.get(key) != now[key]}
