"""Rows of the responder: which bytes a reservation has."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from lessor.core.dhcp.message import NO_FILE, NO_SNAME, split
from lessor.core.dhcp.rows import client_ids, drop, put, ready, table
from lessor.core.dhcp.table import INFINITE, Row
from lessor.core.state import DhcpRange, DhcpServer, Reservation
from tests.core.dhcp.client import RANGE

PORT = Reservation(
    port_id="p1",
    network_id="n1",
    subnet_id="s1",
    mac="fa:16:3e:00:00:01",
    address=IPv4Address("10.20.0.101"),
    hostname="vm1",
    domain="example.org",
)
METADATA = (IPv4Network("169.254.169.254/32"), IPv4Address("10.20.0.2"))


def options(row: Row) -> dict[int, str]:
    """Return a row's options in hex, in their order."""
    return {piece[0]: piece[2:].hex() for piece in split(row.block)}


def row(*given: tuple[str, str], of: DhcpRange = RANGE, lease_time: int = 86400) -> Row:
    return ready(replace(PORT, options=given), of, lease_time)[0]


def test_a_row_has_the_options_of_its_subnet_and_port() -> None:
    in_order = {
        54: "0a140002",
        51: "00015180",
        58: "0000a8c0",
        59: "00012750",
        1: "ffffff00",
        28: "0a1400ff",
        3: "0a140001",
        6: "0a140002",
        15: b"example.org".hex(),
        12: b"vm1".hex(),
        26: "05aa",
        121: "20a9fea9fe0a140002000a140001",
        249: "20a9fea9fe0a140002000a140001",
    }
    found = options(row(of=replace(RANGE, routes=(METADATA,))))
    assert list(found.items()) == list(in_order.items())


def test_a_subnet_without_router_announces_none() -> None:
    made = row(of=replace(RANGE, router=None, routes=(METADATA,)))
    assert 3 not in options(made)
    assert options(made)[121] == "20a9fea9fe0a140002"


def test_a_second_nic_has_no_router_and_no_default_route() -> None:
    made, _ = ready(replace(PORT, router=False), replace(RANGE, routes=(METADATA,)), 86400)
    assert 3 not in options(made)
    assert options(made)[121] == "20a9fea9fe0a140002"


def test_a_default_route_of_the_subnet_comes_last_and_once() -> None:
    default = (IPv4Network("0.0.0.0/0"), IPv4Address("10.20.0.9"))
    made = row(of=replace(RANGE, routes=(default, METADATA)))
    assert options(made)[121] == "20a9fea9fe0a140002000a140009"


@pytest.mark.parametrize(
    ("dns", "found"),
    [
        pytest.param((), "0a140002", id="ours"),
        pytest.param(("192.0.2.1", "192.0.2.2"), "c0000201c0000202", id="given"),
        pytest.param(("0.0.0.0",), None, id="none"),
    ],
)
def test_name_servers(dns: tuple[str, ...], found: str | None) -> None:
    made = row(of=replace(RANGE, dns=tuple(map(IPv4Address, dns))))
    assert options(made).get(6) == found


@pytest.mark.parametrize(
    ("given", "code", "found"),
    [
        pytest.param(("ntp-server", "192.0.2.7"), 42, "c0000207", id="by-name"),
        pytest.param(("42", "192.0.2.7"), 42, "c0000207", id="by-number"),
        pytest.param(("router", "10.20.0.9"), 3, "0a140009", id="wins-over-the-range"),
        pytest.param(("router", ""), 3, None, id="blank-removes"),
        pytest.param(("mtu", "1400"), 26, "0578", id="forced-ones-too"),
        pytest.param(("12", "other"), 12, b"other".hex(), id="name"),
        pytest.param(("43", "01:04:0a:14:00:09"), 43, "01040a140009", id="vendor"),
        pytest.param(("224", "text"), 224, b"text".hex(), id="private"),
        pytest.param(("T1", "1h"), 58, "00000e10", id="t1"),
        pytest.param(("T2", "2h"), 59, "00012750", id="t2-before-t1"),
        pytest.param(("T1", "2d"), 58, "0000a8c0", id="t1-after-the-end"),
        pytest.param(("client-id", "01:02"), 61, None, id="the-client-says-its-own"),
        pytest.param(("ipv6-only", "1800"), 108, None, id="only-for-those-who-ask"),
    ],
)
def test_options_of_a_port(given: tuple[str, str], code: int, found: str | None) -> None:
    assert options(row(given)).get(code) == found


def test_an_option_for_those_who_ask_stands_apart() -> None:
    assert row(("ipv6-only", "1800")).asked == b"\x6c\4\0\0\7\x08"


def test_t1_and_t2_of_a_port_are_taken_together() -> None:
    found = options(row(("T1", "100"), ("T2", "200")))
    assert (found[58], found[59]) == ("00000064", "000000c8")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(("51", "60"), id="lease-time"),
        pytest.param(("rapid-commit", "1"), id="rapid-commit"),
        pytest.param(("mtu", "a lot"), id="no-number"),
        pytest.param(("tag:x,67", "file"), id="tag"),
    ],
)
def test_what_is_no_option_is_left_out_and_said(given: tuple[str, str]) -> None:
    server = server_of(replace(PORT, options=(given, ("ntp-server", "192.0.2.7"))))
    made = table(server, bytes(6))
    assert len(made.left_out[PORT.address]) == 1
    ((found,),) = made.by_mac.values()
    assert options(found) == options(row(("ntp-server", "192.0.2.7")))


