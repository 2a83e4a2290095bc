from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.errors import Conflict, Invalid, LessorError
from lessor.model import DhcpOption, Pool
from lessor.net.dhcp_rules import check_dns_name, check_options
from lessor.net.macs import new_mac, parsed_mac
from lessor.settings import ServerSettings
from lessor.store.networks.initial import cut
from lessor.store.networks.pools import checked_pools, default_pools, first_host, reserved_addresses
from tests.store.store_cloud import settings_in

BLOCK = IPv4Network("10.0.0.0/24")


def pool(text: str) -> Pool:
    first, last = text.split("-")
    return Pool(IPv4Address(f"10.0.0.{first}"), IPv4Address(f"10.0.0.{last}"))


def shown(pools: tuple[Pool, ...]) -> list[str]:
    return [f"{int(p.first) & 255}-{int(p.last) & 255}" for p in pools]


@pytest.mark.parametrize(
    ("cidr", "taken", "pools"),
    [
        pytest.param("10.0.0.0/24", ["10.0.0.1"], ["2-254"], id="gateway-first"),
        pytest.param("10.0.0.0/24", ["10.0.0.254"], ["1-253"], id="gateway-last"),
        pytest.param("10.0.0.0/24", ["10.0.0.9", "10.0.0.1"], ["2-8", "10-254"], id="split"),
        pytest.param("10.0.0.0/24", [None], ["1-254"], id="no-gateway"),
        pytest.param("10.0.0.0/30", ["10.0.0.1", "10.0.0.2"], [], id="nothing-left"),
        pytest.param("10.0.0.0/31", ["10.0.0.0"], ["1-1"], id="slash-31"),
        pytest.param("10.0.0.7/32", [None], ["7-7"], id="slash-32"),
    ],
)
def test_default_pools_are_all_hosts_without_the_taken(
    cidr: str, taken: list[str | None], pools: list[str]
) -> None:
    addresses = [None if a is None else IPv4Address(a) for a in taken]
    assert shown(default_pools(IPv4Network(cidr), addresses)) == pools


@given(st.integers(20, 32), st.lists(st.integers(0, 4095), max_size=6))
def test_default_pools_and_taken_addresses_are_all_hosts(prefix: int, taken: list[int]) -> None:
    cidr = IPv4Network((int(IPv4Address("10.0.0.0")), prefix))
    addresses = {cidr.network_address + n for n in taken}
    pools = default_pools(cidr, addresses)
    pooled = [n for p in pools for n in range(int(p.first), int(p.last) + 1)]
    assert pooled == sorted(set(map(int, cidr.hosts())) - set(map(int, addresses)))


@pytest.mark.parametrize(
    ("pools", "error", "name"),
    [
        pytest.param(["9-5"], Invalid, "InvalidAllocationPool", id="backwards"),
        pytest.param(["0-5"], Invalid, "OutOfBoundsAllocationPool", id="network-address"),
        pytest.param(["9-255"], Invalid, "OutOfBoundsAllocationPool", id="broadcast"),
        pytest.param(["3-9", "8-12"], Conflict, "OverlappingAllocationPools", id="overlap"),
        pytest.param(["1-9"], Conflict, "GatewayConflictWithAllocationPools", id="gateway"),
        pytest.param(["40-60"], Conflict, "GatewayConflictWithAllocationPools", id="server"),
    ],
)
def test_wrong_pools_are_refused(pools: list[str], error: type[LessorError], name: str) -> None:
    gateway, server = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.50")
    with pytest.raises(error) as caught:
        checked_pools(BLOCK, [pool(text) for text in pools], gateway, server)
    assert caught.value.type == name


def test_given_pools_come_in_order() -> None:
    assert shown(checked_pools(BLOCK, [pool("9-12"), pool("3-8")], None, None)) == ["3-8", "9-12"]


def test_a_block_of_one_host_has_none_beside_it() -> None:
    only = IPv4Network("10.0.0.7/32")
    assert first_host(only) == IPv4Address("10.0.0.7")
    with pytest.raises(Conflict, match=r"10\.0\.0\.7/32 has no host address but 10\.0\.0\.7"):
        first_host(only, without=IPv4Address("10.0.0.7"))


