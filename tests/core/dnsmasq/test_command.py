from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.core.dnsmasq.command import Paths, command_line, plan
from lessor.core.dnsmasq.files import (
    hosts_file,
    hosts_text,
    names_text,
    opts_files,
    port_options,
    read_notes,
    read_reservations,
    reserved_names,
)
from lessor.core.state import DhcpRange, DhcpServer, Reservation

PATHS = Paths(PurePosixPath("/n/br100"), PurePosixPath("/usr/bin/lessor-dhcpbridge"), "nobody")
RANGE = DhcpRange(
    subnet_id="s1",
    network_id="n1",
    cidr=IPv4Network("10.0.0.0/24"),
    server=IPv4Address("10.0.0.1"),
    start=IPv4Address("10.0.0.2"),
    router=IPv4Address("10.0.0.1"),
    mtu=1500,
    dns=(),
    routes=(),
    domain="novalocal",
)
WEB = Reservation(
    port_id="p1",
    network_id="n1",
    subnet_id="s1",
    mac="fa:16:3e:00:00:01",
    address=IPv4Address("10.0.0.3"),
    hostname="web",
    domain="novalocal",
)
DB = replace(WEB, port_id="p2", mac="fa:16:3e:00:00:02", address=IPv4Address("10.0.0.4"))
ROUTES = ((IPv4Network("192.0.2.0/24"), IPv4Address("10.0.0.9")),)


def server(*reservations: Reservation, ranges: tuple[DhcpRange, ...] = (RANGE,)) -> DhcpServer:
    return DhcpServer("br100", "br100", ranges, {str(r.address): r for r in reservations})


def host_line(reservation: Reservation) -> str:
    return hosts_text([reservation]).splitlines()[-1]


def test_the_command_line_is_novas_with_what_it_lacked() -> None:
    assert command_line(server(WEB), PATHS) == (
        "dnsmasq",
        "--conf-file=/dev/null",
        "--strict-order",
        "--bind-interfaces",
        "--interface=br100",
        "--except-interface=br100",
        "--except-interface=lo",
        "--listen-address=10.0.0.1",
        "--pid-file=/n/br100/pid",
        "--no-hosts",
        "--no-ping",
        "--leasefile-ro",
        "--dhcp-script=/usr/bin/lessor-dhcpbridge",
        "--dhcp-scriptuser=nobody",
        "--dhcp-hostsfile=/n/br100/reservations",
        "--dhcp-hostsdir=/n/br100/hosts",
        "--dhcp-optsdir=/n/br100/opts",
        "--hostsdir=/n/br100/names",
        "--dhcp-range=set:subnet-s1,10.0.0.2,static,255.255.255.0,86400s",
        "--dhcp-option-force=tag:subnet-s1,26,1500",
        "--dhcp-lease-max=256",
        "--domain=novalocal",
        "--domain-needed",
        "--local=/novalocal/",
        "--rev-server=10.0.0.0/24",
        "--localise-queries",
        "--dhcp-authoritative",
        "--dhcp-ignore=tag:!known",
        "--dhcp-ignore-clid",
    )


def test_reservations_are_read_from_lines_with_any_fields_between() -> None:
    text = (
        "# fa:16:3e:00:00:06,10.0.0.6\nfa:16:3e:00:00:05,id:*,set:x,10.0.0.5,host-10-0-0-5,86400s\n"
    )
    assert read_reservations(text) == {("fa:16:3e:00:00:05", "10.0.0.5")}


def test_settings_of_the_operator_are_read() -> None:
    line = command_line(server(), replace(PATHS, config_file="/etc/dnsmasq-nova.conf"))
    assert "--conf-file=/etc/dnsmasq-nova.conf" in line


def test_where_others_serve_the_network_too_it_refuses_nobodys_client() -> None:
    line = command_line(replace(server(), peers=True), PATHS)
    assert "--dhcp-authoritative" not in line


def test_an_endless_lease_is_infinite() -> None:
    line = command_line(replace(server(), lease_time=-1), PATHS)
    assert "--dhcp-range=set:subnet-s1,10.0.0.2,static,255.255.255.0,infinite" in line


def test_without_a_domain_none_is_named() -> None:
    line = command_line(server(ranges=(replace(RANGE, domain=""),)), PATHS)
    assert not [one for one in line if one.startswith(("--domain=", "--local="))]


def test_each_range_has_its_own_domain_where_they_differ() -> None:
    other = replace(RANGE, subnet_id="s2", cidr=IPv4Network("10.1.0.0/16"), domain="example.org")
    line = command_line(server(ranges=(RANGE, other)), PATHS)
    assert "--domain=novalocal,10.0.0.0/24" in line
    assert "--domain=example.org,10.1.0.0/16" in line
    assert "--dhcp-lease-max=65792" in line


