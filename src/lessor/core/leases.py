"""What a DHCP server says of its leases, and the leases that follow from it.

The hook writes an event as one line, which begins and ends with a newline so that a torn one spoils
no other:

    INSTANCE UPTIME ACTION MAC ADDRESS EXPIRES CLIENT-ID HOSTNAME .

Whoever may call the hook may write there whatever he likes, so a line is read like a stranger's.

UPTIME is the host's in seconds, EXPIRES seconds since 1970, 0 is never; "*" is none. dnsmasq's own
table, which the hook prints at `init`, has a line a lease: EXPIRES MAC ADDRESS HOSTNAME CLIENT-ID.

Source: semantics.md A9, A10; dnsmasq(8), --dhcp-script and --leasefile-ro.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

END = "."
LONGEST_LINE = 4096  # a client-id has at most 255 bytes, a name with its domain 511
_EVENT = re.compile(
    r"([^\s/.][^\s/]{0,63}) ([0-9]{1,12}(?:\.[0-9]{1,9})?) (add|old|del) ([0-9A-Fa-f:]{17})"
    r" ([0-9.]{7,15}) ([0-9]{1,12}) (\S+) (\S+) \.",
)
_NAME = re.compile(r"[\w.-]{1,255}", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){0,254}", re.ASCII)
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SpooledEvent:
    """One event of a DHCP server on this host, in the order in which it was reported.

    `seq` counts from 1 without gaps. `expires_at` None is never, and meaningless for `del`.
    """

    seq: int
    instance: str
    action: str
    mac: str
    address: IPv4Address
    expires_at: float | None
    at: float
    hostname: str = ""
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class LiveLease:
    """A lease that a DHCP server holds for a client."""

    address: IPv4Address
    mac: str
    expires_at: float | None  # None: never
    hostname: str = ""
    client_id: str = ""

    def alive(self, now: float) -> bool:
        """Tell whether it has not ended by itself."""
        return self.expires_at is None or self.expires_at > now


def parse_line(line: str, seq: int, booted_at: float, latest: float) -> SpooledEvent | None:
    """Read a line of the hook; None: it is torn, or not an event of an IPv4 lease.

    A name or client-id that is none is left out: no VM hides its lease behind one.

    Args:
        line: without its newline.
        seq: of the event, if it is one.
        booted_at: when the host's uptime was 0.
        latest: it can't have happened after that.
    """
    found = _EVENT.fullmatch(line) if len(line) <= LONGEST_LINE else None
    if found is None:
        return None
    instance, uptime, action, mac, address, expires, client_id, hostname = found.groups()
    told, at = int(expires), booted_at + float(uptime)
    try:
        where = IPv4Address(address)
    except ValueError:
        return None
    if not _MAC.fullmatch(mac.lower()) or not instance.isprintable():
        return None
    return SpooledEvent(
        seq=seq,
        instance=instance,
        action=action,
        mac=mac.lower(),
        address=where,
        expires_at=float(told) if told else None,
        at=min(at, latest),
        hostname=hostname if _NAME.fullmatch(hostname) else "",
        client_id=client_id if _HEX.fullmatch(client_id) else "",
    )


def event_line(instance: str, uptime: float, action: str, lease: LiveLease) -> str:
    """Return what the hook writes for such an event."""
    client_id = lease.client_id if _HEX.fullmatch(lease.client_id) else "*"
    hostname = lease.hostname if _NAME.fullmatch(lease.hostname) else "*"
    fields = (instance, f"{uptime:.2f}", action, lease.mac, lease.address)
    return " ".join(map(str, (*fields, int(lease.expires_at or 0), client_id, hostname, END)))


def apply_event(leases: dict[IPv4Address, LiveLease], event: SpooledEvent) -> None:
    """Change `leases`, those of the event's instance by address, as the event says.

    `add` and `old` say what is now; `del` ends the lease only of the MAC that it names: an address
    may have had a new owner since (LP 1249065).
    """
    if event.action != "del":
        leases[event.address] = LiveLease(
            event.address, event.mac, event.expires_at, event.hostname, event.client_id
        )
        return
    held = leases.get(event.address)
    if held is not None and held.mac == event.mac:
        del leases[event.address]


def lease_table(leases: Iterable[LiveLease], now: float) -> str:
    """Return the table that dnsmasq reads at `init`: the live leases, by address."""
    lines = []
    for lease in sorted(leases, key=lambda one: one.address):
        if lease.alive(now):
            hostname = lease.hostname if _NAME.fullmatch(lease.hostname) else "*"
            client_id = lease.client_id if _HEX.fullmatch(lease.client_id) else "*"
            expires = int(lease.expires_at or 0)
            lines.append(f"{expires} {lease.mac} {lease.address} {hostname} {client_id}\n")
    return "".join(lines)


def read_table(text: str) -> dict[IPv4Address, LiveLease]:
    """Read a table that `lease_table` wrote; lines that are none are passed over."""
    leases = {}
    for line in text.splitlines():
        try:
            expires, mac, address, hostname, client_id = line.split(" ")
            lease = LiveLease(
                address=IPv4Address(address),
                mac=mac,
                expires_at=float(expires) if int(expires) else None,
                hostname="" if hostname == "*" else hostname,
                client_id="" if client_id == "*" else client_id,
            )
        except ValueError:
            continue
        leases[lease.address] = lease
    return leases


def given_elsewhere(
    known: Iterable[LiveLease], live: Mapping[IPv4Address, LiveLease], owners: Mapping[str, str]
) -> list[LiveLease]:
    """Return the leases that a server doesn't know of and should, or knows as shorter, by address.

    Args:
        known: live leases, whoever gave them; the same one may be there twice, of two servers.
        live: the leases of this server, by address.
        owners: the MAC that an address (as text) is reserved for; others' leases stay away.
    """
    found: dict[IPv4Address, LiveLease] = {}
    for lease in known:
        other = found.get(lease.address, live.get(lease.address))
        shorter = other is None or (other.mac == lease.mac and _ends(other) < _ends(lease))
        if shorter and owners.get(str(lease.address)) == lease.mac:
            found[lease.address] = lease
    return [found[address] for address in sorted(found)]


def _ends(lease: LiveLease) -> float:
    return float("inf") if lease.expires_at is None else lease.expires_at


def coalesce(events: Sequence[SpooledEvent]) -> list[SpooledEvent]:
    """Leave out each renewal that a later event of the same lease says again, newer.

    Only an `old` is left out, and only if the next event of that address on that instance is an
    `old` of the same MAC. Order is kept, and so is the last event: its `seq` is that of the whole
    list. So a receiver takes every event newer than its last one, and the last `seq` of a batch
    stands for all before it, whether they were sent or left out.
    """
    following: dict[tuple[str, IPv4Address], SpooledEvent] = {}
    kept = []
    for event in reversed(events):
        key = (event.instance, event.address)
        after = following.get(key)
        following[key] = event
        said_again = after is not None and after.action == "old" and after.mac == event.mac
        if not (event.action == "old" and said_again):
            kept.append(event)
    return kept[::-1]
