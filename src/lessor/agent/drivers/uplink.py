"""Joins a host's interface to a bridge, with its addresses and routes, without losing the host.

Before a move, addresses and routes are noted in a journal, with whether the server answered. If it
did and afterwards doesn't, all is moved back, by this process or, if that was killed, by the next
one. If the server then answers again, the move had cut it off; if not, it died meanwhile. A server
that was restarted just then looks as if it was cut off, so the move is tried a second time. An
interface without addresses and routes carries no traffic of the host: its move can cut off nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from lessor.agent.host.journal import Journal
from lessor.agent.host.move import Belongings, belongings, move, read_belongings
from lessor.agent.host.netlink import Link
from lessor.errors import Pending

RETRY_S = 600.0  # after a host was cut off, or after failing twice
AWAY_S = (
    5.0  # between looks for a server that died while an interface joined, and before a second try
)
POLL_S = 0.1
TRIES = 2


@dataclass(frozen=True, slots=True)
class _Before:
    """How it was before the interface joined."""

    interface: str
    reachable: bool
    member: bool  # the interface was in the bridge already
    belongings: Belongings


class Uplink:
    """Moves interfaces into bridges and out of them.

    Args:
        ip: an open socket.
        reachable: asks the server; False if it doesn't answer. May take its time.
        journal: where a move is noted until it has proved itself.
        patience_s: how long the server may take to answer again.
        clock: seconds, only ever growing.
    """

    def __init__(
        self,
        ip: IPRoute,
        reachable: Callable[[], bool],
        journal: Journal,
        patience_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ip = ip
        self._reachable = reachable
        self._journal = journal
        self._patience_s = patience_s
        self._clock = clock
        self._failed: dict[tuple[str, str], tuple[int, float, str]] = {}  # tries, when, why
        self._away: set[tuple[str, str]] = set()  # failed since the server died, as it seems

    def is_settled(self, bridge: Link, interface: Link) -> bool:
        """Tell whether the interface is in the bridge, with nothing left on it or to be proved."""
        joined = interface.up and interface.master == bridge.index
        noted = bridge.name in self._journal.read()
        return joined and not noted and not belongings(self._ip, interface)

    def join(self, bridge: Link, interface: Link) -> None:
        """Put the interface into the bridge, with its addresses and routes. The bridge is up.

        Raises:
            Pending: it cut the host off and is undone, or did so lately.
            ExceptionGroup, NetlinkError: the kernel refused something; all is as before.
        """
        self._hold_back(bridge, interface)
        before = self._before(bridge, interface)
        try:
            self._bring_in(bridge, interface)
        except (NetlinkError, ExceptionGroup) as error:
            self._undo(bridge, interface, before)
            self._remember(bridge, interface, str(error))
            raise
        if before.reachable and before.belongings and not self._answers():
            self._undo(bridge, interface, before)
            self._blame(bridge, interface)
        self._journal.clear(bridge.name)
        self._failed.pop((bridge.name, interface.name), None)

    def leave(self, bridge: Link, interface: Link) -> None:
        """Take the interface out of the bridge; what is on the bridge and not ours goes along."""
        going = belongings(self._ip, bridge).moved(bridge, interface)
        move(self._ip, going, bridge, interface)
        self._ip.link("set", index=interface.index, master=0)
        self._journal.clear(bridge.name)

    def _hold_back(self, bridge: Link, interface: Link) -> None:
        key = (bridge.name, interface.name)
        tries, when, why = self._failed.get(key, (0, 0.0, ""))
        left = when + RETRY_S - self._clock()
        if tries < TRIES or left <= 0:
            return
        if key not in self._away:
            raise Pending(why, key=bridge.name, retry_s=left)
        if not self._reachable():
            raise Pending(why, key=bridge.name, retry_s=min(left, AWAY_S))

    def _blame(self, bridge: Link, interface: Link) -> None:
        """Say why a join was undone.

        Raises:
            Pending: always.
        """
        key = (bridge.name, interface.name)
        if key in self._away:  # a server that died says nothing of the wire
            self._away.discard(key)
            self._failed.pop(key, None)
        if self._answers():
            why, tries = _cut_off(*key), 1
        else:
            self._away.add(key)
            why, tries = _went_away(*key), TRIES
        self._remember(bridge, interface, why, tries)
        proved = key not in self._away and self._failed[key][0] >= TRIES
        raise Pending(why, key=bridge.name, retry_s=RETRY_S if proved else AWAY_S)

    def _remember(self, bridge: Link, interface: Link, why: str, tries: int = 1) -> None:
        key = (bridge.name, interface.name)
        former = self._failed.get(key, (0, 0.0, ""))[0]
        self._failed[key] = (former + tries, self._clock(), why)

    def _before(self, bridge: Link, interface: Link) -> _Before:
        note = self._journal.read().get(bridge.name)
        if note is not None and note["interface"] == interface.name:
            return _parse(note)
        before = _Before(
            interface.name,
            self._reachable(),
            interface.master == bridge.index,
            belongings(self._ip, interface),
        )
        self._journal.note(bridge.name, asdict(before))
        return before

    def _bring_in(self, bridge: Link, interface: Link) -> None:
        if interface.master != bridge.index:
            self._ip.link("set", index=interface.index, master=bridge.index)
        if not interface.up:
            self._ip.link("set", index=interface.index, state="up")
        move(
            self._ip,
            belongings(self._ip, interface).moved(interface, bridge),
            interface,
            bridge,
        )

    def _undo(self, bridge: Link, interface: Link, before: _Before) -> None:
        """Move all back; what can't be now stays noted for the next pass."""
        move(self._ip, before.belongings, bridge, interface)
        if not before.member:
            self._ip.link("set", index=interface.index, master=0)
        self._journal.clear(bridge.name)

    def _answers(self) -> bool:
        end = self._clock() + self._patience_s
        while not self._reachable():
            if self._clock() >= end:
                return False
            time.sleep(POLL_S)
        return True


def _cut_off(bridge: str, interface: str) -> str:
    return (
        f"{interface} is not in bridge {bridge}: with it there the server no longer answered this "
        f"host, so it was moved back; name an interface that the host does without, or see why "
        f"{interface} does not work in a bridge (a switch that allows one MAC, a VLAN, a bond)"
    )


def _went_away(bridge: str, interface: str) -> str:
    return (
        f"{interface} is not in bridge {bridge} yet: the server stopped answering while it joined, "
        f"and does not answer without it either; it joins when the server is back"
    )


def _parse(note: dict[str, Any]) -> _Before:
    return _Before(
        note["interface"], note["reachable"], note["member"], read_belongings(note["belongings"])
    )
