"""What DNS answers of VMs: by a real dnsmasq, with an upstream that notes what it is asked."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from lessor.agent.drivers.dnsmasq import server as dnsmasq_server
from tests.agent.drivers.dnsmasq_host import (
    BRIDGE,
    RANGE,
    Host,
    host_in_namespace,
    mac,
    reserve,
    server,
)

pytestmark = pytest.mark.lab

A, PTR, AAAA = 1, 12, 28
NOERROR, NXDOMAIN = 0, 3
UPSTREAM = "192.0.2.9"  # the operator's own address on the bridge
ANSWER_S = 5


@dataclass(frozen=True)
class Answer:
    code: int
    addresses: tuple[str, ...] = ()


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        yield made


@pytest.fixture
def upstream(host: Host) -> Iterator[socket.socket]:
    del host  # its namespace is entered first
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((UPSTREAM, 53))
        yield silent


def query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    return bytes.fromhex("123401000001000000000000") + labels + b"\0" + kind.to_bytes(2) + b"\0\1"


def ask(name: str, kind: int = A, at: str = "10.0.0.1") -> Answer:
    """Ask our server. It answers by itself: nobody upstream ever does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(ANSWER_S)
        asker.sendto(query(name, kind), (at, 53))
        reply = asker.recv(512)
    found = []
    rest = reply[len(query(name, kind)) :]
    while rest:  # each answer: a pointer to the name, type, class, TTL, length, data
        length = int.from_bytes(rest[10:12])
        if int.from_bytes(rest[2:4]) == A:
            found.append(str(IPv4Address(rest[12 : 12 + length])))
        rest = rest[12 + length :]
    return Answer(reply[3] & 15, tuple(sorted(found)))


