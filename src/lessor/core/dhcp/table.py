"""The rows of an interface: what each client gets, by its MAC and its identifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from lessor.net.address import Address

INFINITE = 0xFFFFFFFF  # seconds; such a lease has neither T1 nor T2 (RFC 2131, 3.3)


class Row(NamedTuple):
    """What a client gets, ready to be sent."""

    address: bytes
    server: bytes  # server identifier, and source of the answers
    siaddr: bytes
    sname: bytes  # 64 octets
    file: bytes  # 128 octets
    block: bytes  # options behind 53, without END
    asked: bytes  # options that only those get who ask: 108 (RFC 8925, 3.3)
    lease_time: int  # seconds; INFINITE: never ends
    mtu: int  # octets; bounds the answers
    first: bytes  # address of the subnet
    last: bytes


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one interface. `insert` and `remove` cost the same, however many there are.

    Attributes:
        mac: of the interface; sends the answers.
        servers: our addresses, each a server identifier.
        by_mac: rows by the client's MAC, by address.
        by_client: rows by client identifier, of the ports that have one.
        relays: MACs that may speak for other clients.
        rapid_commit: a DISCOVER that asks for it gets an ACK (RFC 4039).
        left_out: options of ports that were left out, and why, by address of the reservation.
    """

    mac: bytes
    servers: frozenset[bytes] = frozenset()
    by_mac: dict[bytes, tuple[Row, ...]] = field(default_factory=dict)
    by_client: dict[bytes, tuple[Row, ...]] = field(default_factory=dict)
    relays: frozenset[bytes] = frozenset()
    rapid_commit: bool = False
    left_out: dict[Address, tuple[str, ...]] = field(default_factory=dict)


def insert(made: Table, mac: bytes, clients: Iterable[bytes], row: Row) -> None:
    """Add a row of a client, beside those that the client has of other addresses."""
    for rows, key in _entries(made, mac, clients):
        rows[key] = tuple(sorted((*rows.get(key, ()), row)))


def remove(made: Table, mac: bytes, clients: Iterable[bytes], address: bytes) -> None:
    """Remove a row, as it was inserted; nothing happens if it isn't there."""
    for rows, key in _entries(made, mac, clients):
        others = tuple(row for row in rows.pop(key, ()) if row.address != address)
        if others:
            rows[key] = others


def _entries(
    made: Table, mac: bytes, clients: Iterable[bytes]
) -> Iterator[tuple[dict[bytes, tuple[Row, ...]], bytes]]:
    yield made.by_mac, mac
    yield from ((made.by_client, client) for client in clients)
