from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from lessor.core.dns.zone import Entry, entries, reserved, suffixes, wire_name, zone_of
from lessor.core.state import DhcpRange, DhcpServer, Reservation

RANGE = DhcpRange(
    subnet_id="s1",
    network_id="n1",
    cidr=IPv4Network("10.0.0.0/22"),
    server=IPv4Address("10.0.0.1"),
    start=IPv4Address("10.0.0.2"),
    router=None,
    mtu=1450,
    dns=(),
    routes=(),
    domain="novalocal",
)
VM = Reservation("p5", "n1", "s1", "fa:16:3e:00:00:05", IPv4Address("10.0.0.5"), "vm5", "novalocal")
SERVER = DhcpServer("br100", "br100", (RANGE,), {"10.0.0.5": VM})


def packed(address: str) -> bytes:
    return IPv4Address(address).packed


@pytest.mark.parametrize(
    ("host", "domain", "name"),
    [
        pytest.param("vm5", "novalocal", b"\x03vm5\x09novalocal\0", id="both"),
        pytest.param("vm5", "", b"\x03vm5\0", id="no-domain"),
        pytest.param("vm5", "a b", b"\x03vm5\0", id="a-domain-that-is-none"),
        pytest.param("vm5", "Example.org", b"\x03vm5\x07example\x03org\0", id="lower-case"),
        pytest.param("", "novalocal", None, id="no-name"),
        pytest.param("a_b", "novalocal", None, id="a-name-that-is-none"),
    ],
)
def test_a_reservation_has_a_name(host: str, domain: str, name: bytes | None) -> None:
    found = list(reserved(replace(VM, hostname=host, domain=domain)))
    assert found == ([Entry(name, packed("10.0.0.5"))] if name else [])


def test_names_that_no_reservation_has_are_entries_too() -> None:
    named = ((IPv4Address("10.0.0.9"), "db.novalocal"), (IPv4Address("10.0.0.8"), "bare"))
    found = {one.name for one in entries(replace(SERVER, names=named))}
    assert found == {wire_name(one) for one in ("vm5.novalocal", "db.novalocal", "bare")}


def test_a_domain_that_others_know_too_is_not_local() -> None:
    ranges = (RANGE, replace(RANGE, domain="Example.org"))
    zone = zone_of(replace(SERVER, ranges=ranges, forwarded=("EXAMPLE.org",)))
    assert zone.is_local(wire_name("a.novalocal"))
    assert zone.is_local(wire_name("novalocal"))
    assert not zone.is_local(wire_name("www.example.org"))
    assert not zone.is_local(wire_name("xnovalocal"))
    assert not zone.is_local(b"\0")


def test_what_is_above_a_domain_is_known() -> None:
    zone = zone_of(replace(SERVER, ranges=(replace(RANGE, domain="a.example.org"),)))
    assert [zone.is_above(wire_name(one)) for one in ("example.org", "org", "le.org")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("address", "is_client"),
    [("10.0.0.5", True), ("10.0.3.255", True), ("10.0.4.0", False), ("192.0.2.1", False)],
)
def test_clients_are_in_the_servers_subnets(address: str, *, is_client: bool) -> None:
    assert (zone_of(SERVER).range_of(packed(address)) is not None) == is_client


def test_a_subnet_of_ipv6_has_its_clients() -> None:
    six = replace(RANGE, cidr=IPv6Network("fd00::/64"), server=IPv6Address("fd00::1"))
    zone = zone_of(replace(SERVER, ranges=(six,)))
    assert zone.range_of(IPv6Address("fd00::5").packed)
    assert not zone.range_of(IPv6Address("fd00:0:0:1::5").packed)
    assert not zone.range_of(packed("10.0.0.5"))


def test_only_a_server_in_the_hosts_own_namespace_asks_its_name_servers() -> None:
    assert zone_of(SERVER).follows_host
    assert zone_of(SERVER).localise
    assert not zone_of(replace(SERVER, namespace="qdhcp-1")).follows_host
    assert not zone_of(replace(SERVER, namespace="qdhcp-1")).localise
    assert not zone_of(replace(SERVER, upstream_dns=("192.0.2.9",))).follows_host


def test_an_upstream_server_is_an_address() -> None:
    listed = ("192.0.2.9", "ns.example.org", "2001:db8::9", "192.0.2.9#5353")
    assert zone_of(replace(SERVER, upstream_dns=listed)).upstream == ("192.0.2.9", "2001:db8::9")


def test_suffixes_are_domains_of_whole_labels() -> None:
    found = list(suffixes(wire_name("a.bc.d")))
    assert found == [wire_name(one) for one in ("a.bc.d", "bc.d", "d")]
