"""Events for a compute API: written with the change itself, sent afterwards.

An event waits in its table, so a server that dies forgets none. The server that keeps house sends
them, in their order.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select, update

from lessor.model import Port
from lessor.store.engine.access import Database
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.ports.rows import STATUS
from lessor.store.tables import bindings, nova_events, ports

PLUGGED, UNPLUGGED = "network-vif-plugged", "network-vif-unplugged"
CHANGED, DELETED = "network-changed", "network-vif-deleted"
COMPUTE = "compute:"  # what the device_owner of a VM's port starts with
AT_ONCE = 100  # events of one request
_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NovaEvent:
    """An event for a compute API."""

    id: int
    name: str
    server_uuid: str
    port_id: str
    made_at: float


def is_compute(device_owner: str, device_id: str) -> bool:
    """Tell whether a port is a VM's of a compute service, which names its VMs by UUIDs."""
    return device_owner.startswith(COMPUTE) and bool(_UUID.fullmatch(device_id))


def _sends_status(tx: Tx) -> bool:
    return tx.settings.nova is not None and tx.settings.notify_nova_on_port_status_changes


def _sends_data(tx: Tx) -> bool:
    return tx.settings.nova is not None and tx.settings.notify_nova_on_port_data_changes


def _add(tx: Tx, name: str, server_uuid: str, port_id: str) -> None:
    row = {"name": name, "server_uuid": server_uuid, "port_id": port_id, "made_at": tx.now}
    tx.conn.execute(insert(nova_events), row)


_TURNED = select(ports.c.id, ports.c.device_id, ports.c.device_owner, ports.c.nova_told).where(
    ports.c.id.in_(bindparam("keys", expanding=True)),
    ports.c.device_owner.startswith(COMPUTE),
    ((STATUS == "ACTIVE") & ~ports.c.nova_told) | (ports.c.nova_told & ports.c.wired.is_(False)),
)
_MARK = update(ports).where(ports.c.id == bindparam("port")).values(nova_told=bindparam("sent"))


def reported(tx: Tx, port_ids: Collection[str]) -> None:
    """Write the events of ports that hosts reported: plugged, or unplugged."""
    if not _sends_status(tx) or not port_ids:
        return
    for port_id, device_id, owner, sent in tx.conn.execute(_TURNED, {"keys": list(port_ids)}).all():
        if is_compute(owner, device_id):
            _add(tx, UNPLUGGED if sent else PLUGGED, device_id, port_id)
            tx.conn.execute(_MARK, {"port": port_id, "sent": not sent})


_ARRIVED = (
    select(ports.c.id, ports.c.device_id, ports.c.device_owner)
    .select_from(ports.join(bindings, bindings.c.port_id == ports.c.id))
    .where(
        bindings.c.host == bindparam("host_name"),
        bindings.c.port_id.in_(bindparam("keys", expanding=True)),
        ~bindings.c.nova_told,
    )
)
_MARK_ARRIVED = (
    update(bindings)
    .where(bindings.c.port_id == bindparam("port"), bindings.c.host == bindparam("host_name"))
    .values(nova_told=True)
)


def prepared(tx: Tx, host: str, port_ids: Collection[str]) -> None:
    """Write the events of ports whose taps are ready on a host that they are not bound to yet.

    The compute service waits for that before a live migration. Each binding has one event.
    """
    if not _sends_status(tx) or not port_ids:
        return
    key = {"host_name": host, "keys": list(port_ids)}
    for port_id, device_id, owner in tx.conn.execute(_ARRIVED, key).all():
        if is_compute(owner, device_id):
            _add(tx, PLUGGED, device_id, port_id)
            tx.conn.execute(_MARK_ARRIVED, {"port": port_id, "host_name": host})


def changed(tx: Tx, before: Port, after: Port) -> None:
    """Write the events of a change of a VM's port.

    One that moves to another host or goes down is unplugged; the service waits to hear that it is
    plugged again.
    """
    if tx.settings.nova is None:
        return
    down = before.binding_host != after.binding_host or not after.admin_state_up
    sent = update(ports).where(ports.c.id == after.id, ports.c.nova_told).values(nova_told=False)
    was_sent = down and tx.conn.execute(sent).rowcount == 1
    if not is_compute(after.device_owner, after.device_id):
        return
    if was_sent and _sends_status(tx) and before.device_id == after.device_id:
        _add(tx, UNPLUGGED, after.device_id, after.id)
    facts = ("fixed_ips", "mac_address")
    if _sends_data(tx) and any(getattr(before, f) != getattr(after, f) for f in facts):
        _add(tx, CHANGED, after.device_id, after.id)


def deleted(tx: Tx, port: Port) -> None:
    """Write the event of a VM's deleted port."""
    if _sends_data(tx) and is_compute(port.device_owner, port.device_id):
        _add(tx, DELETED, port.device_id, port.id)


# --- sending --------------------------------------------------------------------------------------

_NEXT = select(*nova_events.c).order_by(nova_events.c.id).limit(AT_ONCE)


def due(db: Database) -> list[NovaEvent]:
    """Return the events to send next; none if another server sends them."""
    return db.read(_first) if db.peers.keeps else []


def _first(tx: ReadTx) -> list[NovaEvent]:
    return [NovaEvent(*row) for row in tx.conn.execute(_NEXT)]


def drop(tx: Tx, ids: Collection[int]) -> None:
    """Delete events that were sent, or never can be."""
    tx.conn.execute(delete(nova_events).where(nova_events.c.id.in_(list(ids))))
