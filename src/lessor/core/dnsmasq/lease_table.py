"""The lease table that a starting dnsmasq reads from its hook (`init`).

One line a lease: EXPIRES MAC ADDRESS HOSTNAME CLIENT-ID. EXPIRES is in seconds since 1970, 0 is
never; "*" stands for an empty field.

Source: dnsmasq(8), --leasefile-ro; dnsmasq 2.90, src/lease.c.
"""

from __future__ import annotations

from collections.abc import Iterable

from lessor.core.leases import LiveLease, end_and_names
from lessor.net.address import place


def lease_table(leases: Iterable[LiveLease]) -> str:
    """Return the table of these leases, by address."""
    return "".join(map(_line, sorted(leases, key=lambda one: place(one.address))))


def _line(lease: LiveLease) -> str:
    expires, client_id, hostname = end_and_names(lease)
    return f"{expires} {lease.mac} {lease.address} {hostname} {client_id}\n"
