"""Addresses, blocks and interface addresses of either family. The family is a value: `.version`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    collapse_addresses,
    ip_address,
    summarize_address_range,
)
from typing import TYPE_CHECKING

from lessor.errors import Invalid

if TYPE_CHECKING:
    Address = IPv4Address | IPv6Address
    Block = IPv4Network | IPv6Network
    Interface = IPv4Interface | IPv6Interface
else:

    class _Either(type):
        """Make one class of two: msgspec decodes at most one custom type of a union.

        An ABC would do, but each decoded value is checked, and by an ABC in thrice the time.
        """

        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, cls.families)

    def _either(name: str, *families: type) -> _Either:
        return _Either(name, (), {"families": families})

    Address = _either("Address", IPv4Address, IPv6Address)
    Block = _either("Block", IPv4Network, IPv6Network)
    Interface = _either("Interface", IPv4Interface, IPv6Interface)


def parse_address(text: str) -> Address:
    """Parse an address of either family; raise Invalid for other text."""
    try:
        return ip_address(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is not an IP address; examples: 192.0.2.7, 2001:db8::7") from error


def read_address(text: str) -> Address:
    """Parse an address of either family, quickly: views and pages have thousands.

    Raises:
        ValueError: it is none.
    """
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def read_block(text: str) -> Block:
    """Parse a block of either family, quickly.

    Raises:
        ValueError: it is none, or has host bits set.
    """
    return IPv6Network(text) if ":" in text else IPv4Network(text)


def ipv4s(addresses: Iterable[Address]) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses among these, for what has no others: DHCPv4, tunnels."""
    return (one for one in addresses if isinstance(one, IPv4Address))


def place(address: Address) -> tuple[int, int]:
    """Return a key by which addresses sort, those of IPv4 first: the families don't compare."""
    return address.version, int(address)


def place_of_block(block: Block) -> tuple[int, int, int]:
    """Return a key by which blocks sort, those of IPv4 first."""
    return block.version, int(block.network_address), block.prefixlen


def text_of(block: Block) -> str:
    """Return a block in CIDR notation; a single address stands for itself."""
    return str(block.network_address if block.prefixlen == block.max_prefixlen else block)


def is_within(inner: Block, outer: Block) -> bool:
    """Return whether a block is a part of another one, or the same; never of another family."""
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def collapsed(blocks: Iterable[Block]) -> list[Block]:
    """Return the fewest blocks that have the same addresses, in order."""
    every = list(blocks)
    return [
        *collapse_addresses(block for block in every if isinstance(block, IPv4Network)),
        *collapse_addresses(block for block in every if isinstance(block, IPv6Network)),
    ]


def without(block: Block, hole: Block) -> Iterator[Block]:
    """Return what is left of a block without a part of it.

    Raises:
        ValueError: the hole is no part of it, or of the other family.
    """
    if isinstance(block, IPv4Network):
        return block.address_exclude(IPv4Network(hole))
    return block.address_exclude(IPv6Network(hole))


def spanned(first: Address, last: Address) -> Iterator[Block]:
    """Return the fewest blocks from one address to another one of its family, in order.

    Raises:
        ValueError: the last one lies before the first, or is of the other family.
    """
    if isinstance(first, IPv4Address):
        return summarize_address_range(first, IPv4Address(last))
    return summarize_address_range(first, IPv6Address(last))
