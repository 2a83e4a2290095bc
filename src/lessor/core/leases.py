"""Leases, and the events that change them, from the lines of `core.lease_line`.

Source: semantics.md A9, A10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from lessor.core.lease_line import NONE, lease_line, line_client_id, line_name
from lessor.model import LeaseEvent
from lessor.net.address import Address, place

MAX_LINE = 4096  # a client-id has at most 255 bytes, a name with its domain 511
_EVENT = re.compile(
    r"([^\s/.][^\s/]{0,63}) ([0-9]{1,12}(?:\.[0-9]{1,9})?) (add|old|del) ([0-9A-Fa-f:]{17})"
    r" ([0-9.]{7,15}) ([0-9]{1,12}) (\S+) (\S+) \.",
)
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LiveLease:
    """A lease that a DHCP server holds for a client."""

    address: Address
    mac: str
    expires_at: float | None  # None: never
    hostname: str = ""
    client_id: str = ""

    def alive(self, now: float) -> bool:
        """Tell whether it has not expired."""
        return self.expires_at is None or self.expires_at > now


def parse_line(line: str, seq: int, booted_at: float, latest: float) -> LeaseEvent | None:
    """Parse a line that reports an event; None for a torn line, or one of no IPv4 lease.

    A malformed name or client-id is left out: a VM can't hide its lease behind one.

    Args:
        line: without its newline.
        seq: number of the event.
        booted_at: boot time of the host, in seconds since 1970.
        latest: upper bound of the event's time, in seconds since 1970.
    """
    found = _EVENT.fullmatch(line) if len(line) <= MAX_LINE else None
    if found is None:
        return None
    server, uptime, action, mac, ip, expires, client_id, hostname = found.groups()
    try:
        address = IPv4Address(ip)
    except ValueError:
        return None
    if not _MAC.fullmatch(mac.lower()) or not server.isprintable():
        return None
    return LeaseEvent(
        seq=seq,
        server=server,
        action=action,
        network_id="",
        address=address,
        mac_address=mac.lower(),
        expires_at=float(expires) if int(expires) else None,
        at=min(booted_at + float(uptime), latest),
        hostname=_field(line_name(hostname)),
        client_id=_field(line_client_id(client_id)),
    )


def event_line(server: str, uptime: float, action: str, lease: LiveLease) -> str:
    """Return the line that reports such an event."""
    return lease_line(server, uptime, action, lease.mac, str(lease.address), *end_and_names(lease))


def end_and_names(lease: LiveLease) -> tuple[int, str, str]:
    """Return expiry, client-id and hostname as lines of leases have them: 0 and "*" are none."""
    client_id, hostname = line_client_id(lease.client_id), line_name(lease.hostname)
    return int(lease.expires_at or 0), client_id, hostname


def _field(text: str) -> str:
    return "" if text == NONE else text


def apply_event(leases: dict[Address, LiveLease], event: LeaseEvent) -> None:
    """Apply an event to the leases of its DHCP server, by address.

    `add` and `old` replace the lease; `del` ends only a lease of the MAC that it names: the address
    may have a new owner since (LP 1249065).
    """
    if event.action != "del":
        leases[event.address] = LiveLease(
            event.address, event.mac_address, event.expires_at, event.hostname, event.client_id
        )
        return
    held = leases.get(event.address)
    if held is not None and held.mac == event.mac_address:
        del leases[event.address]


def peer_leases(
    known: Iterable[LiveLease], live: Mapping[Address, LiveLease], owners: Mapping[str, str]
) -> list[LiveLease]:
    """Return the leases of other servers that this one lacks, or has with an earlier expiry.

    Args:
        known: live leases of all servers; two servers may report the same one.
        live: the leases of this server, by address.
        owners: MAC of the reservation of each address (as text); leases of other MACs are left out.
    """
    found: dict[Address, LiveLease] = {}
    for lease in known:
        other = found.get(lease.address, live.get(lease.address))
        shorter = other is None or (other.mac == lease.mac and _ends(other) < _ends(lease))
        if shorter and owners.get(str(lease.address)) == lease.mac:
            found[lease.address] = lease
    return [found[address] for address in sorted(found, key=place)]


def _ends(lease: LiveLease) -> float:
    return float("inf") if lease.expires_at is None else lease.expires_at


def coalesce(events: Sequence[LeaseEvent]) -> list[LeaseEvent]:
    """Leave out each renewal that a later renewal of the same lease supersedes.

    An `old` is left out only if the next event of that address on that server is an `old` of the
    same MAC. Order is preserved, and the last event always remains: its `seq` covers the whole
    list, so the last `seq` of a batch acknowledges all events before it, sent or left out.
    """
    following: dict[tuple[str, Address], LeaseEvent] = {}
    remaining = []
    for event in reversed(events):
        key = (event.server, event.address)
        after = following.get(key)
        following[key] = event
        renewed = after and after.action == "old" and after.mac_address == event.mac_address
        if not (event.action == "old" and renewed):
            remaining.append(event)
    return remaining[::-1]
