"""Inactive bindings of a port, to hosts that its VM is about to move to.

A port has one active binding, which is in its own row and which agents see. Beside it a compute
service may prepare others, inactive, and make one of them the active one the moment the VM has
moved (live migration). What was active then becomes inactive, until it is deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import and_, delete, select, update

from lessor.errors import Conflict, InUse, NotFound
from lessor.model import Port
from lessor.store.columns import packed
from lessor.store.engine.dialect import insert
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.hosts import unknown as unknownhosts
from lessor.store.networks.addressing import read_addressing
from lessor.store.ports import rows as portrows
from lessor.store.ports import rules as ports
from lessor.store.tables import bindings
from lessor.store.values import PortValues


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A host that a port is bound to, or prepared for."""

    host: str
    active: bool
    vnic_type: str = "normal"
    profile: dict[str, Any] = field(default_factory=dict)


def of_port(tx: ReadTx, port_id: str) -> list[Binding]:
    """Return a port's bindings, the active one first; raise NotFound: there is no such port."""
    port = portrows.get(tx, port_id)
    rows = tx.conn.execute(
        select(bindings).where(bindings.c.port_id == port_id).order_by(bindings.c.host)
    )
    return [*_active(port), *(_inactive(row) for row in rows)]


def _active(port: Port) -> list[Binding]:
    if port.binding_host is None:
        return []
    host, profile = port.binding_host, port.binding_profile
    return [Binding(host=host, active=True, vnic_type=port.vnic_type, profile=profile)]


def _inactive(row: Any) -> Binding:
    profile = msgspec.json.decode(row.profile)
    return Binding(host=row.host, active=False, vnic_type=row.vnic_type, profile=profile)


def of_host(tx: ReadTx, port_id: str, host: str) -> Binding:
    """Return a port's binding to a host.

    Raises:
        NotFound: there is no such port, or it has no such binding.
    """
    found = next((one for one in of_port(tx, port_id) if one.host == host), None)
    if found is None:
        raise NotFound(f"port {port_id} has no binding to host {host}", type_="PortBindingNotFound")
    return found


def create(tx: Tx, port_id: str, values: Mapping[str, Any]) -> Binding:
    """Prepare a port for a further host.

    Raises:
        NotFound: there is no such port.
        Invalid: there is no such host, and bind_unknown_hosts is off.
        Conflict: the port has a binding to it already.
    """
    port, host = portrows.get(tx, port_id), values["host"]
    unknownhosts.ensure(tx, {host})
    made = Binding(active=False, **values)
    added = insert(bindings).values(_row(port_id, made)).on_conflict_do_nothing()
    if port.binding_host == host or tx.conn.execute(added).rowcount != 1:
        raise Conflict(
            f"port {port_id} has a binding to host {host} already",
            type_="PortBindingAlreadyExists",
        )
    tx.touch("ports", port_id)  # Neutron, too, gives the port a new revision
    _tell(tx, port, host)
    return made


def _tell(tx: Tx, port: Port, host: str) -> None:
    """Update the views that a binding to a host changes: on an overlay network all."""
    hosts = [port.binding_host, host]
    tx.concerns(portrows.concerned(tx, read_addressing(tx, port.network_id), hosts))
    tx.gone("port", port.id, port.network_id, host=host)  # unless it is sent again


def _row(port_id: str, binding: Binding, *, is_sent: bool = False) -> dict[str, Any]:
    return {
        "nova_told": is_sent,
        "port_id": port_id,
        "host": binding.host,
        "vnic_type": binding.vnic_type,
        "profile": packed(binding.profile),
    }


def change(tx: Tx, port_id: str, host: str, values: Mapping[str, Any]) -> Binding:
    """Change an inactive binding; the active one is changed with its port.

    Raises:
        NotFound: there is no such port or binding.
        InUse: it is the active one.
    """
    _inactive_one(tx, port_id, host)
    columns = {k: packed(v) if k == "profile" else v for k, v in values.items()}
    if columns:
        tx.conn.execute(update(bindings).where(_this(port_id, host)).values(**columns))
        tx.touch("ports", port_id)
        _tell(tx, portrows.get(tx, port_id), host)
    return of_host(tx, port_id, host)


def remove(tx: Tx, port_id: str, host: str) -> None:
    """Take an inactive binding away; errors as those of `change`."""
    _inactive_one(tx, port_id, host)
    tx.conn.execute(delete(bindings).where(_this(port_id, host)))
    tx.touch("ports", port_id)
    _tell(tx, portrows.get(tx, port_id), host)


def _inactive_one(tx: Tx, port_id: str, host: str) -> Binding:
    found = of_host(tx, port_id, host)
    if found.active:
        raise InUse(
            f"host {found.host} is the active binding of port {port_id}; activate another one "
            "first, or change the port",
            type_="PortBindingError",
        )
    return found


def _this(port_id: str, host: str) -> Any:
    return and_(bindings.c.port_id == port_id, bindings.c.host == host)


def activate(tx: Tx, port_id: str, host: str) -> Port:
    """Bind a port to a host that it was prepared for: both bindings change places.

    Raises:
        NotFound: there is no such port or binding.
        Conflict: it is active already.
    """
    found = of_host(tx, port_id, host)
    if found.active:
        raise Conflict(
            f"the binding of port {port_id} to host {host} is active already",
            type_="PortBindingAlreadyActive",
        )
    tx.conn.execute(delete(bindings).where(_this(port_id, host)))
    for before in _active(portrows.get(tx, port_id)):
        # its VM was plugged there: no event is due
        tx.conn.execute(insert(bindings).values(_row(port_id, before, is_sent=True)))
    active: PortValues = {
        "binding_host": host,
        "binding_profile": found.profile,
        "vnic_type": found.vnic_type,
    }
    return ports.update_one(tx, port_id, active)
