"""Which hosts can serve DHCP on overlay networks, and which are dead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, func, select

from lessor.store.hosts import unserved
from lessor.store.hosts.rules import Beats
from lessor.store.hosts.unserved import Pair
from lessor.store.tables import hosts, ports

NO_NETWORK_HOST = "no network host with a local_ip any more"
START_S = 0.1  # for each network that a starting agent has to set up, it may be late


class Watch:
    """Tells when silence means something: not while it may be this server that was away."""

    def __init__(self, down_s: float) -> None:
        self.down_s = down_s
        self._last: float | None = None
        self._quiet_until = 0.0

    def look(self, now: float, *, disturbed: bool = False) -> bool:
        """Note a look at the hosts; tell whether a silent host can be called dead.

        It can't for `down_s` after the start, and after a gap between looks in which hosts can
        have spoken without being heard: the clock jumped, or the machine slept (semantics.md B13).

        Args:
            now: when it is.
            disturbed: another server went, and what it heard last; its hosts will come to us.
        """
        last, self._last = self._last, now
        if disturbed or last is None or not 0 <= now - last <= self.down_s / 2:
            self._quiet_until = now + self.down_s
        return now >= self._quiet_until


@dataclass(frozen=True, slots=True)
class Fleet:
    """Hosts as far as DHCP servers go.

    Attributes:
        able: alive, with a tunnel end, and network hosts: they may be given servers.
        lost: dead, or not able to serve any more by what they or an administrator say of them; why.
        unserved: why hosts that are alive can't serve networks, by host and network id.
        failed: hosts that could not serve a network lately, with the network's id.
        load: how many DHCP servers each host has.
        zones: the availability zone of each host.
    """

    able: frozenset[str]
    lost: Mapping[str, str]
    load: dict[str, int]
    zones: dict[str, str] = field(default_factory=dict)
    unserved: Mapping[Pair, str] = field(default_factory=dict)
    failed: frozenset[Pair] = frozenset()

    def candidates(
        self, network_id: str, besides: Collection[str], hints: Collection[str] = ()
    ) -> list[str]:
        """Return the able hosts that may be given a DHCP server of a network.

        Args:
            network_id: of the network; hosts that could not serve it lately are left out.
            besides: hosts that have one.
            hints: zones that it has to be in; none: in any.
        """
        wanted = (h for h in self.able if not hints or self.zones.get(h) in hints)
        return [h for h in wanted if h not in besides and (h, network_id) not in self.failed]

    def choose(
        self, network_id: str, besides: Collection[str], hints: Collection[str] = ()
    ) -> str | None:
        """Return the candidate with the fewest servers, and count one more for it.

        If possible it has served all its networks lately, and is in another zone than the servers
        that the network has (semantics.md B13).
        """
        rest = self.candidates(network_id, besides, hints)
        if not rest:
            return None
        used = {self.zones.get(host) for host in besides}
        doubted = {host for host, _ in self.failed}
        chosen = min(
            rest,
            key=lambda h: (h in doubted, self.zones.get(h) in used, self.load.get(h, 0), h),
        )
        self.load[chosen] = self.load.get(chosen, 0) + 1
        return chosen

    def only(self, host: str) -> Fleet:
        """Return the same with this host alone as lost, unless it is able again meanwhile."""
        lost = {host: self.lost.get(host, "taken down")}
        return replace(self, lost={} if host in self.able else lost, unserved={})

    def reason(self, host: str, network_id: str) -> str | None:
        """Return why a host can't serve a network; None: it can, as far as is known."""
        return self.lost.get(host) or self.unserved.get((host, network_id))


HOSTS = select(
    hosts.c.name,
    hosts.c.heartbeat_at,
    hosts.c.started_at,
    hosts.c.network_host,
    hosts.c.local_ip,
    hosts.c.availability_zone,
    hosts.c.admin_state_up,
)
_LOAD = (
    select(ports.c.server_of, func.count())
    .where(ports.c.server_of > "")
    .group_by(ports.c.server_of)
)


def read(conn: Connection, beats: Beats, now: float, down_s: float) -> Fleet:
    """Return how the hosts are at `now`; one not heard of for `down_s` is dead."""
    load = {row[0]: int(row[1]) for row in conn.execute(_LOAD)}
    known = beats.known()
    able: set[str] = set()
    lost: dict[str, str] = {}
    zones: dict[str, str] = {}
    for row in conn.execute(HOSTS):
        zones[row.name] = row.availability_zone
        beat = max(row.heartbeat_at or 0.0, known.get(row.name, 0.0))
        start = min(row.started_at or 0.0, beat) + START_S * load.get(row.name, 0)
        if beat + down_s > now:
            if row.network_host and row.local_ip is not None and row.admin_state_up:
                able.add(row.name)
            else:
                lost[row.name] = "taken down" if not row.admin_state_up else NO_NETWORK_HOST
        elif start + down_s <= now:
            lost[row.name] = "silent"
    late, all_ = unserved.reasons(conn, now - down_s), unserved.reasons(conn, now)
    moves = unserved.moves(conn, now)
    failed = {*all_, *((move.source, move.network_id) for move in moves if move.unable)}
    return Fleet(frozenset(able), lost, load, zones, late, frozenset(failed))
