"""The dnsmasqs of a host on which another program serves DHCP now."""

from __future__ import annotations

from collections.abc import Mapping

from lessor.agent.drivers.dnsmasq.driver import DnsmasqDriver
from lessor.core.state import DhcpServer


class FormerDnsmasqs:
    """Those that an agent left which served DHCP by dnsmasq.

    Args:
        driver: finds and ends them.
    """

    program = "dnsmasq"

    def __init__(self, driver: DnsmasqDriver) -> None:
        self._driver = driver

    def servers(self) -> Mapping[str, DhcpServer]:
        """Return those that are left, by name."""
        return self._driver.servers()

    def retire(self, name: str) -> None:
        """End one; its leases stay."""
        self._driver.retire(name)

    def close(self) -> None:
        """Let go of them."""
        self._driver.close()