def test_ends_gateway_and_server_are_reserved() -> None:
    found = reserved_addresses(BLOCK, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.9"))
    assert {int(a) & 255: why for a, why in found.items()} == {
        0: "network", 1: "gateway", 9: "dhcp_server", 255: "broadcast",
    }  # fmt: skip


def test_a_mac_is_read_in_both_spellings() -> None:
    assert parsed_mac("FA-16-3E-00-00-0A") == parsed_mac("fa:16:3e:00:00:0a") == "fa:16:3e:00:00:0a"


@pytest.mark.parametrize(
    "text",
    ["", "fa:16:3e:00:00", "fa:16:3e:00:00:0g", "fa163e00000a", "fa:16:3e:00:00:0a\n:", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"],
)  # fmt: skip
def test_a_malformed_or_group_mac_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parsed_mac(text)


@pytest.mark.parametrize(
    ("base", "mac"),
    [("fa:16:3e:00:00:00", "fa:16:3e:ab:ab:ab"), ("FA:16:3E:4F:00:00", "fa:16:3e:4f:ab:ab")],
)
def test_a_new_mac_begins_like_the_base(base: str, mac: str) -> None:
    assert new_mac(base, lambda: 0xAB) == mac


@pytest.mark.parametrize(
    "option",
    [
        pytest.param(DhcpOption("mtu", "1400\ndhcp-option=6,6.6.6.6"), id="newline-in-value"),
        pytest.param(DhcpOption("mtu\n", "1400"), id="newline-in-name"),
        pytest.param(DhcpOption("mtu", "1400\r"), id="carriage-return"),
        pytest.param(DhcpOption("mtu", "14\u2028"), id="line-separator"),
        pytest.param(DhcpOption("m" * 65, "1"), id="long-name"),
        pytest.param(DhcpOption("mtu", "1" * 256), id="long-value"),
        pytest.param(DhcpOption("mtu,6", "1"), id="comma-in-name"),
        pytest.param(DhcpOption("0", "1"), id="option-0"),
        pytest.param(DhcpOption("255", "1"), id="option-255"),
        pytest.param(DhcpOption("mtu", ""), id="blank"),
        pytest.param(DhcpOption("mtu", "1", 5), id="ip-version"),
    ],
)
def test_an_option_that_breaks_its_line_or_is_none_is_refused(option: DhcpOption) -> None:
    with pytest.raises(Invalid):
        check_options([option])


def test_an_option_twice_is_refused() -> None:
    with pytest.raises(Invalid, match="twice"):
        check_options([DhcpOption("mtu", "1400"), DhcpOption("26", "1500")])


def test_options_by_name_and_number_pass() -> None:
    good = [
        DhcpOption("server-ip-address", "10.0.0.9"),
        DhcpOption("66", "x"),
        DhcpOption("router", ""),
        DhcpOption("T1", "60"),
        DhcpOption("200", "any words"),
        DhcpOption("arp-timeout", "00:00:00:3c"),
        DhcpOption("time-offset", "-3600"),
        DhcpOption("dns-server", "10.0.0.3, 10.0.0.4"),
        DhcpOption("dns-server", "2001:db8::53", 6),
    ]
    check_options(good)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (DhcpOption("ntp-servers", "10.0.0.1"), "near it are ntp-server"),
        (DhcpOption("colour", "red"), "neither a DHCP option's number"),
        (DhcpOption("dns-server", "resolver"), "'resolver' is not an IPv4 address"),
        (DhcpOption("6", "10.0.0.1,10.0.0"), "'10.0.0' is not an IPv4 address"),
        (DhcpOption("200", "1.2.3"), "'1.2.3' is not an IPv4 address"),
        (DhcpOption("mtu", "large"), "'large' is not a whole number up to 65535"),
        (DhcpOption("mtu", "65536"), "not a whole number up to 65535"),
        (DhcpOption("26", "-1"), "not a whole number"),
        (DhcpOption("51", "60"), "the DHCP server sets it"),
        (DhcpOption("53", "5"), "the DHCP server sets it"),
        (DhcpOption("43", "5"), "by its bytes"),
        (DhcpOption("28", "all"), "not an IPv4 address"),
        (DhcpOption("dns,server", "x", 6), "no DHCP option's name"),
    ],
)
def test_an_option_that_no_vm_would_be_told_is_refused(option: DhcpOption, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        check_options([option])


@pytest.mark.parametrize("name", ["", "vm1", "a.b.example", "x" * 70, "A-1."])
def test_dns_names_of_labels_pass(name: str) -> None:
    check_dns_name(name)


@pytest.mark.parametrize("name", ["a b", "a,b", "a\nb", "-a", "a-", "a..b", "x" * 256, "ü"])
def test_other_dns_names_are_refused(name: str) -> None:
    with pytest.raises(Invalid):
        check_dns_name(name)


@pytest.mark.parametrize(
    ("whole", "count", "size", "blocks"),
    [
        ("10.0.0.0/8", 1, 256, ["10.0.0.0/24"]),
        ("10.0.0.0/8", 2, 200, ["10.0.0.0/24", "10.0.1.0/24"]),
        ("10.0.0.0/24", 2, 256, ["10.0.0.0/25", "10.0.0.128/25"]),
        ("10.0.0.0/16", 1, 65536, ["10.0.0.0/16"]),
    ],
)
def test_fixed_range_is_cut_as_asked(whole: str, count: int, size: int, blocks: list[str]) -> None:
    settings = _cutting(count, size)
    assert [str(block) for block in cut(settings, IPv4Network(whole))] == blocks


@pytest.mark.parametrize(
    ("whole", "count", "size"), [("10.0.0.0/28", 9, 16), ("10.0.0.0/30", 1, 1)]
)
def test_a_fixed_range_too_small_is_said(whole: str, count: int, size: int) -> None:
    with pytest.raises(Invalid, match="can't be cut"):
        cut(_cutting(count, size), IPv4Network(whole))


def _cutting(count: int, size: int) -> ServerSettings:
    return settings_in(Path("unused"), num_networks=count, network_size=size)
