from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from lessor.errors import Invalid
from lessor.net.address import (
    Address,
    Block,
    Interface,
    collapsed,
    ipv4s,
    is_within,
    parse_address,
    place,
    place_of_block,
    read_address,
    read_block,
    spanned,
    text_of,
    without,
)
from lessor.wire import decode, encode


@dataclass(frozen=True, slots=True)
class Nic:
    interface: Interface
    block: Block
    gateway: Address | None = None
    servers: tuple[Address, ...] = ()
    routes: tuple[tuple[Block, Address | None], ...] = ()


@pytest.mark.parametrize("text", ["192.0.2.7", "2001:db8::7"])
def test_an_address_of_either_family_is_parsed(text: str) -> None:
    assert parse_address(text) == ip_address(text)


@pytest.mark.parametrize(
    ("parse", "text", "why"),
    [
        pytest.param(parse_address, "192.0.2.256", "not an IP address", id="no-address"),
        pytest.param(parse_address, "192.0.2.0/24", "not an IP address", id="block-for-address"),
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
    hop = ip_address(gateway)
    nic = Nic(given, given.network, hop, (given.ip, hop), ((given.network, hop),))
    assert decode(encode(nic), Nic) == nic


def test_no_address_survives_the_way_through_json() -> None:
    block = ip_network("2001:db8::/64")
    nic = Nic(ip_interface("192.0.2.7/24"), block, routes=((block, None),))
    assert decode(encode(nic), Nic) == nic


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("gateway", "192.0.2"),
        ("gateway", "192.0.2.07"),
        ("gateway", "192.0.2.7\0"),
        ("gateway", "192.0.2.\u0667"),
        ("gateway", "2001:db8::g"),
        ("block", "::1/64"),
    ],
)
def test_json_with_other_text_is_refused(field: str, text: str) -> None:
    nic = {"interface": "192.0.2.7/24", "block": "192.0.2.0/24", field: text}
    with pytest.raises(Invalid, match="not a Nic"):
        decode(encode(nic), Nic)


@pytest.mark.parametrize("text", ["192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"])
def test_the_quick_way_reads_what_ipaddress_reads(text: str) -> None:
    assert read_address(text) == ip_address(text)
    assert read_block(text) == ip_network(text)


@pytest.mark.parametrize("text", ["", "192.0.2", "2001:db8::g", "192.0.2.7/33", "::/129"])
def test_the_quick_way_refuses_what_ipaddress_refuses(text: str) -> None:
    for read in (read_address, read_block):
        with pytest.raises(ValueError, match=r"."):
            read(text)


def test_a_renderer_of_ipv4_takes_the_addresses_of_ipv4() -> None:
    mixed = [ip_address("2001:db8::7"), ip_address("192.0.2.7")]
    assert list(ipv4s(mixed)) == [ip_address("192.0.2.7")]


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ("192.0.2.7/32", "192.0.2.7"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("2001:db8::7/128", "2001:db8::7"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_a_block_of_one_address_is_written_as_the_address(block: str, text: str) -> None:
    assert text_of(ip_network(block)) == text


def test_both_families_are_addresses_at_run_time() -> None:
    assert isinstance(ip_address("192.0.2.7"), Address)
    assert isinstance(ip_address("2001:db8::7"), Address)
    assert not isinstance("192.0.2.7", Address)


MIXED = ["10.0.0.2", "10.0.0.10", "::a00:2", "2001:db8::1"]
BLOCKS = ["10.0.0.0/24", "10.0.1.0/24", "::/8", "2001:db8::/64"]


def test_addresses_of_both_families_sort_those_of_ipv4_first() -> None:
    assert [str(one) for one in sorted(map(ip_address, reversed(MIXED)), key=place)] == MIXED


def test_blocks_of_both_families_sort_those_of_ipv4_first() -> None:
    found = sorted(map(ip_network, reversed(BLOCKS)), key=place_of_block)
    assert [str(one) for one in found] == BLOCKS


@pytest.mark.parametrize(
    ("inner", "outer", "within"),
    [
        ("10.0.0.0/25", "10.0.0.0/24", True),
        ("10.0.0.0/24", "10.0.0.0/25", False),
        ("2001:db8::/65", "2001:db8::/64", True),
        ("2001:db8::/64", "2001:db8::/65", False),
        ("0.0.0.0/0", "::/0", False),  # the same numbers, another family
        ("::/128", "0.0.0.0/0", False),
    ],
)
def test_a_block_is_within_one_of_its_own_family(inner: str, outer: str, within: bool) -> None:
    assert is_within(ip_network(inner), ip_network(outer)) is within


def test_blocks_are_collapsed_each_family_for_itself() -> None:
    halves = ["2001:db8:0:1::/64", "10.0.1.0/24", "2001:db8::/64", "10.0.0.0/24"]
    found = collapsed(map(ip_network, halves))
    assert list(map(str, found)) == ["10.0.0.0/23", "2001:db8::/63"]


@pytest.mark.parametrize(
    ("block", "hole", "left"),
    [
        ("10.0.0.0/24", "10.0.0.0/25", ["10.0.0.128/25"]),
        ("2001:db8::/63", "2001:db8::/64", ["2001:db8:0:1::/64"]),
    ],
)
def test_a_hole_is_cut_out_of_a_block(block: str, hole: str, left: list[str]) -> None:
    assert list(map(str, without(ip_network(block), ip_network(hole)))) == left


@pytest.mark.parametrize(
    ("first", "last", "blocks"),
    [
        ("10.0.0.2", "10.0.0.5", ["10.0.0.2/31", "10.0.0.4/31"]),
        ("2001:db8::2", "2001:db8::5", ["2001:db8::2/127", "2001:db8::4/127"]),
    ],
)
def test_a_range_is_the_fewest_blocks(first: str, last: str, blocks: list[str]) -> None:
    assert list(map(str, spanned(ip_address(first), ip_address(last)))) == blocks


def test_a_range_or_a_hole_of_two_families_is_refused() -> None:
    four, six = ip_network("0.0.0.0/0"), ip_network("::/0")
    with pytest.raises(ValueError, match="0.0.0.0"):
        without(six, four)
    with pytest.raises(ValueError, match="::"):
        spanned(four[0], six[0])
