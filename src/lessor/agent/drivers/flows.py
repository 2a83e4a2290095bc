"""Manages our flows on OVS bridges.

Ours carry the cookie of `lessor.core.openflow.flow_bundle`. Other flows on the same bridge, and
what OVS learned, are not read.

ovs-ofctl prints flows in its own form, so what was applied is stored in a file, with a digest of
what it printed afterwards, ports by name: a deleted flow, a restart of ovs-vswitchd (it forgets all
flows) and a recreated port all change it. If the file is lost, the flows are applied once more.

A comparison holds until `verify()` is called or a port has another number.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lessor.agent.drivers import meters
from lessor.agent.host import unwritten
from lessor.agent.host.atomic import atomic_write
from lessor.agent.host.run import Run
from lessor.core.diff import Changes, Unsound
from lessor.core.openflow import flow_bundle
from lessor.core.state import Flows
from lessor.errors import CommandError, Pending
from lessor.steps import each

OFCTL = ("ovs-ofctl", "-O", "OpenFlow14")  # the least that has bundles
# A first fragment's UDP ports can be matched (ovs-ofctl(8), set-frags). A new ovs-vswitchd has lost
# this setting, and all flows with it.
FRAGMENTS = "nx-match"
_PORT = re.compile(r"^ *(\S+?)\((.+)\): addr:", re.MULTILINE)


class _Applied(NamedTuple):
    """The flows that were applied to a bridge, and the digest of the dump afterwards."""

    lines: tuple[str, ...]
    digest: str


class FlowDriver:
    """Applies flows, in one bundle a bridge.

    Args:
        run: runs ovs-ofctl.
        record: the file that remembers what was applied, in the agent's state folder.
        sockets: folder of the bridges' sockets (`ovs.rundir`).
        bridges: those that may have flows of ours.
        names: returns the real names of ports, by their name in flows, where it differs
            (`OvsPortDriver.names`).
        numbers: returns the number of each port, by bridge and real name
            (`OvsPortDriver.numbers`). None: the switch is asked at every look.
    """

    def __init__(
        self,
        run: Run,
        record: Path,
        sockets: str,
        bridges: Collection[str],
        *,
        names: Callable[[], Mapping[str, str]] = dict,
        numbers: Callable[[], Mapping[str, Mapping[str, int]]] | None = None,
    ) -> None:
        self._run = run
        self._record = record
        self._sockets = sockets
        self._bridges = tuple(bridges)
        self._names = names
        self._numbers = numbers
        self._applied: dict[str, _Applied] | None = None
        self._verifications = 0
        self._believed: dict[
            str, tuple[int, dict[str, int]]
        ] = {}  # at which verification, and numbers

    def verify(self) -> None:
        """Compare with what the switch has at the next `observe()`. May be called by any thread."""
        self._verifications += 1

    def observe(self) -> dict[str, Flows | Unsound[Flows]]:
        """Return our flows by bridge, as they were applied; unsound if they were changed since.

        A port has the name that it has in the desired flows, whatever its real name is.
        """
        found: dict[str, Flows | Unsound[Flows]] = {}
        back = {real: name for name, real in self._names().items()}
        for bridge in self._bridges:
            known = self._load().get(bridge, _Applied((), ""))
            if self._is_believed(bridge):
                found[bridge] = Flows(bridge, flow_bundle.renamed(known.lines, back))
                continue
            asked, numbers = self._verifications, self._numbers_of(bridge)
            digest = self._digest(bridge)
            if not digest:
                continue
            flows = Flows(bridge, flow_bundle.renamed(known.lines, back))
            if known.digest != digest:
                found[bridge] = Unsound(flows, f"{bridge} has other flows than were applied last")
                continue
            found[bridge] = flows
            if known.lines and self._numbers:
                self._believed[bridge] = asked, numbers
        return found

    def apply(self, changes: Changes[Flows]) -> None:
        """Apply every change; raise one group of the failures.

        Flows that name a port which is not on the bridge, or just left it, are `Pending`.
        """
        steps = [partial(self._install, flows) for flows in changes.create + changes.replace]
        steps += [partial(self._remove, flows) for flows in changes.delete]
        each(steps, "flows of bridges")

    def _install(self, flows: Flows) -> None:
        bridge = flows.bridge
        names, present = dict(self._names()), self._ports(bridge)
        asked = flow_bundle.renamed(flows.lines, names)
        lines, missing = flow_bundle.resolvable(asked, present)
        while True:
            try:
                self._bring(bridge, lines)
                break
            except CommandError:  # one port that went meanwhile spoils the bundle of all
                there = self._switch_ports(bridge)
                if present <= there:
                    raise
                present &= there
                lines, missing = flow_bundle.resolvable(asked, present)
        back = {real: name for name, real in names.items()}
        waiting = [
            Pending(
                f"{count} flows of {bridge} wait for port {name}, which is not there",
                key=back.get(name, name),
            )
            for name, count in sorted(missing.items())
        ]
        if waiting:
            raise ExceptionGroup(f"flows of {bridge} wait", waiting)

    def _bring(self, bridge: str, lines: tuple[str, ...]) -> None:
        known = self._load().get(bridge)
        believed = self._is_believed(bridge)
        if known is None or not (believed or known.digest == self._digest(bridge) != ""):
            self._replace(bridge, lines)
        elif known.lines != lines:
            self._change(bridge, known.lines, lines)

    def _change(self, bridge: str, old: tuple[str, ...], new: tuple[str, ...]) -> None:
        try:
            self._load_bundle(bridge, flow_bundle.changes(old, new))
        except CommandError:  # a port that only the old flows name has gone
            self._replace(bridge, new)
            return
        printed = self._printed(bridge)
        if len(printed) != flow_bundle.count(new):
            self._replace(bridge, new)  # the old ones were not there: a new switch
            return
        self._remember(bridge, new, printed)

    def _replace(self, bridge: str, lines: tuple[str, ...]) -> None:
        self._run(*OFCTL, "set-frags", self._target(bridge), FRAGMENTS)
        self._load_bundle(bridge, flow_bundle.replacement(lines))
        self._remember(bridge, lines, self._printed(bridge))

    def _remove(self, flows: Flows) -> None:
        """Remove our flows; a deleted bridge or a stopped switch has none."""
        if self._digest(flows.bridge):
            self._load_bundle(flows.bridge, flow_bundle.replacement(()))
        self._forget(flows.bridge)

    # --- the bridge

    def _target(self, bridge: str) -> str:
        return f"unix:{self._sockets}/{bridge}.mgmt"

    def _is_believed(self, bridge: str) -> bool:
        """Return whether the last comparison still holds."""
        asked, numbers = self._believed.get(bridge, (-1, {}))
        return asked == self._verifications and numbers.items() <= self._numbers_of(bridge).items()

    def _numbers_of(self, bridge: str) -> dict[str, int]:
        return dict(self._numbers().get(bridge, {})) if self._numbers else {}

    def _load_bundle(self, bridge: str, bundle: str) -> None:
        self._believed.pop(bridge, None)
        fit = self._metered(bridge, bundle)
        self._run(*OFCTL, "--bundle", "add-flows", self._target(bridge), "-", stdin=fit)

    def _metered(self, bridge: str, bundle: str) -> str:
        """Make the meters that a bundle names; a datapath without meters goes without."""
        if "meter:" not in bundle:
            return bundle
        text, wanted = flow_bundle.metered(bundle, self._port_numbers(bridge))
        try:
            if wanted:
                meters.ensure(self._run, OFCTL, self._target(bridge), wanted)
        except CommandError:
            return flow_bundle.metered(bundle, {})[0]
        return text

    def _port_numbers(self, bridge: str) -> dict[str, int]:
        if self._numbers:
            return self._numbers_of(bridge)
        listing = self._run(*OFCTL, "dump-ports-desc", self._target(bridge))
        return {name: int(number) for number, name in _PORT.findall(listing) if number.isdigit()}

    def _ports(self, bridge: str) -> set[str]:
        return set(self._numbers_of(bridge)) if self._numbers else self._switch_ports(bridge)

    def _switch_ports(self, bridge: str) -> set[str]:
        """Return the names of the ports that the switch itself has now."""
        listing = self._run(*OFCTL, "dump-ports-desc", self._target(bridge))
        return {name for _, name in _PORT.findall(listing)}

    def _digest(self, bridge: str) -> str:
        """Return the digest of our flows; "": there are none, or the switch does not answer."""
        try:
            return _digest_of(self._printed(bridge))
        except CommandError:
            return ""

    def _printed(self, bridge: str) -> list[str]:
        """Return our flows as the switch has them, in order."""
        dump = (*OFCTL, "--no-stats", "--names", "dump-flows", self._target(bridge))
        printed = self._run(*dump, flow_bundle.OURS)
        return sorted(line for line in printed.splitlines() if "cookie=" in line)

    # --- the record

    def _load(self) -> dict[str, _Applied]:
        if self._applied is None:
            self._applied = _read(self._record)
        return self._applied

    def _remember(self, bridge: str, lines: tuple[str, ...], printed: list[str]) -> None:
        asked, numbers = self._verifications, self._numbers_of(bridge)
        self._load()[bridge] = _Applied(lines, _digest_of(printed))
        self._write()
        if printed and self._numbers:
            self._believed[bridge] = asked, numbers

    def _forget(self, bridge: str) -> None:
        if self._load().pop(bridge, None):
            self._write()

    def _write(self) -> None:
        unwritten.attempt(self._record, self._write_record)

    def _write_record(self) -> None:
        atomic_write(self._record, json.dumps(self._load()).encode(), durable=False)


def _read(record: Path) -> dict[str, _Applied]:
    """Return the content of a record; empty if there is none, or it is damaged."""
    try:
        rows = json.loads(record.read_text())
        return {
            str(name): _Applied(tuple(map(str, lines)), str(digest))
            for name, (lines, digest) in rows.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _digest_of(printed: list[str]) -> str:
    return hashlib.sha256("\n".join(printed).encode()).hexdigest() if printed else ""
