"""The order in which several test processes take groups of tests (`scripts/test`).

A file's tests stay together, since they share fixtures of the module, labs among them; so does what
stands on one of the labs that a whole session keeps, one for each gateway_firewall.

Two kinds of groups: those with labs and other programs wait most of their time, all others compute.
Every other process begins with those that wait, so that the cores have something to do beside them.
The longest come first, so that no process sits over a long one while the others have nothing left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xdist.scheduler import LoadScopeScheduling

# Seconds that a test waits, by the beginning of its file's path; the first that fits. Rough: a
# wrong number costs time and nothing else.
WAITING = {
    "tests/campaign/test_campaign.py": 90.0,
    "tests/docs/test_tutorial.py": 30.0,
    "tests/docs/test_howto": 10.0,
    "tests/lab/nova/": 120.0,
    "tests/lab/test_libvirt.py": 60.0,
    "tests/lab/": 3.0,
    "tests/clients/": 3.0,
    "tests/servers/": 3.0,
    "tests/test_setup.py": 3.0,
    "tests/agent/drivers/": 0.7,
}
COMPUTING = 0.15


def group_of(test: str) -> str:
    """Return the group of a test, by its id."""
    file = test.partition("::")[0]
    if not file.startswith("tests/lab/test_acceptance_"):
        return file
    return "tests/lab/iptables" if "[iptables" in test else "tests/lab/nftables"


def seconds(group: str) -> tuple[bool, float]:
    """Return whether tests of a group mostly wait, and about how long one takes."""
    for path, each in WAITING.items():
        if group.startswith(path):
            return True, each
    return False, COMPUTING


def next_group(left: Mapping[str, int], process: int) -> str:
    """Return the group that a process takes next.

    Args:
        left: how many tests each group has.
        process: the process's number, from 0.
    """

    def rank(group: str) -> tuple[bool, float]:
        waits, each = seconds(group)
        return waits == (process % 2 == 0), each * left[group]

    return max(left, key=rank)


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Shares tests out by group, in the order of `next_group`."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        left = {group: len(tests) for group, tests in self.workqueue.items()}
        process = int(node.gateway.id.removeprefix("gw"))
        self.workqueue.move_to_end(next_group(left, process), last=False)
        super()._assign_work_unit(node)
