"""Finds ports of the last view by the MAC and address of a caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lessor.core.metadata.askers import ByMac, by_mac, port_of, seat_of
from lessor.core.metadata.seats import Seat
from lessor.metadata.client_address import Caller
from lessor.model import Port, Scope, View
from lessor.net.address import Address


class Ports:
    """Looks ports up; caches an index for each network until one of its rows changes.

    Args:
        view: returns the agent's last view; None: no view yet.
    """

    def __init__(self, view: Callable[[], View | None]) -> None:
        self._view = view
        self._known: dict[str, tuple[Scope, ByMac]] = {}

    def seat(self, networks: Iterable[str], mac: str) -> Seat:
        """Return the seat of a connection from `mac`, on one of these networks."""
        return seat_of(self._of(networks), mac)

    def port(self, networks: Iterable[str], caller: Caller) -> Port | None:
        """Return the port of a caller, on one of these networks; None: it can't be identified."""
        return port_of(self._of(networks), caller.mac, caller.address)

    def behind(self, networks: Iterable[str], caller: Caller, said: Address) -> Port | None:
        """Return the port with the address that a proxy names; None: there is none.

        A caller with a port's MAC is a VM and not a proxy, so it is not trusted.
        """
        known = tuple(self._of(networks))
        if any(caller.mac in one for one in known):
            return None
        ports = (port for one in known for many in one.values() for port in many)
        return next((p for p in ports if any(ip.address == said for ip in p.fixed_ips)), None)

    def _of(self, networks: Iterable[str]) -> Iterator[ByMac]:
        view = self._view()
        scopes = view.scopes if view else {}
        for key in networks:
            scope = scopes.get(key)
            if scope is None:
                self._known.pop(key, None)
                continue
            known = self._known.get(key)
            if known is None or known[0] is not scope:
                known = self._known[key] = (scope, by_mac(scope))
            yield known[1]
