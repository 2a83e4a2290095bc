"""What a VM gets from a real dnsmasq."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network

import pytest

from lessor.agent.host.run import run
from tests.agent.drivers.dnsmasq_host import (
    BRIDGE,
    RANGE,
    Host,
    host_in_namespace,
    mac,
    reserve,
    server,
)
from tests.dhcpclient import ACK, NAK

pytestmark = pytest.mark.lab


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        yield made


def test_a_vm_gets_exactly_the_address_of_its_port(host: Host) -> None:
    host.bring(server(reserve(5), reserve(6, at=300)))
    reply = host.lease(6)
    assert (str(reply.address), str(reply.server)) == ("10.0.1.44", "10.0.0.1")
    assert reply.addresses(3) == ["10.0.0.1"]
    assert reply.addresses(6) == ["10.0.0.1"]
    assert reply.options[26] == (1450).to_bytes(2)
    assert (reply.options[12], reply.options[15]) == (b"vm6", b"novalocal")
    host.wait_for(lambda: host.held() == {"10.0.1.44": mac(6)})


def test_two_subnets_of_a_bridge_are_served_by_one(host: Host) -> None:
    other = replace(
        RANGE,
        subnet_id="s2",
        cidr=IPv4Network("10.1.0.0/24"),
        server=IPv4Address("10.1.0.1"),
        start=IPv4Address("10.1.0.2"),
        router=None,
        dns=(IPv4Address("192.0.2.53"),),
        routes=((IPv4Network("192.0.2.0/24"), IPv4Address("10.1.0.9")),),
        domain="example.org",
    )
    far = replace(reserve(7), address=IPv4Address("10.1.0.7"), domain="example.org")
    host.bring(server(reserve(5), far, ranges=(RANGE, other)))
    reply = host.lease(7)
    assert (str(reply.address), str(reply.server)) == ("10.1.0.7", "10.1.0.1")
    assert 3 not in reply.options
    assert reply.addresses(6) == ["192.0.2.53"]
    assert reply.options[121] == bytes([24, 192, 0, 2, 10, 1, 0, 9]) == reply.options[249]
    assert reply.options[15] == b"example.org"
    assert str(host.lease(5).address) == "10.0.0.5"


def test_a_new_reservation_is_live_at_once_without_a_reload(host: Host) -> None:
    host.bring(server(reserve(5)))
    host.lease(5)
    pid = host.pid()
    host.wait_for(lambda: host.events() == [("add", mac(5), "10.0.0.5")])
    assert host.once(server(reserve(5), reserve(6))) == []
    assert str(host.lease(6).address) == "10.0.0.6"
    assert host.pid() == pid
    host.wait_for(lambda: len(host.events()) == 2)
    assert host.events()[1] == ("add", mac(6), "10.0.0.6")  # a reload would say "old" of 5
    assert not host.differs(server(reserve(5), reserve(6)))


def test_options_of_a_port_win_over_its_networks(host: Host) -> None:
    own = reserve(6, options=(("router", "10.0.0.99"), ("42", "10.0.0.8"), ("mtu", "1400")))
    host.bring(server(reserve(5)))
    host.bring(server(reserve(5), own))
    reply = host.lease(6)
    assert reply.addresses(3) == ["10.0.0.99"]
    assert reply.addresses(42) == ["10.0.0.8"]
    assert reply.options[26] == (1400).to_bytes(2)
    assert host.lease(5).addresses(3) == ["10.0.0.1"]


def test_an_option_that_is_none_does_not_stop_the_server(host: Host) -> None:
    host.bring(server(reserve(5, options=(("no-such-option", "x"), ("42", "no address")))))
    assert str(host.lease(5).address) == "10.0.0.5"


def test_a_second_nic_is_told_no_router(host: Host) -> None:
    host.bring(server(reserve(5, router=False)))
    assert 3 not in host.lease(5).options


def test_seventy_characters_of_hostname_still_get_a_lease(host: Host) -> None:
    host.bring(server(reserve(5, hostname="a" * 70), reserve(6, hostname="b" * 63)))
    assert str(host.lease(5).address) == "10.0.0.5"
    assert host.lease(6).options[12] == b"b" * 63


def test_an_endless_lease(host: Host) -> None:
    host.bring(server(reserve(5), lease_time=-1))
    assert host.lease(5).options[51] == b"\xff" * 4
    host.wait_for(host.held)
    assert [one.expires_at for one in host.book.live(BRIDGE).values()] == [None]
    host.kill()
    host.bring(server(reserve(5), lease_time=-1))
    assert host.held() == {"10.0.0.5": mac(5)}


def test_clones_with_one_client_id_have_each_its_own_address(host: Host) -> None:
    host.bring(server(reserve(5), reserve(6)))
    clones = [host.client(n, client_id=b"\xffsame") for n in (5, 6)]
    for clone in clones:
        assert clone.acquire()
    renewed = [clone.renew() for clone in clones]
    assert [(r.kind, str(r.address)) for r in renewed if r] == [
        (ACK, "10.0.0.5"),
        (ACK, "10.0.0.6"),
    ]


def test_a_stranger_gets_silence_and_no_nak(host: Host) -> None:
    host.bring(server(reserve(5)))
    stranger = host.client(99)
    assert stranger.discover(0.3) is None
    for ask in (stranger.reboot, stranger.rebind):
        assert ask("10.0.0.50", 0.3) is None
        assert ask("192.168.7.7", 0.3) is None


def test_a_vm_that_insists_on_a_wrong_address_is_told_no(host: Host) -> None:
    host.bring(server(reserve(5)))
    reply = host.client(5).reboot("10.0.0.50")
    assert reply
    assert reply.kind == NAK


def test_dns_is_on_our_addresses_only(host: Host) -> None:
    named = ((IPv4Address("10.0.0.77"), "db.novalocal"),)
    host.bring(server(reserve(5), names=named))
    listening = {line.split()[3] for line in run("ss", "-Hlun").splitlines()}
    assert listening == {"10.0.0.1:53", f"0.0.0.0%{BRIDGE}:67"}
    more = (*named, (IPv4Address("10.0.0.78"), "web.novalocal"))
    pid = host.pid()
    host.bring(server(reserve(5), names=more))
    assert host.pid() == pid
    hosts = {"db": "10.0.0.77", "web": "10.0.0.78"}
    for name, address in hosts.items():
        host.wait_for(partial(resolves, f"{name}.novalocal", address))


def resolves(name: str, address: str) -> bool:
    """Ask our server for an A record."""
    question = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(1)
        query = bytes.fromhex("123401000001000000000000") + question + bytes.fromhex("0000010001")
        asker.sendto(query, ("10.0.0.1", 53))
        return str(IPv4Address(asker.recv(512)[-4:])) == address


def test_five_thousand_reservations(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    many = {str(r.address): r for r in (reserve(n) for n in range(10, 5010))}
    want = replace(server(), reservations=many)
    started = time.monotonic()
    host.bring(want)
    told = [f"start with 5000: {time.monotonic() - started:.2f} s"]
    took = []
    for n in range(5010, 5050):
        one = reserve(n)
        client = host.client(one.mac)
        many = {**many, str(one.address): one}
        want = replace(want, reservations=many)
        created = time.monotonic()
        assert host.once(want) == []
        reply = client.discover()
        took.append(time.monotonic() - created)
        assert reply
        assert reply.address == one.address
    took.sort()
    told.append(f"create to answered: p50 {took[20] * 1e3:.1f} ms, most {took[-1] * 1e3:.1f} ms")
    started = time.monotonic()
    assert not host.differs(want)
    told.append(f"steady observe and diff: {(time.monotonic() - started) * 1e3:.1f} ms")
    host.start_agent()
    started = time.monotonic()
    assert not host.differs(want)
    told.append(f"adopt after an agent's restart: {time.monotonic() - started:.2f} s")
    with capsys.disabled():
        print("\n" + "\n".join(told))  # noqa: T201 - measured, not asserted
