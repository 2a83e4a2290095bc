"""Live leases of one DHCP server as a file: one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address

from lessor.core.leases import LiveLease
from lessor.errors import Invalid
from lessor.net.address import Address, place
from lessor.wire import decode, encode


def file_of(leases: Iterable[LiveLease]) -> bytes:
    """Return the file of these leases, by address."""
    return b"".join(
        encode(one) + b"\n" for one in sorted(leases, key=lambda one: place(one.address))
    )


def leases_of(content: bytes) -> dict[Address, LiveLease]:
    """Return the leases in a file, by address; malformed lines are skipped."""
    return {lease.address: lease for line in content.splitlines() for lease in _read(line)}


def _read(line: bytes) -> Iterator[LiveLease]:
    with suppress(Invalid, ValueError):
        yield decode(line, LiveLease) if line.startswith(b"{") else _read_former(line.decode())


def _read_former(line: str) -> LiveLease:
    """Read a line of Lessor 0.1.0 before the leases were JSON: EXPIRES MAC ADDRESS NAME CLIENT-ID.

    An agent that is upgraded finds its leases so; it writes JSON from the next event on.
    """
    expires, mac, address, hostname, client_id = line.split(" ")
    return LiveLease(
        address=IPv4Address(address),
        mac=mac,
        expires_at=float(expires) if int(expires) else None,
        hostname="" if hostname == "*" else hostname,
        client_id="" if client_id == "*" else client_id,
    )
