"""Checks whether a port can be plugged on the host that it is bound to (binding_failed).

The check is made with the binding; a host that falls silent later keeps its VMs. It is cleared by
the first report on the port from a host that has the network (`reports`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, bindparam, select, true, update

from lessor.model import Port
from lessor.store.columns import listed
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.hosts import unknown as unknownhosts
from lessor.store.hosts.reports import has_network
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
_WRITE = (
    update(ports).where(ports.c.id == bindparam("port")).values(binding_failed=bindparam("fails"))
)


def admit(tx: Tx, network_id: str, names: Collection[str]) -> set[str]:
    """Let new ports of a network be bound to these hosts; return on which of them that fails now.

    Raises:
        Invalid: see `unknown.ensure`.
    """
    if not names:
        return set()
    rows = list(_facts(tx, network_id, names))
    unknownhosts.ensure(tx, names, {row.name: bool(row.added) for row in rows})
    return set(names) - _fit(tx, rows)


def check(tx: Tx, port: Port) -> Port:
    """Write whether the new binding of a port fails; return the port with that."""
    if port.binding_host is None:
        return port
    fails = port.binding_host in failing(tx, port.network_id, {port.binding_host})
    if fails == port.binding_failed:
        return port
    tx.conn.execute(_WRITE, {"port": port.id, "fails": fails})
    return replace(port, binding_failed=fails)


def failing(tx: ReadTx, network_id: str, names: Collection[str]) -> set[str]:
    """Return on which of these hosts a port of a network could not be plugged now.

    For a while after the server's start, hosts that ever reported are alive.
    """
    rows = list(_facts(tx, network_id, names))
    return {row.name for row in rows} - _fit(tx, rows)


def _fit(tx: ReadTx, rows: Iterable[Row[Any]]) -> set[str]:
    young = tx.now - tx.fleet.opened_at < tx.settings.agent_down_time
    since = 0.0 if young else tx.alive_since
    fit = set()
    for row in rows:
        name, _, stored, local_ip, physical, kind, wanted = tuple(row)
        alive = tx.fleet.heartbeats.last(name, stored) > since
        if alive and has_network(local_ip, listed(physical), kind, wanted):
            fit.add(name)
    return fit


def _facts(tx: ReadTx, network_id: str, names: Collection[str]) -> Iterable[Row[Any]]:
    if len(names) == 1:  # as a rule; what has no list to expand costs half as much
        return tx.conn.execute(_OF_ONE, {"net": network_id, "name": next(iter(names))})
    return tx.conn.execute(_OF_SEVERAL, {"net": network_id, "names": list(names)})
