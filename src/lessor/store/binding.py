"""Whether a port can be plugged on the host that it was bound to (Neutron's binding_failed).

Said when it is bound, and kept: a host that falls silent later keeps the VMs it has. It is taken back
(`hosts.report`) as soon as the host, having the network by then, says anything of the port.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import bindparam, select, update

from lessor.model import Host, Port
from lessor.store.hosts import Beats, has_network
from lessor.store.rows import HOST, host_of
from lessor.store.tables import hosts, networks, ports
from lessor.store.writer import Tx

_HOSTS = select(*HOST).where(hosts.c.name.in_(bindparam("keys", expanding=True)))
_NETWORKS = select(networks.c.id, networks.c.network_type, networks.c.physical_network).where(
    networks.c.id.in_(bindparam("keys", expanding=True))
)
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

    def judged(self, tx: Tx, made: Sequence[Port]) -> list[Port]:
        """Write of each bound port whether its binding fails; return the ports so."""
        names = {port.binding_host for port in made if port.binding_host is not None}
        if not names:
            return list(made)
        known = self._hosts(tx, names)
        ids = list({port.network_id for port in made})
        wires = {row[0]: (row[1], row[2]) for row in tx.conn.execute(_NETWORKS, {"keys": ids})}
        return [self._said(tx, port, known, *wires[port.network_id]) for port in made]

    def _said(
        self, tx: Tx, port: Port, known: dict[str, Host], kind: str, physical: str | None
    ) -> Port:
        host = known.get(port.binding_host or "")
        fails = host is not None and not (host.alive and has_network(host, kind, physical))
        if fails != port.binding_failed:
            tx.conn.execute(_SAY, {"port": port.id, "fails": fails})
        return replace(port, binding_failed=fails)

    def _hosts(self, tx: Tx, names: Iterable[str]) -> dict[str, Host]:
        """Return hosts; for a while after the server's start, those that ever spoke are alive."""
        young = tx.now - self.opened_at < self.down_s
        since = 0.0 if young else self.beats.alive_since(tx.now)
        rows = tx.conn.execute(_HOSTS, {"keys": sorted(names)})
        found = [host_of(row, self.beats.known(), since) for row in rows]
        return {host.name: host for host in found}
