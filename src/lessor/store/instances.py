"""Rules of instances, and the facts for the metadata service."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, insert, or_, select, update

from lessor.errors import Conflict, Invalid, NotFound
from lessor.model import Instance, MetadataFacts, Port
from lessor.net.address import Address
from lessor.store.address_column import AddressColumn
from lessor.store.columns import decoder, packed
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.listing import Listing
from lessor.store.networks import subnets as subnet_rows
from lessor.store.networks.rows import NETWORK, network_of
from lessor.store.noun import Noun
from lessor.store.ports import names as guestnames
from lessor.store.ports import rows as portrows
from lessor.store.ports import rules as port_rows
from lessor.store.ports import serving
from lessor.store.query import Query
from lessor.store.tables import addresses, instances, networks, ports
from lessor.store.values import InstanceValues

_MAP = decoder(dict[str, str])
INSTANCE = tuple(instances.c)


def instance_of(row: Row[Any]) -> Instance:
    """Read a row of `INSTANCE`."""
    values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - as above
    maps = {name: _MAP(values[name]) for name in ("public_keys", "metadata")}
    return Instance(**values | maps)


_ONE = select(*INSTANCE).where(instances.c.id == bindparam("key"))


def _visible(project_id: str) -> ColumnElement[bool]:
    return instances.c.project_id == project_id


LISTING = Listing(
    "instance",
    select(*INSTANCE),
    instances.c.id,
    {c.name: c for c in INSTANCE if c.name not in {"public_keys", "metadata", "password"}},
    nullable={"user_data": ""},
    visible=_visible,
)
_MAPS = ("public_keys", "metadata")


def get(tx: ReadTx, instance_id: str) -> Instance:
    """Return an instance, or raise NotFound."""
    row = tx.conn.execute(_ONE, {"key": instance_id}).first()
    if row is None:
        raise NotFound(f"there is no instance {instance_id}", type_="InstanceNotFound")
    return instance_of(row)


def find(tx: ReadTx, query: Query) -> list[Instance]:
    """Return the instances that a query asks for."""
    return [instance_of(row) for row in LISTING.rows(tx, query)]


def create_many(tx: Tx, many: Sequence[InstanceValues]) -> list[Instance]:
    """Make instances, all or none.

    Raises:
        Conflict: there is one with this id.
    """
    return [_create(tx, values) for values in many]


def _create(tx: Tx, values: InstanceValues) -> Instance:
    given: Any = values
    made = Instance(
        **{"id": str(uuid.uuid4())} | given | {"created_at": tx.now, "updated_at": tx.now}
    )
    if tx.conn.execute(_ONE, {"key": made.id}).first():
        raise Conflict(f"there is an instance {made.id} already")
    tx.conn.execute(insert(instances), _columns(made))
    tx.touch("instances", made.id)
    _name_ports(tx, None, made)
    return made


def update_one(tx: Tx, instance_id: str, values: InstanceValues) -> Instance:
    """Change an instance.

    Raises:
        NotFound: there is none.
        Invalid: its id is to change.
    """
    before = get(tx, instance_id)
    if values.get("id", instance_id) != instance_id:
        raise Invalid(f"the id of instance {instance_id} can't be changed")
    given: Any = values
    after = replace(before, **given)
    if after == before:
        return before
    after = replace(after, updated_at=tx.now)
    tx.conn.execute(
        update(instances).where(instances.c.id == instance_id).values(**_columns(after))
    )
    tx.touch("instances", instance_id)
    _name_ports(tx, before, after)
    return after


def _columns(instance: Instance) -> dict[str, Any]:
    plain = {c.name: getattr(instance, c.name) for c in INSTANCE if c.name != "revision"}
    return plain | {name: packed(plain[name]) for name in _MAPS}


def delete_one(tx: Tx, instance_id: str) -> None:
    """Delete an instance; its ports stay. Raises NotFound if there is none."""
    before = get(tx, instance_id)
    tx.conn.execute(delete(instances).where(instances.c.id == instance_id))
    _name_ports(tx, before, None)


def _name_ports(tx: Tx, before: Instance | None, after: Instance | None) -> None:
    """Give the name of an instance to those of its ports that have no other."""
    for port_id in guestnames.bearers(tx, before, after):
        port_rows.update_one(tx, port_id, {"dns_name": ""})


def set_password(tx: Tx, host: str, instance_id: str, password: str) -> bool:
    """Keep the password that a guest of a host posted. False: there is one already, and it stays.

    Raises:
        NotFound: there is no such instance, or the host has and serves no port of it.
    """
    found = get(tx, instance_id)
    asked = {"device": instance_id, "host_name": host}
    projects = {row.project_id for row in tx.conn.execute(_PROJECTS, asked)}
    if not any(guestnames.is_of(found, project, tx.settings) for project in projects):
        raise NotFound(
            f"host {host} has no port of instance {instance_id}", type_="InstanceNotFound"
        )
    here = (instances.c.id == instance_id, instances.c.password == "")
    return bool(tx.conn.execute(update(instances).where(*here).values(password=password)).rowcount)


# --- metadata -------------------------------------------------------------------------------------

# A host hears only of VMs that are its own, or on a network that it is the gateway or (overlay)
# a DHCP host of.
_CONCERNED = or_(
    networks.c.host == bindparam("host_name"),
    serving.serves(bindparam("host_name")),
    ports.c.binding_host == bindparam("host_name"),
)
_ASKING = (
    portrows.SELECT.join(addresses, addresses.c.port_id == ports.c.id)
    .join(networks, networks.c.id == ports.c.network_id)
    .where(
        addresses.c.network_id.in_(bindparam("network_ids", expanding=True)),
        addresses.c.address == bindparam("client", type_=AddressColumn()),
        _CONCERNED,
    )
    .limit(1)
)
_PROJECTS = (
    select(ports.c.project_id)
    .select_from(ports.join(networks, networks.c.id == ports.c.network_id))
    .where(ports.c.device_id == bindparam("device"), portrows.HAS_DEVICE, _CONCERNED)
    .distinct()
)
_SIBLINGS = (
    portrows.SELECT.where(ports.c.device_id == bindparam("device"), portrows.HAS_DEVICE)
    .where(ports.c.project_id == bindparam("project"))
    .order_by(ports.c.created_at, ports.c.id)
)


def metadata_facts(
    tx: ReadTx, host: str, network_ids: Sequence[str], address: Address
) -> MetadataFacts | None:
    """Return the facts of the VM with an address on one of the networks; None: there is none."""
    if not network_ids:
        return None
    asked = {"network_ids": list(network_ids), "client": address, "host_name": host}
    row = tx.conn.execute(_ASKING, asked).first()
    if row is None:
        return None
    port = portrows.read(tx, [row])[0]
    found = _of_vm(tx, port)
    ids = {each.network_id for each in found}
    rows = tx.conn.execute(select(*NETWORK).where(networks.c.id.in_(ids)))
    instance = _instance_of(tx, port)
    return MetadataFacts(
        port=port,
        instance=instance,
        ports=tuple(found),
        networks={net.id: net for net in map(network_of, rows)},
        subnets=subnet_rows.facts(tx, ids),
    )


def _instance_of(tx: ReadTx, port: Port) -> Instance | None:
    row = tx.conn.execute(_ONE, {"key": port.device_id}).first() if port.device_id else None
    return guestnames.unless_anothers(None if row is None else instance_of(row), port, tx.settings)


def _of_vm(tx: ReadTx, port: Port) -> list[Port]:
    if not port.device_id:
        return [port]
    key = {"device": port.device_id, "project": port.project_id}
    return portrows.read(tx, tx.conn.execute(_SIBLINGS, key).all())


NOUN = Noun(
    name="instance",
    table=instances,
    get=get,
    find=find,
    create=create_many,
    update=update_one,
    delete=delete_one,
    visible=_visible,
)
