"""Holdings: the addresses in use on a host, as it reports them in a new epoch.

Of a host awaited after a restore, holdings on any existing network count: the store may have lost
that it takes part. Later reports count as lease events do (`trust`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import bindparam, select, update

from lessor.errors import Invalid
from lessor.model import Holding, Holdings, LeaseEvent
from lessor.net.address import Address
from lessor.net.macs import parsed_mac
from lessor.store.address_column import AddressColumn
from lessor.store.addresses import leases
from lessor.store.addresses.allocation import hold
from lessor.store.addresses.trust import Trust, latest_end
from lessor.store.engine import notes, recovery
from lessor.store.engine.history import EPOCH
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.tables import addresses, ports

AT_ONCE = 500  # addresses in one statement
SHOWN = 5  # conflicts that are logged one by one

log = structlog.get_logger("lessor.store")

_ROWS = (
    select(
        addresses.c.address,
        addresses.c.port_id,
        addresses.c.reserved_as,
        addresses.c.not_before,
        ports.c.mac_address,
    )
    .select_from(addresses.outerjoin(ports, ports.c.id == addresses.c.port_id))
    .where(
        addresses.c.network_id == bindparam("network"),
        addresses.c.address.in_(bindparam("some", type_=AddressColumn(), expanding=True)),
    )
)
_KEEP = (
    update(addresses)
    .where(
        addresses.c.network_id == bindparam("network"),
        addresses.c.address == bindparam("addr", type_=AddressColumn()),
    )
    .values(
        freed_seq=None,
        mac=bindparam("holder"),
        let_go_at=bindparam("at"),
        not_before=bindparam("until"),
        updated_at=bindparam("at"),
    )
)
Key = tuple[str, Address]  # an address, by its network


def report(tx: Tx, host: str, holdings: Holdings) -> bool:
    """Keep the addresses that a host holds from others; False: the report is of another epoch.

    Raises:
        NotFound: there is no such host.
    """
    if holdings.epoch != notes.remembered(tx.conn, EPOCH):
        return False
    trust = Trust(tx, host, anywhere=recovery.awaits(tx.conn, host))
    live = leases.snapshot(tx, host, holdings.leases, trust)
    held = [*_fit(trust, holdings.ports), *map(_held, live)]
    until = _until(tx, live)
    kept, taken = 0, list[tuple[Holding, str]]()
    for network_id, some in _by_network(held).items():
        more, others = _keep(tx, host, network_id, some, until)
        kept, taken = kept + more, taken + others
    _log(host, kept, taken)
    recovery.reported(tx, host)
    return True


def _fit(trust: Trust, holdings: Iterable[Holding]) -> Iterator[Holding]:
    """Yield the addresses of ports that are the host's to report."""
    for one in holdings:
        with suppress(Invalid):
            mac = parsed_mac(one.mac_address)
            if not trust.refusal(one.network_id, one.address):
                yield Holding(one.network_id, one.address, mac)


def _held(event: LeaseEvent) -> Holding:
    return Holding(event.network_id, event.address, event.mac_address)


def _until(tx: Tx, live: Iterable[LeaseEvent]) -> Mapping[Key, float]:
    """Return the ends of clients' leases, in seconds since 1970.

    A DHCP server drops a lease when its reservation goes, as for a port that was deleted with its
    VM. The VM of a lost port lives, so the end of such a lease does not free its address.
    """
    latest = latest_end(tx.settings, tx.now)
    ends = {(one.network_id, one.address): one.expires_at for one in live}
    return {key: min(end or math.inf, latest or math.inf) for key, end in ends.items()}


def _by_network(held: Iterable[Holding]) -> Mapping[str, dict[Address, Holding]]:
    found: dict[str, dict[Address, Holding]] = {}
    for one in held:
        found.setdefault(one.network_id, {})[one.address] = one
    return found


def _keep(
    tx: Tx,
    host: str,
    network_id: str,
    held: Mapping[Address, Holding],
    until: Mapping[Key, float],
) -> tuple[int, list[tuple[Holding, str]]]:
    """Keep those that no port owns; return their number, and those of another host's port."""
    kept, taken = 0, list[tuple[Holding, str]]()
    for one, row in _with_rows(tx, network_id, held):
        if row is None or (row.port_id is None and row.reserved_as is None):
            known = (row and row.not_before) or 0.0
            leased = max(known, until.get((network_id, one.address), 0.0))
            kept += _keep_one(tx, host, one, leased or None, new=row is None)
        elif row.port_id is not None and row.mac_address != one.mac_address:
            taken.append((one, row.port_id))
    return kept, taken


def _with_rows(
    tx: ReadTx, network_id: str, held: Mapping[Address, Holding]
) -> Iterator[tuple[Holding, Any]]:
    every = [*held.values()]
    for start in range(0, len(every), AT_ONCE):
        some = every[start : start + AT_ONCE]
        wanted = [one.address for one in some]
        rows = tx.conn.execute(_ROWS, {"network": network_id, "some": wanted}).all()
        known = {row.address: row for row in rows}
        yield from ((one, known.get(one.address)) for one in some)


def _keep_one(tx: Tx, host: str, one: Holding, until: float | None, *, new: bool) -> bool:
    if new and not leases.keep_away(tx, one.network_id, one.address, one.mac_address):
        return False
    key = {"network": one.network_id, "addr": one.address}
    values = {"holder": one.mac_address, "at": tx.now, "until": until}
    tx.conn.execute(_KEEP, key | values)
    hold(tx, one.network_id, one.address, host)
    return True


def _log(host: str, kept: int, taken: list[tuple[Holding, str]]) -> None:
    if kept:
        log.warning("a host has addresses of ports that the store lost", host=host, count=kept)
    for one, port_id in taken[:SHOWN]:
        log.error(
            "an address is in use by two",
            network=one.network_id,
            address=str(one.address),
            host=host,
            mac=one.mac_address,
            port=port_id,
            count=len(taken),
        )
