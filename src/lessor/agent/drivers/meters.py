"""Keeps meters on an OVS bridge: what is more than a port's rate of DHCP requests is dropped.

A meter has no mark of its own: ours have the number of the port that they are for, and only where
flows of ours have that port. One that its port has left is left, too: the next port of that number
has use for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from lessor.agent.host.run import Run
from lessor.core.firewall.dhcp_limit import BURST, RATE

_METER = re.compile(r"meter=(\d+) [^\n]*\n *type=drop rate=(\d+) burst_size=(\d+)")
_DROPPED = re.compile(r"meter:(\d+) [^\n]*\n *0: *packet_count:(\d+)")
_BANDS = f"pktps,burst,stats,bands=type=drop,rate={RATE},burst_size={BURST}"


def ensure(run: Run, ofctl: Sequence[str], target: str, wanted: Collection[int]) -> None:
    """Make the meters that a bridge lacks, and repair those with another rate.

    Args:
        run: runs ovs-ofctl.
        ofctl: its name and options.
        target: the bridge's socket.
        wanted: the numbers of meters.

    Raises:
        CommandError: this datapath has no meters.
    """
    present = {
        int(number): (int(rate), int(burst))
        for number, rate, burst in _METER.findall(run(*ofctl, "dump-meters", target))
    }
    for number in sorted(wanted):
        if number not in present:
            run(*ofctl, "add-meter", target, f"meter={number},{_BANDS}")
        elif present[number] != (RATE, BURST):
            run(*ofctl, "mod-meter", target, f"meter={number},{_BANDS}")


def dropped(run: Run, ofctl: Sequence[str], target: str) -> dict[int, int]:
    """Return how many packets each meter dropped.

    Raises:
        CommandError: the switch does not answer.
    """
    listing = run(*ofctl, "meter-stats", target)
    return {int(number): int(count) for number, count in _DROPPED.findall(listing)}
