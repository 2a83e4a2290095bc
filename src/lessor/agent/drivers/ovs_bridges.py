"""Manages bridges of Open vSwitch.

Ours carry external_ids:owner=lessor. An operator's bridge of a configured name gets the settings
that it lacks, but not the mark, and is never removed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from lessor.agent.host.ovs import OWNER, BridgeRow, Ovsdb, Step
from lessor.core.diff import Changes, Unsound
from lessor.core.state import OvsBridge
from lessor.errors import Conflict, InUse
from lessor.steps import each

PROTOCOLS = frozenset({"OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"})
SYSTEM = "system"
MACS = (
    "50000"  # addresses that a bridge can learn; OVS's own limit of 8192 is below a large network
)


class OvsBridgeDriver:
    """Makes and repairs bridges, removes ours.

    Args:
        db: the database.
        names: configured names; an operator's bridge of such a name is used.
    """

    def __init__(self, db: Ovsdb, names: Collection[str]) -> None:
        self._db = db
        self._names = frozenset(names)
        self._wanted: set[str] = set()  # operator's bridges count while they are wanted

    def observe(self) -> dict[str, OvsBridge | Unsound[OvsBridge]]:
        """Return our bridges, and an operator's that we use, by name."""
        return {
            row.name: _shown(row)
            for row in self._db.bridges().values()
            if row.ours or row.name in self._wanted
        }

    def apply(self, changes: Changes[OvsBridge]) -> None:
        """Apply every change; raise one group of the failures."""
        steps = [partial(self._ensure, bridge) for bridge in changes.create + changes.replace]
        steps += [partial(self._remove, bridge) for bridge in changes.delete]
        each(steps, "OVS bridges")

    def _ensure(self, wanted: OvsBridge) -> None:
        present = self._db.bridges().get(wanted.name)
        if present is None:
            self._db.transact(_creation(wanted))
        elif present.ours:
            self._db.transact(_settings(wanted, PROTOCOLS))
        else:
            self._use(wanted, present)

    def _use(self, wanted: OvsBridge, present: BridgeRow) -> None:
        if wanted.name not in self._names:
            raise Conflict(f"bridge {wanted.name} of Open vSwitch is there and isn't ours")
        if _fault(present):
            self._db.transact(_additions(wanted.name, present.protocols | PROTOCOLS))
        self._wanted.add(wanted.name)
        if _datapath_type(present) != wanted.datapath_type:
            raise Conflict(
                f"bridge {wanted.name} was there before and has datapath_type "
                f"{_datapath_type(present)}, not {wanted.datapath_type}; set "
                f"datapath_type = {_datapath_type(present)}, or change the bridge"
            )

    def _remove(self, former: OvsBridge) -> None:
        self._wanted.discard(former.name)
        present = self._db.bridges().get(former.name)
        if present is None or not present.ours:
            return
        others = [p.name for p in present.ports if not p.ours and p.name != present.name]
        if others:
            raise InUse(
                f"bridge {former.name} is not needed any more, but has ports that aren't ours: "
                f"{', '.join(sorted(others))}; take them out and it is removed"
            )
        self._db.transact([lambda api: api.del_br(former.name)])


def _creation(wanted: OvsBridge) -> list[Step]:
    """Return the steps of a new bridge; its mark is in the same transaction."""
    name = wanted.name
    return [
        lambda api: api.add_br(name, may_exist=False, datapath_type=wanted.datapath_type),
        lambda api: api.db_set("Bridge", name, ("external_ids", dict(OWNER))),
        lambda api: api.db_set("Bridge", name, ("other_config", {"mac-table-size": MACS})),
        *_settings(wanted, PROTOCOLS),
    ]


def _settings(wanted: OvsBridge, protocols: frozenset[str]) -> list[Step]:
    kind = ("datapath_type", wanted.datapath_type)
    return [
        lambda api: api.db_set("Bridge", wanted.name, kind),
        *_additions(wanted.name, protocols),
    ]


def _additions(name: str, protocols: Collection[str]) -> Sequence[Step]:
    columns = (("fail_mode", "secure"), ("protocols", sorted(protocols)))
    return [lambda api: api.db_set("Bridge", name, *columns)]


def _shown(row: BridgeRow) -> OvsBridge | Unsound[OvsBridge]:
    bridge = OvsBridge(row.name, _datapath_type(row))
    why = _fault(row)
    return Unsound(bridge, why) if why else bridge


def _fault(row: BridgeRow) -> str:
    """Return what is wrong with a bridge; "": nothing."""
    if row.fail_mode != "secure":
        return f"bridge {row.name}: fail_mode is {row.fail_mode!r}, not 'secure'"
    if lacks := PROTOCOLS - row.protocols:
        return f"bridge {row.name} lacks protocols: {', '.join(sorted(lacks))}"
    return ""


def _datapath_type(row: BridgeRow) -> str:
    return row.datapath_type or SYSTEM
