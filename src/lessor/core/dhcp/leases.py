"""The leases of a responder, and the events that change them.

A reservation's address has at most one lease. A declined address is quarantined: somebody else
answered for it, so nobody gets it until then (RFC 2131, 4.3.3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Action(Enum):
    """What became of a lease."""

    GRANTED = "granted"
    RENEWED = "renewed"
    RELEASED = "released"
    DECLINED = "declined"


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
    """Leases and quarantines (their ends), by address."""

    live: dict[bytes, Lease] = field(default_factory=dict)
    declined: dict[bytes, float] = field(default_factory=dict)

    def holds(self, address: bytes, mac: bytes, now: float) -> bool:
        """Tell whether the client has a lease on the address that has not expired."""
        lease = self.live.get(address)
        if lease is None or lease.mac != mac:
            return False
        return lease.expires_at is None or lease.expires_at > now

    def quarantined(self, address: bytes, now: float) -> bool:
        """Tell whether the address was declined lately."""
        return self.declined.get(address, 0.0) > now

    def record(self, event: Event) -> None:
        """Apply an event."""
        if event.action in (Action.RELEASED, Action.DECLINED):
            self.live.pop(event.address, None)
        else:
            self.live[event.address] = Lease(event.mac, event.client_id, event.until)
        if event.action is Action.DECLINED and event.until is not None:
            self.declined[event.address] = event.until
