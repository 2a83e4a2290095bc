"""Names of ports from their instances: dns_name, where none was given.

So a VM has one name: agents, which know ports only, tell and answer the one that its metadata has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy import bindparam, or_, select

from lessor.model import Instance, Port
from lessor.net.labels import label
from lessor.settings import ServerSettings
from lessor.store.engine.tx import Tx
from lessor.store.ports import rows as portrows
from lessor.store.tables import instances, ports

_COLUMNS = (instances.c.id, instances.c.hostname, instances.c.name, instances.c.project_id)
_NAMES = select(*_COLUMNS).where(instances.c.id == bindparam("key"))
_MANY_NAMES = select(*_COLUMNS).where(instances.c.id.in_(bindparam("keys", expanding=True)))
_PORTS = (
    portrows.SELECT.where(ports.c.device_id == bindparam("device"), portrows.HAS_DEVICE)
    .where(or_(ports.c.dns_name == "", ports.c.dns_name == bindparam("former")))
    .order_by(ports.c.id)
)

Known = Mapping[str, Instance]  # by id, with names and project alone


def name_of(instance: Instance | None) -> str:
    """Return the name that an instance gives, one label; "" for none."""
    return label(instance.hostname) or label(instance.name) if instance else ""


def is_of(instance: Instance, project_id: str, settings: ServerSettings) -> bool:
    """Tell whether an instance is that of a project's ports which have its id as device_id.

    Whoever makes a port may write any id into it, and would read another's user data. An instance
    without a project is of ports without one; of any port where callers have no project either.
    """
    of_any = settings.auth_strategy == "noauth" and not instance.project_id
    return of_any or instance.project_id == project_id


def unless_anothers(
    found: Instance | None, port: Port, settings: ServerSettings
) -> Instance | None:
    """Return an instance, unless it is another project's than a port."""
    return found if found and is_of(found, port.project_id, settings) else None


def named(tx: Tx, after: Port, before: Port | None = None, *, known: Known | None = None) -> Port:
    """Return a port with its instance's name, unless it has one of its own.

    Args:
        tx: of the change.
        after: the port as it is to be.
        before: as it was; a name that it had of its instance goes with that.
        known: what `read` returned for ports that are made together.
    """
    if after.dns_name and before and after.device_id == before.device_id:
        return after
    is_given = not before or after.dns_name != before.dns_name
    former = name_of(_instance(tx, before)) if before and not is_given else ""
    if after.dns_name not in {"", former}:
        return after
    name = name_of(_instance(tx, after, known))
    return after if name == after.dns_name else replace(after, dns_name=name)


def read(tx: Tx, devices: Iterable[str]) -> Known:
    """Return the instances with these ids, with their names alone: each port that is made asks."""
    asked = sorted(set(devices) - {""})
    if len(asked) == 1:
        rows = tx.conn.execute(_NAMES, {"key": asked[0]}).all()
    else:
        rows = tx.conn.execute(_MANY_NAMES, {"keys": asked}).all() if asked else []
    return {
        key: Instance(id=key, name=name, hostname=hostname, project_id=project_id)
        for key, hostname, name, project_id in rows
    }


def _instance(tx: Tx, port: Port, known: Known | None = None) -> Instance | None:
    found = read(tx, [port.device_id]) if known is None else known
    return unless_anothers(found.get(port.device_id), port, tx.settings)


def bearers(tx: Tx, before: Instance | None, after: Instance | None) -> list[str]:
    """Return the ids of the ports that a change of an instance gives another name.

    Args:
        tx: of the change.
        before: the instance as it was; None: it is new.
        after: as it is; None: it is gone.
    """
    instance = after or before
    if instance is None or name_of(before) == name_of(after):
        return []
    asked = {"device": instance.id, "former": name_of(before)}
    found = portrows.read(tx, tx.conn.execute(_PORTS, asked).all())
    return [port.id for port in found if is_of(instance, port.project_id, tx.settings)]
