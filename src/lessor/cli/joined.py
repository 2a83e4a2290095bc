"""Joins what several hosts say of one cable: one fault between n hosts is one line, not n.

Each host says what it sees of its own tunnels. Where a host says of itself that its tunnels are
broken, or its agent is silent, the others' lines about it add nothing; where two say it of each
other, the first by name is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# what hosts say of others; the sentences are made in lessor.core.diagnosis.tunnels and lessor.core.diagnosis.icmp
_ABOUT = (
    re.compile(
        r"no packet of tunnels comes to local_ip \S+ from (?!any of )(?P<hosts>.+?)(?:: |, th)"
    ),
    re.compile(
        r"no packet of tunnels gets from local_ip \S+ to (?!any of )(?P<hosts>.+?), though "
    ),
)
_NARROW = re.compile(r"the paths? to hosts? (?P<hosts>.+?) (?:doesn't|don't) carry ")
_MORE = re.compile(r" and \d+ more[:, ]")  # hosts without a name: nobody knows which
_HOST = re.compile(r"(\S+) \([^)]*\)")
# what a host says of itself, and that explains what others see
_OWN = re.compile(
    r"no packet of tunnels (?:comes to local_ip \S+ from|gets from local_ip \S+ to) any of "
    r"|local_ip \S+ is on no interface "
    r"|(?:ovs-vswitchd|ovsdb-server) (?:hangs|is not running)"
)
_OWN_NARROW = re.compile(r"the paths to all \d+ hosts don't carry ")


def joined(said: Mapping[str, Sequence[str]], silent: frozenset[str]) -> dict[str, list[str]]:
    """Return what hosts say, without what another line says as well.

    Args:
        said: the problems of each host, by its name.
        silent: names of the hosts whose agents are silent.
    """
    return {
        host: [one for one in problems if not _is_elsewhere(host, one, said, silent)]
        for host, problems in said.items()
    }


def _is_elsewhere(
    host: str, problem: str, said: Mapping[str, Sequence[str]], silent: frozenset[str]
) -> bool:
    for about, own in ((_ABOUT, _OWN), ((_NARROW,), _OWN_NARROW)):
        others = _hosts(problem, about)
        if others and not _MORE.search(problem):
            return all(
                (own is _OWN and other in silent)
                or any(own.match(one) for one in said.get(other, ()))
                or (
                    other < host
                    and any(_hosts(one, about) == [host] for one in said.get(other, ()))
                )
                for other in others
            )
    return False


def _hosts(problem: str, about: Sequence[re.Pattern[str]]) -> list[str]:
    for pattern in about:
        if found := pattern.match(problem):
            return _HOST.findall(found["hosts"])
    return []
