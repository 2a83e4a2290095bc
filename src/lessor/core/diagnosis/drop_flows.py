"""Reads what br-int's flows have counted of VMs' frames that were refused.

Source: ovs-ofctl(8), dump-flows and dump-aggregate.
"""

from __future__ import annotations

import re

from lessor.core.offences import Count, Offence
from lessor.core.openflow.flow_bundle import OURS
from lessor.core.openflow.int_flows import REASONS, REFUSED

REFUSED_FLOWS = f"{OURS},table={REFUSED}"
_FLOW = re.compile(r'n_packets=(\d+),.*\breg0=(0x[0-9a-f]+),.*?in_port="?([\w.-]+?)"?[ ,]')
_SUM = re.compile(r"packet_count=(\d+)")


def refused(printed: str) -> dict[Offence, Count]:
    """Return frames by tap and reason, of what ovs-ofctl prints of REFUSED_FLOWS."""
    return {
        Offence(tap, REASONS[int(number, 16) - 1]): Count(int(packets))
        for packets, number, tap in _FLOW.findall(printed)
    }


def total(printed: str) -> int:
    """Return the sum that `dump-aggregate` prints."""
    found = _SUM.search(printed)
    return int(found[1]) if found else 0
