"""The servers of lessor-dhcpd and lessor-dnsd, where another program serves DHCP now."""

from __future__ import annotations

from collections.abc import Mapping

from lessor.agent.drivers.native.resolver import Resolver
from lessor.agent.drivers.native.responder import Responder
from lessor.core.diff import as_read
from lessor.core.state import DhcpServer


class FormerNative:
    """Those that an agent left which served by these processes; both end with the last of them.

    Args:
        responder: feeds lessor-dhcpd.
        resolver: feeds lessor-dnsd.
    """

    program = "lessor-dhcpd"

    def __init__(self, responder: Responder, resolver: Resolver) -> None:
        self._responder = responder
        self._resolver = resolver
        self._ended = False

    def servers(self) -> Mapping[str, DhcpServer]:
        """Return those that are left, by name."""
        if self._ended:
            return {}
        return {name: as_read(one) for name, one in self._responder.look().items()}

    def retire(self, name: str) -> None:
        """End one; its leases stay."""
        left = self.servers()
        if self._responder.hangs:  # it keeps the ports, and nobody knows its servers
            self._end()
        if name not in left:
            return
        self._resolver.look()
        self._resolver.remove(name)
        self._responder.retire(name)
        if not self.servers():
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._resolver.end()
        self._responder.end()

    def close(self) -> None:
        """Let go of the processes."""
        self._responder.close()
        self._resolver.close()
