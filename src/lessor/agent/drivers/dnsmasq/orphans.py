"""Ends the leases of a dnsmasq that have no reservation.

Source: semantics.md A7.4, D2.1.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from lessor.agent.drivers.dnsmasq.context import DnsmasqContext
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpServer, Reservation
from lessor.net.address import Address
from lessor.netns import prefix
from lessor.steps import tried

REPORT_S = 0.003  # what the report of one lease costs, dnsmasq's fork and the hook
RELEASE_S = 1.0  # until dnsmasq reports the end of a lease
STALL_S = 0.001  # by which each lease prolongs dnsmasq's reload, on a busy machine
POLL_S = 0.01

# leases, reservations, and the leases without a reservation
_Compared = tuple[Mapping[Address, LiveLease], Mapping[str, Reservation], list[LiveLease]]


class Orphans:
    """The leases without a reservation of one server; compared again only after a change."""

    def __init__(self, context: DnsmasqContext) -> None:
        self._context = context
        self._compared: _Compared = ({}, {}, [])

    def of(self, loaded: DhcpServer) -> list[LiveLease]:
        """Return them; none if leases are not to be released."""
        if not self._context.release:
            return []
        live, reserved = self._context.leases.live(loaded.name), loaded.reservations
        if self._compared[0] is not live or self._compared[1] is not reserved:
            found = [
                one for one in live.values() if _mac(reserved.get(str(one.address))) != one.mac
            ]
            self._compared = live, reserved, found
        return self._compared[2]

    def end(self, loaded: DhcpServer) -> list[LiveLease]:
        """Make dnsmasq end them, and wait; return those that it holds on to."""
        leases = self._context.leases
        orphans = self.of(loaded)
        for lease in orphans:
            self._release(loaded, lease)
        held = len(leases.live(loaded.name)) if orphans else 0
        patience = RELEASE_S + len(orphans) * REPORT_S + held * STALL_S
        for _ in range(round(patience / POLL_S)):
            if not orphans:
                return []
            time.sleep(POLL_S)
            leases.catch_up()
            orphans = self.of(loaded)
        return orphans

    def _release(self, loaded: DhcpServer, lease: LiveLease) -> None:
        """Send a DHCPRELEASE as the client would; whether it took is seen by the caller."""
        client_id = (lease.client_id,) if lease.client_id else ()
        words = (loaded.interface, str(lease.address), lease.mac, *client_id)
        within = prefix(loaded.namespace)
        tried(lambda: self._context.run(*within, "dhcp_release", *words))


def _mac(reservation: Reservation | None) -> str:
    return reservation.mac if reservation else ""
