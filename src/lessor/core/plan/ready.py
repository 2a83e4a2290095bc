"""How far the ports of a host are: wired, served, or what they wait for."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from lessor.core.diff import Observed, Unsound
from lessor.core.openflow.flow_bundle import resolvable
from lessor.core.plan.network import NetworkPlan, OwnPort
from lessor.core.plan.reserve import Reserved
from lessor.core.plan.rows import replaced, row_changes
from lessor.core.state import Bridge, DhcpServer, Flows, HostState, OvsPort, Reservation, Tap
from lessor.model import Port, PortReport


class _Progress(NamedTuple):
    """How far a port is."""

    wired: bool | None = None  # None: this host does not wire it
    served: bool | None = None  # None: this host has no reservation of it
    pending: str = ""  # what is waited for


_SERVED = _Progress(served=True)  # of most ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a pass found or left on the host.

    Attributes:
        bridges: the bridges as they were read, sound or not.
        taps: the taps as they are.
        own: the keys of our addresses, and the names of DHCP ports' devices, as they are.
        servers: the DHCP servers as they were read: what each is known to have loaded.
        guarded: the protection of all taps is in force.
        ovs_ports: the ports of OVS bridges as they are.
        flows: all flows of OVS bridges are in force, but those of VMs' ports that aren't there.
        problems: why a tap, address or DHCP server isn't as it should be, by its name.
        bridge_problems: the same of bridges, whose DHCP servers have their names.
    """

    bridges: Mapping[str, Bridge] = field(default_factory=dict)
    taps: Observed[Tap] = field(default_factory=dict)
    own: Collection[str] = ()
    servers: Mapping[str, DhcpServer] = field(default_factory=dict)
    guarded: bool = False
    ovs_ports: Observed[OvsPort] = field(default_factory=dict)
    flows: bool = False
    problems: Mapping[str, str] = field(default_factory=dict)
    bridge_problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Reported:
    """The reports on one network's ports, and what they were made from."""

    rows: dict[str, Port] = field(default_factory=dict)
    reserved: dict[str, Reservation] = field(default_factory=dict)
    progress: dict[str, _Progress] = field(default_factory=dict)
    reports: dict[str, PortReport] = field(default_factory=dict)


class PortReports:
    """Makes the reports on ports. They are kept, so that they cost what has changed."""

    def __init__(self) -> None:
        self._reported: dict[str, _Reported] = {}
        self._all: tuple[list[dict[str, PortReport]], dict[str, PortReport]] = ([], {})

    def of(self, plans: Iterable[NetworkPlan], found: Found) -> dict[str, PortReport]:
        """Return what this host can say of each port, by port id.

        Args:
            plans: what each network asks of this host.
            found: what there is.
        """
        before, self._reported = self._reported, {}
        for plan in plans:
            known = before.get(plan.network.id, _Reported())
            self._reported[plan.network.id] = _after(known, plan, _progress(plan, found))
        return self._joined([known.reports for known in self._reported.values()])

    def _joined(self, reports: list[dict[str, PortReport]]) -> dict[str, PortReport]:
        """Return them in one: the same object as long as nothing differs."""
        former, whole = self._all
        same = len(former) == len(reports) and all(map(operator.is_, former, reports))
        if not same:
            whole = dict(chain.from_iterable(one.items() for one in reports))
        self._all = reports, whole
        return whole


def _after(before: _Reported, plan: NetworkPlan, progress: dict[str, _Progress]) -> _Reported:
    """Return the reports on the ports of one network now.

    A port with a reservation is served, unless `progress` has it.
    """
    rows, by_port = plan.rows, plan.reserved.by_port
    changes = row_changes(before.rows, rows)
    ids = {port.id for port in changes.fresh}.union(changes.gone)
    if by_port is not before.reserved:
        ids |= before.reserved.keys() ^ by_port.keys()
    ids.update(key for key, _ in before.progress.items() ^ progress.items())
    known = {key: progress.get(key) or (_SERVED if key in by_port else None) for key in ids}
    made = {
        key: PortReport(revision=rows[key].revision, **one._asdict())
        for key, one in known.items()
        if one and key in rows
    }
    drop = [key for key in ids if key in before.reports and key not in made]
    put = {key: report for key, report in made.items() if before.reports.get(key) != report}
    return _Reported(rows, by_port, progress, replaced(before.reports, drop, put))


