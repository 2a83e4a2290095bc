"""Which hosts can own flat networks or serve DHCP on overlay networks, and which are dead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Select, func, or_, select

from lessor.store.engine.tx import ReadTx
from lessor.store.hosts import unserved_networks
from lessor.store.hosts.unserved_networks import Pair
from lessor.store.tables import hosts, ports

NO_NETWORK_HOST = "no network host with a local_ip any more"
START_S = 0.1  # for each network that a starting agent has to set up, it may be late


@dataclass(frozen=True, slots=True)
class Capacity:
    """The hosts' capacity for DHCP servers of overlay networks.

    Attributes:
        able: alive network hosts with a tunnel end: they may get servers.
        lost: hosts that can serve no network any more, with the reason.
        unserved: why alive hosts can't serve networks, by host and network id.
        failed: (host, network id) of hosts that recently could not serve a network.
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

    def only(self, host: str) -> Capacity:
        """Return the same with this host alone as lost, unless it is able again meanwhile."""
        lost = {host: self.lost.get(host, "taken down")}
        return replace(self, lost={} if host in self.able else lost, unserved={})

    def reason(self, host: str, network_id: str) -> str | None:
        """Return why a host can't serve a network; None: no known reason."""
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


def read(tx: ReadTx) -> Capacity:
    """Return how the hosts are; one without a heartbeat for dhcp_down_time is dead."""
    now, down_s = tx.now, tx.settings.dhcp_down_time
    load = {row[0]: int(row[1]) for row in tx.conn.execute(_LOAD)}
    able: set[str] = set()
    lost: dict[str, str] = {}
    zones: dict[str, str] = {}
    for row in tx.conn.execute(HOSTS):
        zones[row.name] = row.availability_zone
        beat = tx.fleet.heartbeats.last(row.name, row.heartbeat_at)
        start = min(row.started_at or 0.0, beat) + START_S * load.get(row.name, 0)
        if beat + down_s > now:
            if row.network_host and row.local_ip is not None and row.admin_state_up:
                able.add(row.name)
            else:
                lost[row.name] = "taken down" if not row.admin_state_up else NO_NETWORK_HOST
        elif start + down_s <= now:
            lost[row.name] = "silent"
    late, all_ = unserved_networks.reasons(tx, now - down_s), unserved_networks.reasons(tx, now)
    moves = unserved_networks.moves(tx)
    failed = {*all_, *((move.source, move.network_id) for move in moves if move.unable)}
    return Capacity(frozenset(able), lost, load, zones, late, frozenset(failed))


_OWNERS = select(hosts.c.name, hosts.c.heartbeat_at).where(
    hosts.c.network_host,
    hosts.c.admin_state_up,
    or_(hosts.c.local_ip.is_(None), hosts.c.physical_networks != "[]"),
)


def owners(tx: ReadTx) -> set[str]:
    """Return the hosts that are alive and may own flat networks."""
    return _alive(tx, _OWNERS)


_ADDED = select(hosts.c.name, hosts.c.heartbeat_at).where(hosts.c.added)


def alive(tx: ReadTx) -> set[str]:
    """Return the hosts that are alive."""
    return _alive(tx, _ADDED)


def _alive(tx: ReadTx, asked: Select[Any]) -> set[str]:
    last, since = tx.fleet.heartbeats.last, tx.alive_since
    return {name for name, stored in tx.conn.execute(asked) if last(name, stored) > since}