def is_asked(upstream: socket.socket, name: str, kind: int = A) -> bool:
    """Tell whether our server asks upstream for this; it is asked itself, and not waited for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.sendto(query(name, kind), ("10.0.0.1", 53))
        ready, _, _ = select.select([upstream, asker], [], [], ANSWER_S)
    assert ready, "neither answered nor asked"
    return upstream in ready and name.partition(".")[0].encode() in upstream.recv(512).lower()


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        pytest.param("vm5.novalocal", AAAA, NOERROR, id="a-vms-own-aaaa"),
        pytest.param("nobody.novalocal", A, NXDOMAIN, id="a-name-that-no-vm-has"),
        pytest.param("nobody", A, NXDOMAIN, id="a-name-without-a-dot"),
        pytest.param("9.0.0.10.in-addr.arpa", PTR, NXDOMAIN, id="an-address-that-no-vm-has"),
    ],
)
def test_what_is_ours_is_never_asked_upstream(
    host: Host, upstream: socket.socket, name: str, kind: int, code: int
) -> None:
    host.bring(server(reserve(5), upstream_dns=(UPSTREAM,)))
    assert is_asked(upstream, "example.org"), "the rest of the world is"
    assert not is_asked(upstream, name, kind)
    assert ask(name, kind) == Answer(code)


def test_a_domain_that_others_know_too_is_asked_upstream(
    host: Host, upstream: socket.socket
) -> None:
    ranges = (replace(RANGE, domain="example.org"),)
    known = {"ranges": ranges, "upstream_dns": (UPSTREAM,), "forwarded": ("example.org",)}
    host.bring(server(reserve(5, domain="example.org"), **known))
    assert is_asked(upstream, "www.example.org")
    assert ask("vm5.example.org") == Answer(NOERROR, ("10.0.0.5",))


def test_a_reserved_name_resolves_without_a_lease_and_without_a_restart(host: Host) -> None:
    host.bring(server(reserve(5)))
    pid = host.pid()
    assert ask("vm5.novalocal") == Answer(NOERROR, ("10.0.0.5",))
    host.bring(server(reserve(5), reserve(6)))
    host.wait_for(lambda: ask("vm6.novalocal") == Answer(NOERROR, ("10.0.0.6",)))
    assert ask("vm6") == Answer(NOERROR, ("10.0.0.6",))
    assert host.pid() == pid


def test_names_of_new_ports_are_gathered_in_one_file(host: Host) -> None:
    host.names = False
    host.bring(server(reserve(5)))
    pid, names = host.pid(), host.root / BRIDGE / "names"
    before = set(names.iterdir())
    for last in (6, 7, 8):
        host.bring(server(*map(reserve, range(5, last + 1))))
        assert host.lease(last), "it waits for no name"
    assert set(names.iterdir()) == before
    assert ask("vm9.novalocal") == Answer(NXDOMAIN)
    host.bring(server(*map(reserve, range(5, 10))))
    assert host.driver.write_names() is False, "nothing to look at"
    host.wait_for(lambda: ask("vm9.novalocal") == Answer(NOERROR, ("10.0.0.9",)))
    assert len(set(names.iterdir()) - before) == 1
    host.driver.verify()
    host.bring(server(*map(reserve, range(5, 10))))
    assert host.pid() == pid


def test_the_more_dnsmasq_has_to_go_through_the_rarer_names_come(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dnsmasq_server, "WALK_S", 1.0)
    now = time.monotonic()
    host.clock = lambda: now
    host.bring(server(reserve(5)))
    assert host.lease(5)
    host.wait_for(lambda: mac(5) in host.held().values())
    host.bring(server(reserve(5), reserve(6)))
    host.wait_for(lambda: ask("vm6.novalocal") == Answer(NOERROR, ("10.0.0.6",)))
    host.bring(server(reserve(5), reserve(6), reserve(7)))
    assert host.lease(7), "it is served all the same"
    names = host.root / BRIDGE / "names"
    assert not any("vm7" in path.read_text() for path in names.iterdir())
    now += dnsmasq_server.MAX_NAMES_S
    host.driver.write_names()
    assert any("vm7" in path.read_text() for path in names.iterdir())


def test_names_that_an_agent_did_not_come_to_are_written_by_the_next(host: Host) -> None:
    host.names = False
    host.bring(server(reserve(5)))
    host.bring(server(reserve(5), reserve(6)))
    pid = host.pid()
    host.start_agent()
    host.bring(server(reserve(5), reserve(6)))
    host.driver.write_names()
    host.wait_for(lambda: ask("vm6.novalocal") == Answer(NOERROR, ("10.0.0.6",)))
    assert host.pid() == pid


def test_the_name_of_a_deleted_port_is_nobodys(host: Host) -> None:
    host.bring(server(reserve(5), reserve(6)))
    host.bring(server(reserve(5), reserve(6), reserve(7)))
    assert host.lease(7)
    pid = host.pid()
    host.bring(server(reserve(5)))
    host.wait_for(lambda: ask("vm6.novalocal") == Answer(NXDOMAIN))
    host.wait_for(lambda: ask("vm7.novalocal") == Answer(NXDOMAIN))
    assert ask("vm5.novalocal") == Answer(NOERROR, ("10.0.0.5",))
    assert host.pid() == pid


def test_a_changed_name_replaces_the_former(host: Host) -> None:
    host.bring(server(reserve(5)))
    host.bring(server(reserve(5, hostname="web")))
    host.wait_for(lambda: ask("web.novalocal") == Answer(NOERROR, ("10.0.0.5",)))
    host.wait_for(lambda: ask("vm5.novalocal") == Answer(NXDOMAIN))


def test_vms_of_one_name_are_all_found_by_it(host: Host) -> None:
    host.bring(server(reserve(5, hostname="web"), reserve(6, hostname="web")))
    for n in (5, 6):
        assert host.lease(n)
    assert ask("web.novalocal") == Answer(NOERROR, ("10.0.0.5", "10.0.0.6"))


def test_a_new_agent_takes_the_names_as_they_are(host: Host) -> None:
    host.bring(server(reserve(5)))
    host.bring(server(reserve(5), reserve(6)))
    pid = host.pid()
    host.start_agent()
    assert not host.differs(server(reserve(5), reserve(6)))
    assert host.pid() == pid


OTHER = replace(
    RANGE,
    subnet_id="s2",
    network_id="n2",
    cidr=IPv4Network("10.1.0.0/24"),
    server=IPv4Address("10.1.0.1"),
    start=IPv4Address("10.1.0.2"),
    router=IPv4Address("10.1.0.1"),
)


def test_a_name_is_that_of_the_own_networks_vm_whatever_others_call_theirs(host: Host) -> None:
    mine = reserve(5, hostname="db")
    theirs = replace(
        reserve(9, hostname="db"), network_id="n2", subnet_id="s2", address=IPv4Address("10.1.0.9")
    )
    only = replace(
        theirs, port_id="p8", mac=mac(8), address=IPv4Address("10.1.0.8"), hostname="web"
    )
    host.bring(server(mine, theirs, only, ranges=(RANGE, OTHER)))
    for name in ("db", "db.novalocal"):
        assert ask(name) == Answer(NOERROR, ("10.0.0.5",))
        assert ask(name, at="10.1.0.1") == Answer(NOERROR, ("10.1.0.9",))
    assert ask("web.novalocal") == Answer(NOERROR, ("10.1.0.8",))
    assert str(host.lease(5).address) == "10.0.0.5"  # a lease changes nothing of it
    assert ask("db", at="10.1.0.1") == Answer(NOERROR, ("10.1.0.9",))
    assert ask("db") == Answer(NOERROR, ("10.0.0.5",))