def test_a_domain_that_others_know_too_is_asked_upstream() -> None:
    other = replace(RANGE, subnet_id="s2", cidr=IPv4Network("10.1.0.0/16"), domain="Example.org")
    given_ = replace(server(ranges=(RANGE, other)), forwarded=("example.ORG",))
    local = [one for one in command_line(given_, PATHS) if one.startswith("--local=")]
    assert local == ["--local=/novalocal/"]


def test_upstream_servers_shut_out_resolv_conf() -> None:
    line = command_line(replace(server(), upstream_dns=("8.8.4.4",)), PATHS)
    assert line[-2:] == ("--no-resolv", "--server=8.8.4.4")


def test_a_client_id_is_read_only_where_a_port_is_known_by_one() -> None:
    known = replace(WEB, options=(("client-id", "01:02"),))
    assert "--dhcp-ignore-clid" not in command_line(server(known), PATHS)
    assert host_line(known) == "fa:16:3e:00:00:01,id:01:02,web.novalocal,[100::],10.0.0.3"


@pytest.mark.parametrize(
    ("reservation", "line"),
    [
        pytest.param(WEB, "fa:16:3e:00:00:01,web.novalocal,[100::],10.0.0.3", id="nova"),
        pytest.param(
            replace(WEB, domain=""), "fa:16:3e:00:00:01,web,[100::],10.0.0.3", id="no-domain"
        ),
        pytest.param(replace(WEB, hostname="ignore"), "fa:16:3e:00:00:01,10.0.0.3", id="an-order"),
        pytest.param(replace(WEB, hostname="a\nb"), "fa:16:3e:00:00:01,10.0.0.3", id="newline"),
        pytest.param(
            replace(WEB, domain="x,10.0.0.9"), "fa:16:3e:00:00:01,web,[100::],10.0.0.3", id="field"
        ),
        pytest.param(
            replace(WEB, options=(("ntp-server", "10.0.0.9"),)),
            "fa:16:3e:00:00:01,web.novalocal,[100::],10.0.0.3,set:port-p1",
            id="own-options",
        ),
        pytest.param(
            replace(WEB, router=False),
            "fa:16:3e:00:00:01,web.novalocal,[100::],10.0.0.3,set:port-p1",
            id="no-router",
        ),
    ],
)
def test_a_reservation_is_one_line(reservation: Reservation, line: str) -> None:
    assert host_line(reservation) == line


def test_a_changed_reservation_has_another_file_name() -> None:
    changed = replace(WEB, hostname="www")
    assert hosts_file([WEB])[0] != hosts_file([changed])[0]


@given(st.text(), st.text())
def test_what_was_reserved_is_read_back_from_its_file(name: str, value: str) -> None:
    given_ = replace(WEB, hostname=name, options=((name, value),))
    assert list(read_notes(hosts_text([DB, given_]))) == [given_, DB]


@given(st.text(), st.text(max_size=3000))
def test_no_text_of_a_user_makes_a_line_of_its_own(name: str, value: str) -> None:
    hostile = replace(WEB, hostname=name, options=((name, value), ("ntp-server", value)))
    text = hosts_text([hostile])
    served = [line for line in text.split("\n") if line and not line.startswith("#")]
    assert len(served) == 1
    for line in [*text.split("\n"), *port_options(hostile, server()).split("\n")]:
        assert len(line.encode()) < 1025
        assert "\r" not in line
    for line in port_options(hostile, server()).split("\n")[:-1]:
        assert line.startswith("tag:port-p1,") or ",tag:port-p1," in line


def options(range_: DhcpRange, *reservations: Reservation) -> dict[str, list[str]]:
    files = opts_files(server(*reservations, ranges=(range_,)))
    return {name: text.splitlines() for name, text in files.items()}


def test_the_router_is_told() -> None:
    assert options(RANGE) == {"subnet-s1": ["tag:subnet-s1,3,10.0.0.1"]}


def test_no_router_is_told_as_none() -> None:
    assert options(replace(RANGE, router=None)) == {"subnet-s1": ["tag:subnet-s1,3"]}


def test_name_servers_are_told() -> None:
    dns = (IPv4Address("10.0.0.8"), IPv4Address("10.0.0.9"))
    assert options(replace(RANGE, dns=dns))["subnet-s1"][1:] == [
        "tag:subnet-s1,6,10.0.0.8,10.0.0.9"
    ]


def test_0000_as_name_server_tells_of_none() -> None:
    told = options(replace(RANGE, dns=(IPv4Address(0),)))["subnet-s1"]
    assert told[1:] == ["tag:subnet-s1,6"]


def test_routes_are_told_twice_with_the_default_last() -> None:
    told = "192.0.2.0/24,10.0.0.9,0.0.0.0/0,10.0.0.1"
    assert options(replace(RANGE, routes=ROUTES))["subnet-s1"][1:] == [
        f"tag:subnet-s1,121,{told}",
        f"tag:subnet-s1,249,{told}",
    ]


def test_a_second_nic_is_told_no_router_and_no_default_route() -> None:
    second = replace(WEB, router=False)
    assert options(replace(RANGE, routes=ROUTES), second)["port-p1"] == [
        "tag:port-p1,3",
        "tag:port-p1,121,192.0.2.0/24,10.0.0.9",
        "tag:port-p1,249,192.0.2.0/24,10.0.0.9",
    ]


