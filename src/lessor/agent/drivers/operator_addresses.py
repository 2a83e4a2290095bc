"""Remembers an operator's addresses and routes on our bridges; restores them on a recreated one.

A host's addresses and routes move to the bridge with its interface. Deleting the bridge by hand
deletes them too, and maybe the host's default route with them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from socket import AF_INET6

from pyroute2 import IPRoute

from lessor.agent.host.inet import FOREVER
from lessor.agent.host.journal import Journal
from lessor.agent.host.move import Belongings, belongings, put, read_belongings
from lessor.agent.host.netlink import Link, link
from lessor.errors import Unavailable


class OperatorAddresses:
    """The addresses and routes on each of our bridges that are not ours, as of the last look.

    Args:
        ip: an open socket.
        journal: where they are noted, by the bridge's name.
    """

    def __init__(self, ip: IPRoute, journal: Journal) -> None:
        self._ip = ip
        self._journal = journal

    def is_whole(self, bridge: Link) -> bool:
        """Return whether the bridge is the one whose addresses were noted."""
        note = self._journal.read().get(bridge.name)
        return note is None or note["index"] == bridge.index

    def has_ipv6(self, bridge: str) -> bool:
        """Return whether a bridge has a noted IPv6 address."""
        note = self._journal.read().get(bridge)
        return note is not None and any(
            address.family == AF_INET6 for address in read_belongings(note).addresses
        )

    def note(self, bridge: Link) -> None:
        """Note what is on a bridge now; nothing if it may be about to be deleted.

        The kernel takes a bridge down before it removes its addresses. So a reading is complete
        if the bridge is up afterwards.
        """
        found = belongings(self._ip, bridge)
        after = link(bridge.name)
        if after is None or not after.up or after.index != bridge.index:
            return
        known = self._journal.read().get(bridge.name)
        if not found:
            self._journal.clear(bridge.name)
        elif known is None or _lasting(read_belongings(known)) != _lasting(found):
            with suppress(Unavailable):  # it is noted at the next look
                self._journal.note(bridge.name, {"index": bridge.index, **asdict(found)})

    def restore(self, bridge: Link, interface: Link | None) -> None:
        """Restore what is noted on a recreated bridge that is up.

        If the interface has addresses again, the operator has restored them there.

        Raises:
            ExceptionGroup: not all could be restored.
        """
        note = self._journal.read().get(bridge.name)
        if note is None or note["index"] == bridge.index:
            return
        if interface is None or not belongings(self._ip, interface):
            former = replace(bridge, index=note["index"])
            failures = put(self._ip, read_belongings(note).moved(former, bridge))
            if failures:
                raise ExceptionGroup(f"not all could be restored on {bridge.name}", failures)
        self.note(bridge)

    def forget(self, bridge: str) -> None:
        """Forget a bridge: its addresses are elsewhere."""
        self._journal.clear(bridge)


def _lasting(things: Belongings) -> Belongings:
    """Leave out what changes by itself: lifetimes, and places in the kernel's table."""
    return Belongings(
        tuple(
            replace(a, valid=_lasts(a.valid), preferred=_lasts(a.preferred))
            for a in things.addresses
        ),
        tuple(replace(route, position=0) for route in things.routes),
    )


def _lasts(seconds: int) -> int:
    return seconds if seconds == FOREVER else 0
