"""Addresses as operators see them: their states, and reserving them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, case, delete, func, or_, select, update

from lessor.errors import Conflict, Invalid, NotFound
from lessor.model import AddressInfo, AddressState
from lessor.net.address import Address, parse_address
from lessor.net.keys import key_of
from lessor.store.addresses.allocation import free
from lessor.store.engine.dialect import hex_of, insert
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.listing import Listing
from lessor.store.networks.addressing import read_addressing
from lessor.store.query import Query
from lessor.store.sharing import visible
from lessor.store.tables import addresses, leases, ports

ALL = Query()
_HERE = (
    leases.c.network_id == addresses.c.network_id,
    leases.c.address == addresses.c.address,
    leases.c.ended_at.is_(None),
)
_FOR_EVER = 1e18  # sorts after every expiry
_MAC = func.coalesce(ports.c.mac_address, addresses.c.mac)
_UNTIL = (
    select(func.max(func.coalesce(leases.c.expires_at, _FOR_EVER)))
    .where(*_HERE, leases.c.mac_address == _MAC)
    .correlate(addresses, ports)
    .scalar_subquery()
)
_HOST = (
    select(func.max(leases.c.host))
    .where(*_HERE, leases.c.mac_address == _MAC)
    .correlate(addresses, ports)
    .scalar_subquery()
)
_STATE = case(
    (addresses.c.reserved_as.is_not(None), AddressState.RESERVED.value),
    (ports.c.server_of.is_not(None), AddressState.SERVER.value),
    (addresses.c.port_id.is_not(None) & _UNTIL.is_not(None), AddressState.LEASED.value),
    (addresses.c.port_id.is_not(None), AddressState.ALLOCATED.value),
    (addresses.c.freed_seq.is_not(None), AddressState.FREE.value),
    else_=AddressState.RELEASING.value,
)
_COLUMNS = (
    addresses.c.network_id,
    addresses.c.subnet_id,
    addresses.c.address,
    _STATE.label("state"),
    addresses.c.port_id,
    _MAC.label("mac_address"),
    func.coalesce(ports.c.server_of, ports.c.binding_host, _HOST).label("host"),
    _UNTIL.label("leased_until"),
    addresses.c.updated_at,
)
_SELECT = select(*_COLUMNS).select_from(
    addresses.outerjoin(ports, ports.c.id == addresses.c.port_id)
)
# How a marker names an address: "network id/key", in hexadecimal.
_KEY = addresses.c.network_id.concat("/").concat(hex_of(addresses.c.address))


def _marked(query: Query) -> Query:
    """Read a marker: "network id/address"."""
    network_id, _, address = (query.marker or "").partition("/")
    try:
        key = key_of(parse_address(address))
    except Invalid as error:
        raise NotFound(f"there is no address {query.marker!r} to go on from") from error
    return replace(query, marker=f"{network_id}/{key.hex()}")


def _visible(project_id: str) -> ColumnElement[bool]:
    """Those of its ports, and those of its networks."""
    own = select(ports.c.id).where(ports.c.project_id == project_id)
    theirs = visible.on_own_network(addresses.c.network_id, project_id)
    return or_(addresses.c.port_id.in_(own), theirs)


LISTING = Listing(
    "address",
    _SELECT,
    _KEY,
    {
        "network_id": addresses.c.network_id,
        "subnet_id": addresses.c.subnet_id,
        "address": addresses.c.address,
        "state": _STATE,
        "port_id": addresses.c.port_id,
        "mac_address": _MAC,
        "host": func.coalesce(ports.c.server_of, ports.c.binding_host, _HOST),
        "leased_until": _UNTIL,
        "updated_at": addresses.c.updated_at,
    },
    nullable={"port_id": "", "mac_address": "", "host": "", "leased_until": 0.0},
    visible=_visible,
)


def find(tx: ReadTx, query: Query = ALL) -> list[AddressInfo]:
    """Return the addresses that a query asks for; those never used have no row.

    Without another order: by network, then by address. A marker is "network id/address".
    """
    if query.marker is not None:
        query = _marked(query)
    sort = query.sort or (("network_id", False), ("address", False))
    return [_info(row) for row in LISTING.rows(tx, replace(query, sort=sort))]


def _info(row: Any) -> AddressInfo:
    until = row.leased_until
    return AddressInfo(
        network_id=row.network_id,
        subnet_id=row.subnet_id,
        address=row.address,
        state=AddressState(row.state),
        port_id=row.port_id,
        mac_address=row.mac_address,
        host=row.host,
        leased_until=None if until == _FOR_EVER else until,
        updated_at=row.updated_at,
    )


def _this(network_id: str, address: Address) -> tuple[Any, Any]:
    return addresses.c.network_id == network_id, addresses.c.address == address


def _get(tx: Tx, network_id: str, address: Address) -> AddressInfo | None:
    row = tx.conn.execute(_SELECT.where(*_this(network_id, address))).first()
    return None if row is None else _info(row)


def reserve(tx: Tx, network_id: str, address: Address) -> AddressInfo:
    """Reserve an address: it is never allocated. One that is reserved already stays so.

    Raises:
        NotFound: there is no such network.
        Invalid: the address lies in no subnet of it.
        Conflict: it is in use, or its lease may still be alive.
    """
    subnet = read_addressing(tx, network_id).subnet_of(address)
    tx.conn.execute(
        delete(addresses).where(*_this(network_id, address), addresses.c.freed_seq.is_not(None))
    )
    row = {
        "network_id": network_id,
        "address": address,
        "subnet_id": subnet.id,
        "reserved_as": "operator",
        "updated_at": tx.now,
    }
    tx.conn.execute(insert(addresses).on_conflict_do_nothing(), row)
    found = _get(tx, network_id, address)
    assert found is not None
    if found.state is not AddressState.RESERVED:
        raise Conflict(
            f"address {address} of network {network_id} can't be reserved: it is {found.state}"
            + (f" (port {found.port_id})" if found.port_id else f" (by {found.mac_address})"),
            type_="IpAddressInUse",
        )
    return found


def unreserve(tx: Tx, network_id: str, address: Address) -> AddressInfo:
    """Let an address be handed out again; one that isn't reserved stays as it is.

    Raises:
        NotFound: there is no such network.
        Invalid: the address lies in no subnet of it.
        Conflict: the subnet itself needs it: it is its gateway's, for example.
    """
    subnet = read_addressing(tx, network_id).subnet_of(address)
    this = _this(network_id, address)
    reason = tx.conn.execute(select(addresses.c.reserved_as).where(*this)).scalar()
    if reason == "operator":
        tx.conn.execute(update(addresses).where(*this).values(reserved_as=None, let_go_at=tx.now))
        free(tx, network_id, address)
    elif reason is not None:
        raise Conflict(
            f"address {address} is subnet {subnet.id}'s own ({reason.replace('_', ' ')}); it can't "
            "be unreserved",
            type_="IpAddressInUse",
        )
    return _get(tx, network_id, address) or AddressInfo(
        network_id=network_id,
        subnet_id=subnet.id,
        address=address,
        state=AddressState.FREE,
    )