def _progress(plan: NetworkPlan, found: Found) -> dict[str, _Progress]:
    """Return how far ports are, by id, without those that are served and no more."""
    reserved = plan.reserved
    waiting = _unserved(reserved, found.servers.get(plan.server))
    late = found.problems.get(plan.server, "its reservation is not loaded yet")
    progress = dict.fromkeys(waiting, _Progress(served=False, pending=late))
    for tap in plan.state.taps.values():
        why = _unwired(tap, plan.state, found)
        served = tap.port_id not in waiting if tap.port_id in reserved.by_port else None
        pending = why or (late if served is False else "")
        progress[tap.port_id] = _Progress(not why, served, pending)
    for own in plan.own_ports:
        why = _missing(own, found)
        progress[own.port_id] = _Progress(not why, not why, why)
    return progress


def _unserved(reserved: Reserved, server: DhcpServer | None) -> set[str]:
    """Return the ids of the ports whose reservations a server hasn't loaded."""
    wanted, loaded = reserved.by_address, server.reservations if server else {}
    if loaded is wanted:
        return set()
    other = [key for key, one in wanted.items() if loaded.get(key) is not one]
    return {wanted[key].port_id for key in other if loaded.get(key) != wanted[key]}


def _unwired(tap: Tap, wanted: HostState, found: Found) -> str:
    """Return what a VM's port lacks to carry frames; "": nothing.

    On a Linux bridge it needs the bridge's wire and the guard of its tap, on an OVS bridge its
    place there and the flows.
    """
    there = found.taps.get(tap.name) == tap
    port = wanted.ovs_ports.get(tap.name)
    lacks = _fault(found.ovs_ports if there and port else found.taps, tap.name)
    if port is None:
        apart = _apart(wanted.bridges[tap.bridge], found)
        if there and found.guarded and not apart:
            return ""
        return apart or found.problems.get(tap.name, lacks)
    problem = found.problems.get(tap.name, "")
    if there and found.flows and found.ovs_ports.get(tap.name) == port and not problem:
        return ""
    return problem or found.problems.get(port.bridge, lacks)


def _fault(there: Observed[Tap] | Observed[OvsPort], name: str) -> str:
    """Return what is wrong with a tap or its port, as far as it was seen."""
    one = there.get(name)
    return one.why if isinstance(one, Unsound) else f"{name} is not ready"


def _apart(wanted: Bridge, found: Found) -> str:
    """Return why a bridge is not on its wire; "" if it is, or if none is wanted."""
    bridge = found.bridges.get(wanted.name)
    if wanted.interface is None or (bridge and bridge.interface == wanted.interface):
        return ""
    lacks = f"{wanted.interface} is not in bridge {wanted.name} yet"
    return found.bridge_problems.get(wanted.name, lacks)


def _missing(own: OwnPort, found: Found) -> str:
    """Return why a port of ours is not there; "": it is."""
    if own.thing in found.own:
        return ""
    return found.problems.get(own.thing, f"{own.thing} is not there yet")


def flows_in_force(
    wanted: Mapping[str, Flows],
    actual: Observed[Flows],
    ports: Mapping[str, OvsPort],
    there: Observed[OvsPort],
    awaited: Collection[str] = (),
) -> bool:
    """Tell whether bridges have all flows that they can have while some VMs' taps aren't there.

    Such a port waits, maybe for days, for its hypervisor; the others don't wait with it.

    Args:
        wanted: the flows by bridge.
        actual: those that there are.
        ports: the ports of OVS bridges as wanted.
        there: those that there are.
        awaited: ports that flows could not be applied for: they went in the middle of the pass.
    """
    if dict(actual) == dict(wanted):
        return True
    working = {name for name, port in there.items() if isinstance(port, OvsPort)} - set(awaited)
    waiting = {name for name, port in ports.items() if port.kind == "vif" and name not in working}
    present = ports.keys() - waiting
    return bool(waiting) and all(
        actual.get(bridge) == Flows(bridge, resolvable(flows.lines, present)[0])
        for bridge, flows in wanted.items()
    )


def news(before: Mapping[str, PortReport], now: Mapping[str, PortReport]) -> dict[str, PortReport]:
    """Return the reports that differ from those before."""
    other = [key for key, report in now.items() if before.get(key) is not report]
    return {key: now[key] for key in other if before.get(key) != now[key]}
