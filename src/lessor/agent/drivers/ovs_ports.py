"""Manages ports of OVS bridges.

Ours carry external_ids:owner=lessor in the Port row. A VM's port may have been made by its
hypervisor: it is found by external_ids:iface-id of the Interface, whatever its name, and gets our
marks (and lessor-taken=true): when it is no longer desired, it goes to the dead VLAN and loses its
marks.

Userspace OVS keeps the old device open when a device of the same name replaces it, until the port
is removed and added in two steps; lessor-ifindex tells which device it has.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lessor.agent.drivers.ovs_ingress import OvsIngress
from lessor.agent.host.netlink import explained
from lessor.agent.host.ovs import OWNER, BridgeRow, Ovsdb, PortRow, Step, exactly, without
from lessor.agent.host.run import Run
from lessor.core.diff import Changes, Unsound
from lessor.core.state import OvsPort
from lessor.errors import CommandError, Conflict, LessorError, Pending, Unavailable
from lessor.steps import each, tried

DEAD_VLAN = 4095
KIND, NAME, NETWORK, TAKEN = "lessor-kind", "lessor-name", "lessor-network", "lessor-taken"
INDEX = "lessor-ifindex"
MARKS = (*OWNER, KIND, NAME, NETWORK, TAKEN, INDEX)
DEVICES = ("vif", "dhcp")  # kinds whose device is not made by OVS
TYPES = {"patch": "patch", "vxlan": "vxlan"}  # of the Interface; others are "", a system device


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """Bridges and ports at the beginning of an apply."""

    bridges: Mapping[str, BridgeRow]
    ports: Mapping[str, PortRow]

    def row_of(self, port: OvsPort) -> PortRow | None:
        """Return the row that is, or can become, this port: by its mark, iface-id or name."""
        ours = (row for row in self.ports.values() if row.ours and _key(row) == port.name)
        plugged = (
            row
            for row in self.ports.values()
            if port.kind == "vif" and row.bridge == port.bridge
            if row.interface_ids.get("iface-id") == port.port_id
        )
        return next(ours, None) or next(plugged, None) or self.ports.get(port.name)

    def is_userspace(self, bridge: str) -> bool:
        """Tell whether a bridge switches in userspace."""
        return bridge in self.bridges and self.bridges[bridge].datapath_type == "netdev"

    def is_stale(self, row: PortRow) -> bool:
        """Return whether OVS has a removed device open, while a new one has its name."""
        had, now = row.external_ids.get(INDEX), _index(row.name)
        return self.is_userspace(row.bridge) and row.ours and had is not None and had != now != ""


class OvsPortDriver:
    """Makes or takes ports, and removes or releases them.

    Args:
        db: the database.
        run: runs nft.
    """

    def __init__(self, db: Ovsdb, run: Run) -> None:
        self._db = db
        self._ingress = OvsIngress(run)

    def observe(self) -> dict[str, OvsPort | Unsound[OvsPort]]:
        """Return the ports that carry our mark, by their desired name.

        One that does not work (no device, or the host's own stack gets its frames too) is unsound;
        so is a closed device that is no port any more.
        """
        snapshot = self._snapshot()
        ours = [row for row in snapshot.ports.values() if row.ours]
        closed = (
            self._ingress.devices() if any(map(snapshot.is_userspace, snapshot.bridges)) else set()
        )
        left = closed - {row.name for row in ours}
        found: dict[str, OvsPort | Unsound[OvsPort]] = {
            name: Unsound(OvsPort(name, "", ""), f"{name} is closed to the host, and no port")
            for name in left
        }
        for row in ours:
            port, why = _shown(row), _fault(row, snapshot, closed)
            found[_key(row)] = Unsound(port, why) if why else port
        return found

    def vlans(self) -> dict[str, int]:
        """Return the local VLAN of each network that has a port here, by network id."""
        return {
            row.external_ids[NETWORK]: row.tag
            for row in self._db.ports().values()
            if row.ours and NETWORK in row.external_ids and row.tag not in (None, DEAD_VLAN)
        }

    def tunnels(self) -> dict[str, Mapping[str, str]]:
        """Return the BFD status of each tunnel of ours, by the address of its other end.

        Raises:
            Unavailable: the database does not answer.
        """
        return {
            row.options.get("remote_ip", ""): row.bfd_status
            for row in self._db.ports().values()
            if row.ours and row.type == "vxlan"
        }

    def names(self) -> dict[str, str]:
        """Return the real names of our ports, by their desired name, where it differs."""
        ours = (row for row in self._db.ports().values() if row.ours)
        return {_key(row): row.name for row in ours if _key(row) != row.name}

    def numbers(self) -> dict[str, dict[str, int]]:
        """Return the OpenFlow numbers of all ports that have one, by bridge and name.

        Raises:
            Unavailable: the database does not answer.
        """
        return {
            bridge.name: {p.name: p.ofport for p in bridge.ports if p.ofport and p.ofport > 0}
            for bridge in self._db.bridges().values()
        }

    def apply(self, changes: Changes[OvsPort]) -> None:
        """Apply every change; raise one group of the failures."""
        snapshot = self._snapshot()
        wanted = changes.create + changes.replace
        plans: dict[str, list[Step]] = {}
        failures = tried(lambda: self._renew(plans, snapshot, wanted))
        for port in wanted:
            if port.name not in plans:
                failures += tried(partial(_add_plan, plans, snapshot, port))
        forget, gone = list[str](), list[PortRow]()
        for former in changes.delete:
            row = snapshot.row_of(former)
            forget.append(row.name if row and row.ours else former.name)
            if row is not None and row.ours:
                gone.append(row)
        plans |= _release(gone)
        planned = [port for port in wanted if port.name in plans]
        failures += tried(lambda: self._close(snapshot, planned))
        failures += tried(lambda: self._transact(plans))
        failures += tried(lambda: self._forget(forget))
        failures += self._unfinished(planned, failures)
        if failures:
            raise ExceptionGroup(f"{len(failures)} OVS ports failed", failures)

    def _snapshot(self) -> _Snapshot:
        bridges = self._db.bridges()
        return _Snapshot(bridges, {row.name: row for one in bridges.values() for row in one.ports})

    def _renew(
        self, plans: dict[str, list[Step]], snapshot: _Snapshot, wanted: Sequence[OvsPort]
    ) -> None:
        """Remove the ports whose device is another by now, and plan to add them again."""
        found = ((port, snapshot.row_of(port)) for port in wanted)
        stale = [(port, row) for port, row in found if row and snapshot.is_stale(row)]
        if not stale:
            return
        self._db.transact([_deletion(row) for _, row in stale])
        for port, row in stale:
            if row.bridge == port.bridge:
                plans[port.name] = _renewal(port, row)
            else:
                plans[port.name] = [*_creation(port), *_settings(port, port.name, taken=False)]

    def _close(self, snapshot: _Snapshot, wanted: list[OvsPort]) -> None:
        """Close the devices before OVS gets them: no frame is to come before."""
        devices = set()
        for port in wanted:
            if port.kind in DEVICES and snapshot.is_userspace(port.bridge):
                row = snapshot.row_of(port)
                devices.add(row.name if row else port.name)
        if devices:
            self._ingress.change(close={d for d in devices if _index(d)})

    def _forget(self, devices: list[str]) -> None:
        if devices:
            self._ingress.change(close=(), forget=devices)

    def _transact(self, plans: Mapping[str, list[Step]]) -> None:
        """Do all in one transaction; if it is refused, each port in one of its own."""
        if not any(plans.values()):
            return
        try:
            self._db.transact([step for steps in plans.values() for step in steps])
        except CommandError:
            each([partial(self._alone, *plan) for plan in plans.items()], "OVS ports")

    def _alone(self, name: str, steps: list[Step]) -> None:
        try:
            self._db.transact(steps)
        except CommandError as error:
            failure = LessorError(f"{name}: {error}")
            failure.key = name
            raise failure from error

    def _unfinished(self, wanted: list[OvsPort], failures: list[Exception]) -> Iterator[Exception]:
        """Yield what keeps ports from working that are in the database."""
        if any(isinstance(failure, CommandError | Unavailable) for failure in failures):
            return
        snapshot = self._snapshot()
        for port in wanted:
            row = snapshot.row_of(port)
            if row is None or (row.ofport or 0) > 0:
                continue
            if row.error:
                yield LessorError(f"port {row.name} of {row.bridge}: {row.error}")
            elif row.ofport is None:
                yield Pending(
                    f"{row.name} of {row.bridge} waits for ovs-vswitchd, which has not made it "
                    f"yet; does it run?",
                    key=port.name,
                    retry_s=1,
                )


# --- from the database


def _key(row: PortRow) -> str:
    return row.external_ids.get(NAME, row.name)


def _fault(row: PortRow, snapshot: _Snapshot, closed: Collection[str]) -> str:
    """Return why a port does not work; "": it does."""
    kind = row.external_ids.get(KIND, "")
    if (row.ofport or 0) <= 0:
        return f"ovs-vswitchd does not switch {row.name}"
    if row.type != TYPES.get(kind, ""):
        return f"{row.name} is of type {row.type!r}, not {TYPES.get(kind, '')!r}"
    if kind in DEVICES and row.interface_ids.get("iface-status") != "active":
        return f"{row.name} is not marked as active"
    return "" if row.type else _fault_of_device(row, snapshot, closed)


def _fault_of_device(row: PortRow, snapshot: _Snapshot, closed: Collection[str]) -> str:
    index = _index(row.name)
    if not snapshot.is_userspace(row.bridge):
        return "" if index else f"device {row.name} of its port is gone"
    if row.name not in closed:
        return f"the host's own stack gets the frames of {row.name}, too"
    if row.external_ids.get(INDEX) != index:
        return f"device {row.name} was replaced, and Open vSwitch has the old one open"
    return ""


def _shown(row: PortRow) -> OvsPort:
    kind = row.external_ids.get(KIND, "")
    has_options = kind in TYPES
    return OvsPort(
        name=_key(row),
        bridge=row.bridge,
        kind=kind,
        port_id="" if has_options else row.interface_ids.get("iface-id", ""),
        mac="" if has_options else row.interface_ids.get("attached-mac", ""),
        network_id=row.external_ids.get(NETWORK, ""),
        vlan=row.tag,
        options=tuple(sorted(row.options.items())) if has_options else (),
        bfd=tuple(sorted(row.bfd.items())) if kind == "vxlan" else (),
    )


# --- to the database


def _add_plan(plans: dict[str, list[Step]], snapshot: _Snapshot, port: OvsPort) -> None:
    with explained(port.name, key=port.name):
        plans[port.name] = _plan(snapshot, port)


def _plan(snapshot: _Snapshot, port: OvsPort) -> list[Step]:
    """Return the steps that make a port what it should be."""
    row = snapshot.row_of(port)
    if port.bridge not in snapshot.bridges:
        raise Pending(f"{port.name} waits for bridge {port.bridge}", key=port.name)
    if row is not None and row.bridge != port.bridge:
        if not row.ours:
            raise Conflict(f"{port.name} can't join {port.bridge}: it is a port of {row.bridge}")
        return [_deletion(row), *_creation(port), *_settings(port, port.name, taken=False)]
    if port.kind in DEVICES and not _index(row.name if row else port.name):
        raise Pending(_waits(port), key=port.name)
    if row is None:
        return [*_creation(port), *_settings(port, port.name, taken=False)]
    if not row.ours and port.kind != "vif":
        raise Conflict(f"{port.name} is there on {port.bridge} and isn't ours; remove or rename it")
    taken = row.external_ids.get(TAKEN) == "true" if row.ours else True
    return _settings(port, row.name, taken=taken)


def _waits(port: OvsPort) -> str:
    if port.kind == "vif":
        return f"the hypervisor has not made {port.name} of port {port.port_id} yet"
    return f"{port.name} of DHCP port {port.port_id} waits for its device"


def _creation(port: OvsPort) -> list[Step]:
    return [lambda api: api.add_port(port.bridge, port.name, may_exist=False)]


def _renewal(port: OvsPort, row: PortRow) -> list[Step]:
    """Return the steps that make a removed row again, with what a hypervisor had put there."""
    ids = dict(row.interface_ids)
    return [
        lambda api: api.add_port(port.bridge, row.name, may_exist=False),
        exactly("Interface", row.name, "external_ids", ids),
        *_settings(port, row.name, taken=row.external_ids.get(TAKEN) == "true"),
    ]


def _settings(port: OvsPort, name: str, *, taken: bool) -> list[Step]:
    """Return the steps that give a row all that the port has; the mark is in the same step."""
    marks = OWNER | {KIND: port.kind, NAME: port.name}
    if port.network_id:
        marks[NETWORK] = port.network_id
    if taken:
        marks[TAKEN] = "true"
    if port.kind in DEVICES:
        marks[INDEX] = _index(name)
    tag = [] if port.vlan is None else [port.vlan]
    steps: list[Step] = [
        lambda api: api.db_set("Port", name, ("external_ids", marks)),
        exactly("Port", name, "tag", tag),
        lambda api: api.db_set("Interface", name, ("type", TYPES.get(port.kind, ""))),
    ]
    if port.kind in DEVICES:
        ids = {"iface-id": port.port_id, "attached-mac": port.mac, "iface-status": "active"}
        return [*steps, lambda api: api.db_set("Interface", name, ("external_ids", ids))]
    steps.append(exactly("Interface", name, "options", dict(port.options)))
    return [*steps, exactly("Interface", name, "bfd", dict(port.bfd))] if port.bfd else steps


def _release(rows: Sequence[PortRow]) -> dict[str, list[Step]]:
    """Return the steps that remove ports of ours, or give them back to their hypervisor.

    Without a tag such a port would be in every network. One without a device is removed: a
    hypervisor removes the port before the device, and we may have restored it in between.
    """
    taken = [
        row
        for row in rows
        if row.external_ids.get(TAKEN) == "true" and (row.type or _index(row.name))
    ]
    plans = {f"release of {row.name}": _giving_back(row.name) for row in taken}
    for bridge in sorted({row.bridge for row in rows}):
        names = sorted(row.name for row in rows if row.bridge == bridge and row not in taken)
        if names:
            plans[f"removal of {', '.join(names)}"] = [without(bridge, names)]
    return plans


def _giving_back(name: str) -> list[Step]:
    return [
        lambda api: api.db_set("Port", name, ("tag", [DEAD_VLAN])),
        lambda api: api.db_remove("Port", name, "external_ids", *MARKS),
    ]


def _deletion(row: PortRow) -> Step:
    return lambda api: api.del_port(row.name, row.bridge)


def _index(device: str) -> str:
    """Return the index of a network device of the host; "": there is none of this name."""
    try:
        return str(socket.if_nametoindex(device))
    except OSError:
        return ""
