"""Reports what is in use here to a server with a new epoch, before its view is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

from lessor.agent.leases.leasebook import LeaseBook
from lessor.core.plan.holdings import holdings
from lessor.model import Holdings, LeaseEvent, View
from lessor.net.address import Address


class Sink(Protocol):
    """The server."""

    async def holdings(self, held: Holdings) -> None:
        """Take what is in use on this host, or raise a LessorError."""


class Holder:
    """What is in use on one host: the ports of its view, and the live leases.

    Args:
        sink: the server.
        host: this host's name.
        book: of leases.
        network_of: the network that an address of a DHCP server (by its name) belongs to.
    """

    def __init__(
        self,
        sink: Sink,
        host: str,
        book: LeaseBook,
        network_of: Callable[[str, Address], str | None],
    ) -> None:
        self._sink = sink
        self._host = host
        self._book = book
        self._network_of = network_of

    async def tell(self, epoch: str, view: View) -> None:
        """Report it; `view` is the present one."""
        await asyncio.to_thread(self._book.catch_up)
        held = Holdings(epoch=epoch, ports=holdings(view, self._host), leases=tuple(self._leases()))
        await self._sink.holdings(held)

    def _leases(self) -> Iterator[LeaseEvent]:
        for server, lease in self._book.snapshot():
            network_id = self._network_of(server, lease.address)
            if network_id is not None:
                yield LeaseEvent(
                    seq=0,
                    action="old",
                    network_id=network_id,
                    address=lease.address,
                    mac_address=lease.mac,
                    expires_at=lease.expires_at,
                    hostname=lease.hostname,
                    client_id=lease.client_id,
                )
