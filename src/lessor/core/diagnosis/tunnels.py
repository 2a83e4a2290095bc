"""Whether tunnels carry packets, by their BFD status, and the problems of those that don't.

Open vSwitch sends a small packet through each tunnel every two seconds, in the encapsulation and on
the way that VMs' frames take, and tells whether those of the other end come.

Source: RFC 5880 (BFD); ovs-vswitchd.conf.db(5), bfd and bfd_status of Interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from lessor.core.openflow.bfd import INTERVAL_MS
from lessor.net.address import Address

SILENCE_S = 3 * INTERVAL_MS / 1000  # after which BFD holds a tunnel for broken: its multiplier is 3
# so long a new tunnel may take until both ends have heard of each other: three packets, two seconds
# apart, and what the agent of the other host needs to make its end
SETTLE_S = 12.0
TURN_S = 6.0  # so long one may take to come up from where the other end is heard again
EXPIRED = "Control Detection Time Expired"
NEW = "No Diagnostic"  # the session has never left Up or Init: it has just begun
MOST_NAMED = 5


class Way(StrEnum):
    """What does not come through a tunnel that is not up."""

    IN = "in"  # nothing comes from the other end
    OUT = "out"  # that comes; but ours don't get there


@dataclass(frozen=True, slots=True)
class Broken:
    """A tunnel that is not up. `since`: seconds since 1970; `due`: when it may be reported.

    `turned`: the other end was not heard before, and is now; it may be about to come up.
    """

    way: Way
    since: float
    due: float
    turned: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a broken tunnel. `pings` None: not known."""

    host: str
    end: Address
    since: float
    pings: bool | None = None


def broken(status: Mapping[str, str], before: Broken | None, now: float) -> Broken | None:
    """Return how a tunnel is broken; None: it is up, or nothing is known of it yet.

    Args:
        status: of its BFD session.
        before: how it was broken at the last look.
        now: seconds since 1970.
    """
    state = status.get("state", "up")
    if state == "up":
        return None
    way = Way.OUT if state == "init" else Way.IN
    if before and before.way != way and before.due <= now:
        return Broken(way, before.since, now + TURN_S, turned=True)
    if before and before.turned:
        return before
    # one of both ends has waited in vain; the other diagnostic may be of an earlier time, as that
    # of a session before ours
    diagnostic = status.get("remote_diagnostic" if way == Way.OUT else "diagnostic")
    if diagnostic != EXPIRED or status.get("diagnostic") == NEW:
        return replace(before, way=way) if before else Broken(way, now, now + SETTLE_S)
    since = before.since if before else now - SILENCE_S  # so long the last packet is ago
    return Broken(way, since, min(now, before.due) if before else now)


def sentences(
    own: Address, port: int, count: int, peers: Mapping[Way, Sequence[Peer]]
) -> Iterator[tuple[str, Sequence[Peer]]]:
    """Yield what is wrong, one sentence for all that may have one cause, and the ends it is about.

    Args:
        own: this host's tunnel end.
        port: of UDP, that tunnels use.
        count: of all tunnels of this host.
        peers: the other ends of those that are broken.
    """
    for way, say in ((Way.IN, _none_comes), (Way.OUT, _none_goes)):
        if found := peers.get(way, ()):
            yield say(own, port, found, len(found) == count > 1), found


def _none_comes(own: Address, port: int, peers: Sequence[Peer], all_: bool) -> str:
    pings = any(peer.pings for peer in peers) if all_ else all(peer.pings for peer in peers)
    here = "local_ip is on the wrong interface or network"
    cause = {
        (True, True): f"UDP {port} is stopped at this host, or {here}",
        (True, False): f"this host's cable is out, or {here}",
        (False, True): f"UDP {port} is stopped on the way, or one local_ip is wrong",
        (False, False): "the other host, its Open vSwitch or a cable is down, "
        f"UDP {port} is stopped on the way, or one local_ip is wrong",
    }
    but = ", though ping passes" if pings else ""
    return (
        f"no packet of tunnels comes to local_ip {own} from {_named(peers, all_)}{but}: "
        f"{cause[all_, pings]}"
    )


def _none_goes(own: Address, port: int, peers: Sequence[Peer], all_: bool) -> str:
    where = "out of this host" if all_ else "there"
    return (
        f"no packet of tunnels gets from local_ip {own} to {_named(peers, all_)}, though those "
        f"from there come: UDP {port} is stopped on the way {where}"
    )


def _named(peers: Sequence[Peer], all_: bool) -> str:
    if all_:
        return f"any of {len(peers)} hosts"
    names = [f"{peer.host} ({peer.end})" for peer in sorted(peers, key=lambda peer: peer.host)]
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
