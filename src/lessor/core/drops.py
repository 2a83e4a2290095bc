"""What VMs did to DHCP that was dropped on their host: answers they gave, and requests too many."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lessor.core.dhcp_limit import RATE
from lessor.core.int_flows import EGRESS, EGRESS_DHCP

_FLOW = re.compile(r'n_packets=(\d+),.*priority=(\d+),.*in_port="?([\w.-]+)"?')


@dataclass(frozen=True, slots=True)
class Drops:
    """Packets dropped so far, by tap."""

    answers: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return the sums of a host, under the names that its `counts` have for them."""
        return {
            "dhcp_answers_dropped": sum(self.answers.values()),
            "dhcp_requests_dropped": sum(self.requests.values()),
        }


def joined(one: Drops, other: Drops) -> Drops:
    """Return both; no tap is in two."""
    return Drops({**one.answers, **other.answers}, {**one.requests, **other.requests})


def answers_in_flows(printed: str) -> dict[str, int]:
    """Return the DHCP answers dropped by tap, of what ovs-ofctl prints of br-int's flows."""
    found: dict[str, int] = {}
    for line in printed.splitlines():
        flow = _FLOW.search(line)
        if flow and f"table={EGRESS}," in line and int(flow[2]) == EGRESS_DHCP:
            found[flow[3]] = found.get(flow[3], 0) + int(flow[1])
    return found


def sentences(drops: Drops, before: Drops, ports: Mapping[str, str]) -> Iterator[str]:
    """Say which ports did more of it since `before`.

    Args:
        drops: now.
        before: at an earlier look.
        ports: port ids by tap.
    """
    for tap, many in sorted(drops.answers.items()):
        if many > before.answers.get(tap, 0) and tap in ports:
            yield (
                f"port {ports[tap]} ({tap}) answers DHCP: {many} packets dropped; a VM may not, see "
                "what runs there"
            )
    for tap, many in sorted(drops.requests.items()):
        if many > before.requests.get(tap, 0) and tap in ports:
            yield (
                f"port {ports[tap]} ({tap}) sends more than {RATE} DHCP requests a second: {many} "
                "dropped; see what runs in its VM"
            )
