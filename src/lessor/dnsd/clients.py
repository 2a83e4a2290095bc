"""The clients of a server, by address: what each may use, so that it costs itself alone.

A client is an address of the server's own subnets. Others get no answer, so that answers can't be
sent to forged addresses elsewhere.
"""

from __future__ import annotations

from lessor.core.dhcp.limit import Bucket, Limit, take
from lessor.core.dns.zone import Zone
from lessor.dnsd.sockets import packed

QUESTIONS = Limit(rate=2000, burst=4000)
MAX_OPEN = 100  # questions of a client that upstream servers have not answered yet
MAX_CONNECTIONS = 4  # of a client
MAX_CLIENTS = 70_000  # of a server: all of a /16, and not all of a subnet of IPv6
IDLE_S = 30.0  # after which a client is forgotten


class Client:
    """One client.

    Attributes:
        open: its questions that wait for upstream servers.
        connections: its TCP connections.
    """

    __slots__ = ("_bucket", "connections", "open")

    def __init__(self) -> None:
        self.open = 0
        self.connections = 0
        self._bucket: Bucket | None = None

    def may_ask(self, limit: Limit, now: float) -> bool:
        """Return whether it may ask one more question now, and count it."""
        bucket = take(self._bucket, limit, now)
        if bucket is None:
            return False
        self._bucket = bucket
        return True

    def is_idle(self, now: float) -> bool:
        """Return whether nothing is lost if it is forgotten."""
        seen = self._bucket.at if self._bucket else 0.0
        return not self.open and not self.connections and now - seen > IDLE_S


class Clients:
    """The clients of one server.

    Args:
        zone: its ranges say who is a client.
        limit: of questions, for each.
    """

    def __init__(self, zone: Zone, limit: Limit = QUESTIONS) -> None:
        self.limit = limit
        self._zone = zone
        self._clients: dict[str, Client] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def use(self, zone: Zone) -> None:
        """Take another zone's ranges. Those who are no clients of it any more are forgotten."""
        self._zone = zone
        self._clients = {
            text: client
            for text, client in self._clients.items()
            if zone.range_of(packed(text)) is not None
        }

    def get(self, address: str) -> Client | None:
        """Return a client; None: the address is in no subnet of the server."""
        client = self._clients.get(address)
        if client is not None or len(self._clients) >= MAX_CLIENTS:
            return client
        if self._zone.range_of(packed(address)) is None:
            return None
        client = self._clients[address] = Client()
        return client

    def forget_idle(self, now: float) -> None:
        """Forget clients that have asked nothing lately."""
        for address in [key for key, one in self._clients.items() if one.is_idle(now)]:
            del self._clients[address]
