"""Addresses of both families in one order, as keys of 16 bytes and as their numbers.

An IPv4 address is ::ffff:a.b.c.d there (RFC 4291, section 2.5.5.2), so no range of one family has
addresses of the other.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import overload

from lessor.net.address import Address, Block

WIDTH = 16  # bytes of a key
BITS = 128
MAPPED = bytes(10) + b"\xff\xff"  # how the key of an IPv4 address begins
FIRST_IPV4, LAST_IPV4 = IPv4Address(0), IPv4Address("255.255.255.255")
_V4_BITS = 32
_V4_BASE = int.from_bytes(MAPPED) << _V4_BITS


def key_of(address: Address) -> bytes:
    """Return the key of an address."""
    packed = address.packed
    return packed if len(packed) == WIDTH else MAPPED + packed


def address_of(key: bytes) -> Address:
    """Return the address of a key."""
    if key.startswith(MAPPED):
        return IPv4Address(int.from_bytes(key[len(MAPPED) :]))  # the quickest: lists are long
    return IPv6Address(key)


def number_of(address: Address) -> int:
    """Return the number of an address in the order of keys."""
    return int(address) + _V4_BASE if isinstance(address, IPv4Address) else int(address)


def address_at(number: int) -> Address:
    """Return the address that has a number in the order of keys."""
    rest = number - _V4_BASE
    return IPv4Address(rest) if 0 <= rest < 1 << _V4_BITS else IPv6Address(number)


@overload
def block_at(first: IPv4Address, prefixlen: int) -> IPv4Network: ...
@overload
def block_at(first: IPv6Address, prefixlen: int) -> IPv6Network: ...
def block_at(first: Address, prefixlen: int) -> Block:
    """Return the block of a length that begins with an address."""
    if isinstance(first, IPv4Address):
        return IPv4Network((int(first), prefixlen))
    return IPv6Network((int(first), prefixlen))


def block_of_size(number: int, bits: int) -> Block:
    """Return the block of 2^bits addresses, of one family, that begins with a number."""
    first = address_at(number)
    return block_at(first, first.max_prefixlen - bits)
