from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from lessor.errors import Invalid
from lessor.net.address import (
    Address,
    Block,
    Interface,
    parse_address,
    parse_block,
    parse_interface,
)
from lessor.wire import decode, encode


@dataclass(frozen=True, slots=True)
class Nic:
    interface: Interface
    block: Block
    gateway: Address | None = None


@pytest.mark.parametrize("text", ["192.0.2.7", "2001:db8::7"])
def test_an_address_of_either_family_is_parsed(text: str) -> None:
    assert parse_address(text) == ip_address(text)


@pytest.mark.parametrize("text", ["192.0.2.0/24", "2001:db8::/64"])
def test_a_block_of_either_family_is_parsed(text: str) -> None:
    assert parse_block(text) == ip_network(text)


@pytest.mark.parametrize("text", ["192.0.2.7/24", "2001:db8::7/64"])
def test_an_interface_of_either_family_is_parsed(text: str) -> None:
    assert parse_interface(text) == ip_interface(text)


@pytest.mark.parametrize(
    ("parse", "text", "why"),
    [
        pytest.param(parse_address, "192.0.2.256", "not an IP address", id="no-address"),
        pytest.param(parse_address, "192.0.2.0/24", "not an IP address", id="block-for-address"),
        pytest.param(parse_block, "192.0.2.7/24", "host bits set", id="host-bits"),
        pytest.param(parse_interface, "2001:db8::7/129", "prefix length", id="long-prefix"),
    ],
)
def test_other_text_is_refused(parse: Callable[[str], object], text: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        parse(text)


@pytest.mark.parametrize(
    ("interface", "gateway"),
    [("192.0.2.7/24", "192.0.2.1"), ("2001:db8::7/64", "2001:db8::1")],
)
def test_either_family_survives_the_way_through_json(interface: str, gateway: str) -> None:
    given = ip_interface(interface)
    nic = Nic(given, given.network, ip_address(gateway))
    assert decode(encode(nic), Nic) == nic


def test_both_families_are_addresses_at_run_time() -> None:
    assert isinstance(ip_address("192.0.2.7"), Address)
    assert isinstance(ip_address("2001:db8::7"), Address)
    assert not isinstance("192.0.2.7", Address)
