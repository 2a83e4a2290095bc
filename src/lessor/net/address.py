"""Addresses, blocks and interface addresses of either family. The family is a value: `.version`."""

from __future__ import annotations

from abc import ABCMeta
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import TYPE_CHECKING

from lessor.errors import Invalid

if TYPE_CHECKING:
    Address = IPv4Address | IPv6Address
    Block = IPv4Network | IPv6Network
    Interface = IPv4Interface | IPv6Interface
else:

    def _either(name: str, *families: type) -> ABCMeta:
        """Return one class for both: msgspec decodes at most one custom type of a union."""
        made = ABCMeta(name, (), {})
        for family in families:
            made.register(family)
        return made

    Address = _either("Address", IPv4Address, IPv6Address)
    Block = _either("Block", IPv4Network, IPv6Network)
    Interface = _either("Interface", IPv4Interface, IPv6Interface)


def parse_address(text: str) -> Address:
    """Parse an address of either family; raise Invalid for other text."""
    try:
        return ip_address(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is not an IP address; examples: 192.0.2.7, 2001:db8::7") from error


def parse_block(text: str) -> Block:
    """Parse a block in CIDR notation; raise Invalid for other text, and where host bits are set."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise Invalid(
            f"{text!r} is not a block of addresses ({error}); examples: 192.0.2.0/24, 2001:db8::/64"
        ) from error


def parse_interface(text: str) -> Interface:
    """Parse an address with the length of its prefix; raise Invalid for other text."""
    try:
        return ip_interface(text)
    except ValueError as error:
        raise Invalid(
            f"{text!r} is not an address with a prefix length; "
            "examples: 192.0.2.7/24, 2001:db8::7/64"
        ) from error
