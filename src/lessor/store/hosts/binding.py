"""Whether a port can be plugged on the host that it was bound to (Neutron's binding_failed).

Said when it is bound, and kept: a host that falls silent later keeps the VMs it has. It is taken back
(`hosts.report`) as soon as the host, having the network by then, says anything of the port.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, true, update

from lessor.model import Port
from lessor.store.engine.writer import Tx
from lessor.store.hosts import unknown as unknownhosts
from lessor.store.hosts.rules import Beats, has_network
from lessor.store.rows import listed
from lessor.store.tables import hosts, networks, ports

_FACTS = (
    select(
        hosts.c.name,
        hosts.c.added,
        hosts.c.heartbeat_at,
        hosts.c.local_ip,
        hosts.c.physical_networks,
        networks.c.network_type,
        networks.c.physical_network,
    )
    .select_from(hosts.join(networks, true()))
    .where(networks.c.id == bindparam("net"))
)
_OF_ONE = _FACTS.where(hosts.c.name == bindparam("name"))
_OF_SEVERAL = _FACTS.where(hosts.c.name.in_(bindparam("names", expanding=True)))
_SAY = (
    update(ports).where(ports.c.id == bindparam("port")).values(binding_failed=bindparam("fails"))
)


@dataclass(frozen=True, slots=True)
class Judge:
    """Knows which hosts can be called dead.

    Attributes:
        beats: when hosts were heard last.
        opened_at: when this server began to listen to them.
        down_s: a host that is silent for so long is dead.
    """

    beats: Beats
    opened_at: float
    down_s: float

    def take(self, tx: Tx, network_id: str, names: Collection[str]) -> set[str]:
        """Let new ports of a network be bound to these hosts; return on which of them that fails now.

        Raises:
            Invalid: see `unknownhosts.ensure`.
        """
        if not names:
            return set()
        rows = list(_facts(tx.conn, network_id, names))
        unknownhosts.ensure(tx, names, {row.name: bool(row.added) for row in rows})
        return set(names) - self._fit(tx.now, rows)

    def judged(self, tx: Tx, port: Port) -> Port:
        """Write of a port that was bound anew whether its binding fails; return it so."""
        if port.binding_host is None:
            return port
        failing = self.failing(tx.conn, tx.now, port.network_id, {port.binding_host})
        fails = port.binding_host in failing
        if fails == port.binding_failed:
            return port
        tx.conn.execute(_SAY, {"port": port.id, "fails": fails})
        return replace(port, binding_failed=fails)

    def failing(
        self, conn: Connection, now: float, network_id: str, names: Collection[str]
    ) -> set[str]:
        """Return on which of these hosts a port of a network could not be plugged now.

        For a while after the server's start, hosts that ever spoke are alive.
        """
        rows = list(_facts(conn, network_id, names))
        return {row.name for row in rows} - self._fit(now, rows)

    def _fit(self, now: float, rows: Iterable[Row[Any]]) -> set[str]:
        young = now - self.opened_at < self.down_s
        since = 0.0 if young else self.beats.alive_since(now)
        fit = set()
        for row in rows:
            name, _, beat, local_ip, physical, kind, wanted = tuple(row)
            alive = max(beat or 0.0, self.beats.last(name)) > since
            if alive and has_network(local_ip, listed(physical), kind, wanted):
                fit.add(name)
        return fit


def _facts(conn: Connection, network_id: str, names: Collection[str]) -> Iterable[Row[Any]]:
    if len(names) == 1:  # as a rule; what has no list to expand costs half as much
        return conn.execute(_OF_ONE, {"net": network_id, "name": next(iter(names))})
    return conn.execute(_OF_SEVERAL, {"net": network_id, "names": list(names)})
