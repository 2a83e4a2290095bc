"""Translates nova-manage's options of `network create` to bodies of subnets. Pure.

Source: semantics.md A4, A20 (nova-manage, network create).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from lessor.cli.blocks import cut, pools, size_of_each
from lessor.errors import Invalid
from lessor.layout import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnets:
    """Options of the subnets of `count` new networks. None: not given.

    Raises:
        Invalid: the options contradict each other.
    """

    count: int = 1
    block: IPv4Network | None = None
    size: int | None = None
    gateway: IPv4Address | None = None
    dhcp_server: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    fixed_cidr: IPv4Network | None = None
    allowed_start: IPv4Address | None = None
    allowed_end: IPv4Address | None = None

    def __post_init__(self) -> None:
        of_one = (self.gateway, self.dhcp_server, self.fixed_cidr, *self._allowed)
        if self.block is None:
            if any((*of_one, *self.dns, self.size)) or self.count > 1:
                raise Invalid("addresses need a subnet: give its block with --cidr")
        elif self.count > 1 and any(of_one):
            raise Invalid("several networks can't share one gateway, DHCP server or address range")
        elif self.fixed_cidr and not self.fixed_cidr.subnet_of(self.block):
            raise Invalid(f"--fixed-cidr {self.fixed_cidr} isn't inside {self.block}")

    @property
    def _allowed(self) -> tuple[IPv4Address | None, IPv4Address | None]:
        return self.allowed_start, self.allowed_end

    def bodies(self, networks: Sequence[Row], taken: Iterable[str]) -> list[dict[str, Any]]:
        """Return the bodies of the networks' subnets, in their order.

        Args:
            networks: the networks, just made.
            taken: blocks in use on the physical network.

        Raises:
            Invalid, Conflict: as `cut`.
        """
        assert self.block is not None
        blocks = [self.block]  # the server checks whether it is free
        if self.count > 1 or self.size:
            size = size_of_each(self.block, self.count, self.size)
            blocks = cut(self.block, self.count, size, map(IPv4Network, taken))
        return [
            self._body(network["id"], block)
            for network, block in zip(networks, blocks, strict=True)
        ]

    def _body(self, network_id: str, block: IPv4Network) -> dict[str, Any]:
        body: dict[str, Any] = {"network_id": network_id, "ip_version": 4, "cidr": str(block)}
        gateway = self.gateway or self.allowed_start
        if gateway:
            body["gateway_ip"] = str(gateway)
        if self.dhcp_server:
            body["lessor:dhcp_server"] = str(self.dhcp_server)
        if self.dns:
            body["dns_nameservers"] = [str(server) for server in self.dns]
        if self.fixed_cidr or any(self._allowed):
            inner = self.fixed_cidr or block
            reserved = [gateway or block.network_address + 1, self.dhcp_server]
            body["allocation_pools"] = pools(
                block,
                self.allowed_start or inner.network_address,
                self.allowed_end or inner.broadcast_address,
                [address for address in reserved if address],
            )
        return body
