"""Who may hold how many connections to a metadata listener, so that a flood costs its own port.

No connection is refused because others hold all seats: it takes the seat of a port that has more.
Networks share a listener evenly first, then the ports of a network. Each port also has a maximum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lessor.errors import Unavailable

C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Seat:
    """Whose connection one is: ids of network and port. "": of none that is known."""

    network: str
    port: str


class Seats(Generic[C]):
    """The connections of one listener.

    Args:
        total: connections that there may be.
        of_port: connections of one port that there may be.
    """

    def __init__(self, total: int, of_port: int) -> None:
        self._total = total
        self._of_port = of_port
        self._held: dict[Seat, dict[C, None]] = {}  # in order of age
        self._seat_of: dict[C, Seat] = {}

    def take(self, connection: C, seat: Seat) -> C | None:
        """Count a new connection; return the one that is to end for it, which counts no more.

        Raises:
            Unavailable: the port has its number, or all are taken and nobody has more than it.
        """
        held = len(self._held.get(seat, ()))
        if held >= self._of_port:
            raise Unavailable(f"port {seat.port} has {held} connections, the maximum")
        ended = self._room(seat) if len(self._seat_of) >= self._total else None
        if ended is not None:
            self.leave(ended)
        self._held.setdefault(seat, {})[connection] = None
        self._seat_of[connection] = seat
        return ended

    def leave(self, connection: C) -> None:
        """Forget a connection; one that isn't counted is none."""
        seat = self._seat_of.pop(connection, None)
        if seat is not None:
            del self._held[seat][connection]
            if not self._held[seat]:
                del self._held[seat]

    def _room(self, seat: Seat) -> C:
        """Return the oldest connection of who has most: of another network, or else of this one."""
        loads: Counter[str] = Counter()
        for other, held in self._held.items():
            loads[other.network] += len(held)
        network, most = max(loads.items(), key=lambda load: load[1])
        if not _gives(most, loads[seat.network]):
            network = seat.network
        rich = max(
            (one for one in self._held if one.network == network),
            key=lambda one: len(self._held[one]),
            default=seat,
        )
        held = self._held.get(rich, {})
        if network == seat.network and not _gives(len(held), len(self._held.get(seat, ()))):
            raise Unavailable(f"all {self._total} connections are in use")
        return next(iter(held))


def _gives(has: int, newcomer: int) -> bool:
    """Tell whether one connection moved from one to the other makes them no less equal."""
    return has - 1 >= newcomer + 1
