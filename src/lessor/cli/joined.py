"""Joins the reports of several hosts about one link: one fault between n hosts is one line, not n.

Each host reports its own tunnels. If a host reports all of its tunnels as broken, or its agent is
silent, the lines of other hosts about it are redundant. If two hosts report each other, the line of
the first by name is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# reports about other hosts; lessor.core.diagnosis.tunnels and lessor.core.diagnosis.icmp make them
_ABOUT = (
    re.compile(
        r"no packet of tunnels comes to local_ip \S+ from (?!any of )(?P<hosts>.+?)(?:: |, th)"
    ),
    re.compile(
        r"no packet of tunnels gets from local_ip \S+ to (?!any of )(?P<hosts>.+?), though "
    ),
)
_NARROW = re.compile(r"the paths? to hosts? (?P<hosts>.+?) (?:doesn't|don't) carry ")
_MORE = re.compile(r" and \d+ more[:, ]")  # hosts that the report doesn't name
_HOST = re.compile(r"(\S+) \([^)]*\)")
# reports of a host about itself that explain those of the others
_OWN = re.compile(
    r"no packet of tunnels (?:comes to local_ip \S+ from|gets from local_ip \S+ to) any of "
    r"|local_ip \S+ is on no interface "
    r"|(?:ovs-vswitchd|ovsdb-server) (?:hangs|is not running)"
)
_OWN_NARROW = re.compile(r"the paths to all \d+ hosts don't carry ")


def joined(reports: Mapping[str, Sequence[str]], silent: frozenset[str]) -> dict[str, list[str]]:
    """Return the problems of each host without the redundant ones.

    Args:
        reports: the problems of each host, by its name.
        silent: names of the hosts whose agents are silent.
    """
    return {
        host: [one for one in problems if not _is_redundant(host, one, reports, silent)]
        for host, problems in reports.items()
    }


def _is_redundant(
    host: str, problem: str, reports: Mapping[str, Sequence[str]], silent: frozenset[str]
) -> bool:
    for about, own in ((_ABOUT, _OWN), ((_NARROW,), _OWN_NARROW)):
        others = _hosts(problem, about)
        if others and not _MORE.search(problem):
            return all(
                (own is _OWN and other in silent)
                or any(own.match(one) for one in reports.get(other, ()))
                or (
                    other < host
                    and any(_hosts(one, about) == [host] for one in reports.get(other, ()))
                )
                for other in others
            )
    return False


def _hosts(problem: str, about: Sequence[re.Pattern[str]]) -> list[str]:
    for pattern in about:
        if found := pattern.match(problem):
            return _HOST.findall(found["hosts"])
    return []
