"""The leases of a responder, and the events that change them.

A reservation's address has at most one lease. A declined address is quarantined: somebody else
answered for it, so nobody gets it until then (RFC 2131, 4.3.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Action(Enum):
    """What became of a lease."""

    GRANTED = "granted"
    RENEWED = "renewed"
    RELEASED = "released"
    DECLINED = "declined"
    EXPIRED = "expired"


class Lease(NamedTuple):
    """A client's lease."""

    mac: bytes
    client_id: bytes
    expires_at: float | None  # None: never


class Event(NamedTuple):
    """A change of a lease. `until`: its end, or that of the quarantine; None: there is none."""

    action: Action
    address: bytes
    mac: bytes
    client_id: bytes
    until: float | None
    at: float


@dataclass(frozen=True, slots=True)
class Leases:
    """Leases and quarantines (their ends), by address.

    Attributes:
        live: leases; one may have expired since.
        declined: ends of quarantines.
        ends: ends of the leases that have one, in the order of their last renewal.
        complete: there are no others; False: a client may have a lease from before a restart.
    """

    live: dict[bytes, Lease] = field(default_factory=dict)
    declined: dict[bytes, float] = field(default_factory=dict)
    ends: dict[bytes, float] = field(default_factory=dict)
    complete: bool = True

    def holds(self, address: bytes, mac: bytes, now: float) -> bool:
        """Tell whether the client has a lease on the address that has not expired."""
        lease = self.live.get(address)
        if lease is None or lease.mac != mac:
            return False
        return lease.expires_at is None or lease.expires_at > now

    def quarantined(self, address: bytes, now: float) -> bool:
        """Tell whether the address was declined lately."""
        return self.declined.get(address, 0.0) > now

    def may_hold(self, address: bytes, mac: bytes, now: float) -> bool:
        """Tell whether the client has a lease on the address, as far as that is known."""
        if not self.complete and address not in self.live:
            return True
        return self.holds(address, mac, now)

    def expired(self, now: float) -> Iterator[Event]:
        """Yield the ends of leases that have expired, to be recorded; not while that is done.

        Leases of different lengths may be found late, when those renewed before them have expired.
        """
        for address, end in self.ends.items():
            if end > now:
                return
            lease = self.live[address]
            yield Event(Action.EXPIRED, address, lease.mac, lease.client_id, end, now)

    def record(self, event: Event) -> None:
        """Apply an event."""
        action, address, mac, client_id, until, _ = event
        self.ends.pop(address, None)
        if action is Action.GRANTED or action is Action.RENEWED:
            self.live[address] = Lease(mac, client_id, until)
            if until is not None:
                self.ends[address] = until
            return
        self.live.pop(address, None)
        if action is Action.DECLINED and until is not None:
            self.declined[address] = until

    def forget(self, address: bytes) -> None:
        """Forget an address that has no reservation any more."""
        self.live.pop(address, None)
        self.ends.pop(address, None)
        self.declined.pop(address, None)