@pytest.mark.parametrize(
    ("given", "siaddr"),
    [
        pytest.param((), "10.20.0.2", id="ours"),
        pytest.param((("tftp-server", "192.0.2.9"),), "192.0.2.9", id="66"),
        pytest.param((("150", "192.0.2.9, 192.0.2.8"),), "192.0.2.9", id="first-of-150"),
        pytest.param((("tftp-server", "boot.example.org"),), "10.20.0.2", id="a-name"),
        pytest.param(
            (("66", "192.0.2.9"), ("server-ip-address", "192.0.2.7")), "192.0.2.7", id="said"
        ),
    ],
)
def test_the_next_server(given: tuple[tuple[str, str], ...], siaddr: str) -> None:
    made = row(*given)
    assert made.siaddr == IPv4Address(siaddr).packed
    assert 255 not in options(made)


def test_firmware_finds_its_file_in_the_header_and_in_options() -> None:
    made = row(("bootfile-name", "ipxe.efi"), ("tftp-server", "192.0.2.9"))
    assert made.file == b"ipxe.efi".ljust(128, b"\0")
    assert made.sname == b"192.0.2.9".ljust(64, b"\0")
    assert options(made)[67] == b"ipxe.efi\0".hex()


def test_a_file_name_too_long_for_the_header_is_an_option_only() -> None:
    made = row(("bootfile-name", "x" * 128), ("tftp-server", "y" * 64))
    assert (made.file, made.sname) == (NO_FILE, NO_SNAME)
    assert row(("bootfile-name", "x" * 127)).file == b"x" * 127 + b"\0"


def test_a_lease_without_end_has_neither_t1_nor_t2() -> None:
    made = row(("T1", "100"), lease_time=-1)
    assert made.lease_time == INFINITE
    assert options(made)[51] == "ffffffff"
    assert not options(made).keys() & {58, 59}


@pytest.mark.parametrize(
    ("hostname", "domain", "found"),
    [
        pytest.param("vm1", "other.org", "other.org", id="the-ports"),
        pytest.param("vm1", "", "example.org", id="the-ranges"),
        pytest.param("", "other.org", "example.org", id="without-a-name"),
    ],
)
def test_the_domain(hostname: str, domain: str, found: str) -> None:
    made, _ = ready(replace(PORT, hostname=hostname, domain=domain), RANGE, 86400)
    assert options(made)[15] == found.encode().hex()
    assert options(made).get(12) == (hostname.encode().hex() or None)


def server_of(*reservations: Reservation) -> DhcpServer:
    other = replace(RANGE, subnet_id="s2", cidr=IPv4Network("10.30.0.0/24"))
    return DhcpServer(
        name="br1",
        interface="br1",
        ranges=(RANGE, replace(other, server=IPv4Address("10.30.0.2"))),
        reservations={str(one.address): one for one in reservations},
    )


def test_a_mac_with_several_addresses_has_rows_by_address() -> None:
    second = replace(PORT, subnet_id="s2", address=IPv4Address("10.30.0.5"))
    made = table(server_of(second, PORT), bytes(6))
    found = made.by_mac[bytes.fromhex("fa163e000001")]
    assert [one.address for one in found] == [b"\x0a\x14\0\x65", b"\x0a\x1e\0\5"]
    assert made.servers == {b"\x0a\x14\0\2", b"\x0a\x1e\0\2"}


def test_a_reservation_of_no_range_has_no_row() -> None:
    assert table(server_of(replace(PORT, subnet_id="s3")), bytes(6)).by_mac == {}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param("01:2:ff", (b"\1\2\xff",), id="octets"),
        pytest.param("vm1", (b"vm1", b"\0vm1"), id="text"),
        pytest.param("12", (b"12", b"\x0012"), id="digits-are-text"),
        pytest.param("ff:vm", (b"ff:vm", b"\0ff:vm"), id="no-octets"),
        pytest.param("100:1", (b"100:1", b"\x00100:1"), id="too-large-for-an-octet"),
        pytest.param("*", (), id="by-mac"),
    ],
)
@pytest.mark.parametrize("name", ["client-id", "61"])
def test_a_port_is_known_by_its_client_id(name: str, value: str, found: tuple[bytes, ...]) -> None:
    one = replace(PORT, options=((name, value),))
    assert client_ids(one) == found
    assert set(table(server_of(one), bytes(6)).by_client) == set(found)


def test_a_range_of_ipv6_has_no_rows() -> None:
    other = replace(RANGE, cidr=IPv6Network("2001:db8::/64"), server=IPv6Address("2001:db8::2"))
    one = replace(PORT, address=IPv6Address("2001:db8::5"))
    made = table(replace(server_of(one), ranges=(other,)), bytes(6))
    assert made == table(replace(server_of(), ranges=()), bytes(6))


def test_what_is_put_and_dropped_leaves_the_table_as_if_it_was_made_so() -> None:
    second = replace(PORT, subnet_id="s2", address=IPv4Address("10.30.0.5"))
    named = replace(PORT, options=(("client-id", "01:02"), ("mtu", "a lot")))
    ranges = {r.subnet_id: r for r in server_of().ranges}
    made = table(server_of(), bytes(6))
    for one in (second, named):
        put(made, one, ranges[one.subnet_id], 86400)
    assert made == table(server_of(second, named), bytes(6))
    put(made, named, ranges["s1"], 3600)
    assert [one.lease_time for one in made.by_client[b"\1\2"]] == [3600]
    drop(made, named)
    assert made == table(server_of(second), bytes(6))
    drop(made, named)
    drop(made, second)
    assert made == table(server_of(), bytes(6))
