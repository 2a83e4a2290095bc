"""Ends the leases of a dnsmasq that no reservation stands behind.

Source: semantics.md A7.4, D2.1.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from ipaddress import IPv4Address

from lessor.agent.drivers.dnsmasq.context import Ground, tried
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpServer, Reservation
from lessor.netns import prefix

REPORT_S = 0.003  # what the report of one lease costs, dnsmasq's fork and the hook
RELEASE_S = 1.0  # until dnsmasq says that it has ended a lease
STALL_S = 0.001  # what dnsmasq's own reload takes longer for each lease, on a busy machine
POLL_S = 0.01

# leases and reservations, and the leases that no reservation stands behind
_Compared = tuple[Mapping[IPv4Address, LiveLease], Mapping[str, Reservation], list[LiveLease]]


class Strays:
    """The leases without a reservation of one server; compared again only after a change."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._compared: _Compared = ({}, {}, [])

    def of(self, loaded: DhcpServer) -> list[LiveLease]:
        """Return them; none where leases are not to be released."""
        if not self._ground.release:
            return []
        live, told = self._ground.leases.live(loaded.name), loaded.reservations
        if self._compared[0] is not live or self._compared[1] is not told:
            strays = [one for one in live.values() if _mac(told.get(str(one.address))) != one.mac]
            self._compared = live, told, strays
        return self._compared[2]

    def end(self, loaded: DhcpServer) -> list[LiveLease]:
        """Make dnsmasq end them, and wait for that; return those that it does not end."""
        leases = self._ground.leases
        strays = self.of(loaded)
        for lease in strays:
            self._release(loaded, lease)
        held = len(leases.live(loaded.name)) if strays else 0
        patience = RELEASE_S + len(strays) * REPORT_S + held * STALL_S
        for _ in range(round(patience / POLL_S)):
            if not strays:
                return []
            time.sleep(POLL_S)
            leases.catch_up()
            strays = self.of(loaded)
        return strays

    def _release(self, loaded: DhcpServer, lease: LiveLease) -> None:
        """Send a DHCPRELEASE as the client would; whether it took is seen by the caller."""
        client_id = (lease.client_id,) if lease.client_id else ()
        told = (loaded.interface, str(lease.address), lease.mac, *client_id)
        within = prefix(loaded.namespace)
        tried(lambda: self._ground.run(*within, "dhcp_release", *told))


def _mac(reservation: Reservation | None) -> str:
    return reservation.mac if reservation else ""