@pytest.mark.parametrize(
    ("name", "value", "lines"),
    [
        pytest.param(
            "ntp-server", "10.0.0.9", ["tag:port-p1,option:ntp-server,10.0.0.9"], id="name"
        ),
        pytest.param("138", "10.0.0.9", ["tag:port-p1,138,10.0.0.9"], id="number"),
        pytest.param("tag:ipxe,67", "x", ["tag:ipxe,tag:port-p1,67,x"], id="further-tag"),
        pytest.param("mtu", "", ["tag:port-p1,option:mtu"], id="told-as-none"),
        pytest.param("67", "a\ntag:x,3,9.9.9.9", ["tag:port-p1,67,a"], id="newline-ends-it"),
        pytest.param("67\n3", "a", [], id="not-an-option"),
        pytest.param("67", "x" * 1100, [], id="longer-than-dnsmasq-reads"),
        pytest.param("client-id", "01:02", [], id="not-told-but-known-by"),
    ],
)
def test_options_of_a_port_go_by_its_tag(name: str, value: str, lines: list[str]) -> None:
    assert port_options(replace(WEB, options=((name, value),)), server()).splitlines() == lines


BOOT = "tag:port-p1,option:server-ip-address,"


@pytest.mark.parametrize(
    ("given_", "fields"),
    [
        pytest.param([("tftp-server", "10.0.0.9")], [BOOT + "10.0.0.9"], id="option-66"),
        pytest.param([("66", "10.0.0.9")], [BOOT + "10.0.0.9"], id="its-number"),
        pytest.param([("150", "10.0.0.9,10.0.0.8")], [BOOT + "10.0.0.9"], id="option-150"),
        pytest.param(
            [("150", "10.0.0.9"), ("66", "10.0.0.8")], [BOOT + "10.0.0.9"], id="the-first-of-two"
        ),
        pytest.param(
            [("66", "10.0.0.9"), ("server-ip-address", "10.0.0.8")],
            [BOOT + "10.0.0.8"],
            id="the-field-itself-wins",
        ),
        pytest.param([("66", "tftp.example")], [], id="a-name-is-no-address"),
        pytest.param([("67", "10.0.0.9")], [], id="another-option"),
    ],
)
def test_who_names_a_tftp_server_boots_from_it(
    given_: list[tuple[str, str]], fields: list[str]
) -> None:
    lines = port_options(replace(WEB, options=tuple(given_)), server()).splitlines()
    assert [line for line in lines if "server-ip-address" in line] == fields


def test_names_that_are_none_are_left_out() -> None:
    named = replace(
        server(), names=((IPv4Address("10.0.0.7"), "db.novalocal"), (IPv4Address(1), "a b"))
    )
    assert names_text(named) == "10.0.0.7\tdb.novalocal db\n"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        pytest.param({}, "10.0.0.3\tweb.novalocal web\n", id="domain"),
        pytest.param({"domain": ""}, "10.0.0.3\tweb\n", id="no-domain"),
        pytest.param({"domain": "a b"}, "10.0.0.3\tweb\n", id="unfit-domain"),
        pytest.param({"hostname": "a b"}, "", id="unfit-name"),
    ],
)
def test_a_reservation_is_known_by_name(fields: dict[str, Any], line: str) -> None:
    assert reserved_names([replace(WEB, **fields)]) == line


def test_nothing_changed_needs_nothing() -> None:
    assert not plan(server(WEB), server(WEB), PATHS)


def test_a_new_reservation_needs_no_reload() -> None:
    what = plan(server(WEB), server(WEB, DB), PATHS)
    assert (what.add, what.reload, what.restart) == ((DB,), False, False)


def test_a_removed_one_needs_a_reload() -> None:
    assert plan(server(WEB, DB), server(WEB), PATHS).reload


@pytest.mark.parametrize(
    "fresh",
    [
        pytest.param(replace(DB, address=WEB.address), id="address"),
        pytest.param(replace(DB, mac=WEB.mac), id="mac"),
        pytest.param(replace(DB, port_id=WEB.port_id), id="port"),
    ],
)
def test_a_new_one_waits_for_what_a_stale_one_still_has(fresh: Reservation) -> None:
    what = plan(server(WEB), server(fresh), PATHS)
    assert (what.blocked, what.add, what.reload) == ((fresh,), (), True)


def test_a_lease_time_needs_a_restart() -> None:
    assert plan(server(), replace(server(), lease_time=60), PATHS).restart


def test_a_router_needs_a_reload_only() -> None:
    what = plan(server(), server(ranges=(replace(RANGE, router=None),)), PATHS)
    assert (what.reload, what.restart) == (True, False)


def test_names_need_no_reload() -> None:
    what = plan(server(), replace(server(), names=((IPv4Address(1), "a.b"),)), PATHS)
    assert (what.names, what.reload) == (True, False)
