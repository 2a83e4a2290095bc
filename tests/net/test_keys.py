from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.net.address import Address
from lessor.net.keys import (
    LAST_IPV4,
    address_at,
    address_of,
    block_at,
    block_of_size,
    key_of,
    number_of,
)

IPV4 = st.integers(0, (1 << 32) - 1).map(IPv4Address)
IPV6 = (
    st.integers(0, (1 << 128) - 1)
    .map(IPv6Address)
    .filter(lambda address: address.ipv4_mapped is None)
)


@given(IPV4 | IPV6)
def test_an_address_is_that_of_its_key_and_of_its_number(address: Address) -> None:
    assert address_of(key_of(address)) == address
    assert address_at(number_of(address)) == address
    assert number_of(address) == int.from_bytes(key_of(address))


@given(IPV4, IPV4, IPV6)
def test_keys_have_the_order_of_addresses_and_keep_families_apart(
    one: IPv4Address, other: IPv4Address, apart: IPv6Address
) -> None:
    low, high = sorted([one, other])
    assert key_of(low) <= key_of(high)
    assert not key_of(low) <= key_of(apart) <= key_of(high)


def test_a_key_is_that_of_rfc_4291() -> None:
    assert key_of(IPv4Address("192.0.2.1")) == IPv6Address("::ffff:192.0.2.1").packed
    assert address_at(number_of(LAST_IPV4) + 1) == IPv6Address("::1:0:0:0")


@pytest.mark.parametrize(
    "block", ["0.0.0.0/0", "192.0.2.64/26", "10.0.0.1/32", "::/0", "2001:db8::/64", "::1/128"]
)
def test_a_block_is_made_of_its_first_address(block: str) -> None:
    made = ip_network(block)
    first = ip_address(block.partition("/")[0])
    assert block_at(first, made.prefixlen) == made
    assert block_of_size(number_of(first), made.max_prefixlen - made.prefixlen) == made
