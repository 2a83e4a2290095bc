"""Reads the counters of dropped frames: of `table bridge lessor`, and of br-int.

What is cheap is asked for first; as long as it is the same, nothing else is.

Source: nft(8); ovs-ofctl(8); bridge(8), "bridge fdb show".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping

from lessor.agent.drivers import meters
from lessor.agent.host.nft import Nft
from lessor.agent.host.ovs import rundir
from lessor.agent.host.run import Run, run
from lessor.core.diagnosis.drop_flows import REFUSED_FLOWS, refused, total
from lessor.core.firewall.drop_sets import SETS, counted, offences
from lessor.core.offences import Count, Offence, Reason
from lessor.errors import LessorError
from lessor.settings import AgentSettings

ANSWERS, REQUESTS, SOURCES = "dhcp_answers_dropped", "dhcp_requests_dropped", "source_dropped"
METERS_EVERY = 6  # looks: all meters are dumped for it

_OFCTL = ("ovs-ofctl", "-O", "OpenFlow14")
_PORT = re.compile(r"^ *(\d+)\((.+)\): addr:", re.MULTILINE)


class BridgeCounts:
    """What the guards of Linux bridges have dropped. For one thread."""

    def __init__(self) -> None:
        self.sums = dict.fromkeys((ANSWERS, REQUESTS, SOURCES), 0)
        self._nft: Nft | None = None
        self._made = False
        self._packets: dict[Offence, int] | None = None

    def close(self) -> None:
        """Release nft."""
        if self._nft:
            self._nft.close()

    def offences(self) -> dict[Offence, Count]:
        """Return the content of the sets; nothing, if there is no such table.

        To list a set takes 0.1 ms of CPU time on a host with 1,000 taps; to list counters, 20 ms.
        """
        try:
            texts = [self._list("set", "bridge", "lessor", one.name) for one in SETS]
            found = dict(one for text in texts for one in offences(text))
            packets = {offence: count.packets for offence, count in found.items()}
            if packets != self._packets:
                self._sum(counted(self._list("counters", "table", "bridge", "lessor")))
        except LessorError:
            return {}
        self._packets = packets
        return found

    def _sum(self, packets: Mapping[str, int]) -> None:
        self.sums = {
            ANSWERS: packets.get("from_dhcp", 0),
            REQUESTS: packets.get("from_flood", 0),
            SOURCES: sum(packets.get(f"from_{kind}", 0) for kind in ("mac", "arp", "ipv4")),
        }

    def _list(self, *what: str) -> str:
        if not self._made:
            self._made = True
            try:
                self._nft = Nft()
            except OSError:  # no library: the program is slower, and does as well
                self._nft = None
        return (self._nft or run)("nft", "-j", "list", *what)


class SwitchCounts:
    """What the flows and meters of br-int have dropped. For one thread.

    Args:
        settings: of the agent.
        run: runs ovs-ofctl.
        names: returns the actual names of ports, by the wanted name, where they differ.
    """

    def __init__(
        self, settings: AgentSettings, run: Run, names: Callable[[], Mapping[str, str]]
    ) -> None:
        sockets = rundir(settings.ovsdb_connection)
        self._target = f"unix:{sockets}/{settings.integration_bridge}.mgmt"
        self._run = run
        self._names = names
        self.sums: dict[str, int] = {}
        self._total = 0
        self._refused: dict[Offence, Count] = {}
        self._requests: dict[Offence, Count] = {}
        self._looks = 0

    def names(self) -> dict[str, str]:
        """Return the actual names of ports; nothing if OVS is away."""
        try:
            return dict(self._names())
        except LessorError:
            return {}

    def offences(self) -> dict[Offence, Count]:
        """Return dropped frames, by the wanted names of taps; as before if OVS is away."""
        try:
            sum_now = total(self._ofctl("dump-aggregate", REFUSED_FLOWS))
            if sum_now != self._total or not self._looks:
                self._refused = self._wanted(
                    refused(self._ofctl("--names", "dump-flows", REFUSED_FLOWS))
                )
                self._total = sum_now
            if self._looks % METERS_EVERY == 0:
                self._requests = self._wanted(self._metered())
            self._looks += 1
        except LessorError:
            pass
        found = self._refused | self._requests
        self.sums = {
            ANSWERS: _sum(found, Reason.ANSWER),
            REQUESTS: _sum(found, Reason.REQUEST),
            SOURCES: _sum(found, Reason.MAC) + _sum(found, Reason.SOURCE),
        }
        return found

    def _ofctl(self, *argv: str) -> str:
        *options, command, flows = argv
        return self._run(*_OFCTL, *options, command, self._target, flows)

    def _metered(self) -> dict[Offence, Count]:
        dropped = {
            n: many for n, many in meters.dropped(self._run, _OFCTL, self._target).items() if many
        }
        if not dropped:
            return {}
        ports = _PORT.findall(self._run(*_OFCTL, "dump-ports-desc", self._target))
        return {
            Offence(name, Reason.REQUEST): Count(dropped[int(number)])
            for number, name in ports
            if int(number) in dropped
        }

    def _wanted(self, found: Mapping[Offence, Count]) -> dict[Offence, Count]:
        rising = {offence: count for offence, count in found.items() if count.packets}
        back = {real: name for name, real in self.names().items()} if rising else {}
        return {Offence(back.get(o.tap, o.tap), o.reason): many for o, many in rising.items()}


def _sum(found: Mapping[Offence, Count], reason: Reason) -> int:
    return sum(count.packets for offence, count in found.items() if offence.reason is reason)


def whereabouts(wires: Mapping[str, str], macs: Collection[str]) -> dict[str, str]:
    """Return on which port of our bridges MACs were learned, in words; unknown MACs are left out.

    Args:
        wires: physical interface ("": none) by bridge.
        macs: MACs.
    """
    found: dict[str, str] = {}
    for bridge, wire in wires.items():
        for row in _learned(bridge):
            mac, port = row.get("mac", ""), row.get("ifname", "")
            if mac in macs:
                found[mac] = f"the wire of {port}" if port == wire else f"{port} of {bridge}"
    return found


def _learned(bridge: str) -> list[dict[str, str]]:
    try:
        rows: list[dict[str, str]] = json.loads(run("bridge", "-j", "fdb", "show", "br", bridge))
    except (LessorError, ValueError):  # it isn't there
        return []
    return rows
