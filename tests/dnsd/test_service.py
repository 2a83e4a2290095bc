"""One server's clients and names, over UDP."""

from __future__ import annotations

import random
import socket
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address

import pytest

from lessor.core.dhcp.limit import Limit
from lessor.core.dns.zone import entries, reserved, zone_of
from lessor.dnsd.messages import Header
from tests.agent.drivers.dnsmasq_host import BRIDGE, RANGE, Host, reserve, server
from tests.dnsd.asking import AT, addresses, ask, asker, code, query
from tests.dnsd.serving import Serving, serving

pytestmark = pytest.mark.lab

OTHER_CLIENT = "10.0.0.51"


def test_a_thousand_names_are_answered(served: Serving) -> None:
    served.bring(server(*(reserve(n) for n in range(2, 1002))))
    for n in range(2, 1002):
        found = addresses(ask(f"vm{n}.novalocal"))
        assert found == [str(IPv4Address("10.0.0.0") + n)]


def test_strangers_get_no_answer(served: Serving) -> None:
    served.bring(server(reserve(5)))
    assert ask("vm5.novalocal", source="192.0.2.9", timeout_s=0.3) is None
    assert addresses(ask("vm5.novalocal")) == ["10.0.0.5"]
    assert served.counts(BRIDGE)["strangers"] == 1


def test_a_name_comes_and_goes(served: Serving) -> None:
    served.bring(server(reserve(5)))
    assert code(ask("vm6.novalocal")) == "NXDOMAIN"
    new, old = tuple(reserved(reserve(6))), tuple(reserved(reserve(5)))
    served.do(lambda: served.host.change(BRIDGE, old, new, complete=True))
    assert addresses(ask("vm6.novalocal")) == ["10.0.0.6"]
    assert code(ask("vm5.novalocal")) == "NXDOMAIN"


def test_an_answer_is_as_new_as_the_names(served: Serving) -> None:
    served.bring(server(reserve(5)))
    old, new = tuple(reserved(reserve(5))), tuple(reserved(reserve(6, hostname="vm5")))
    for at, put, drop in (("10.0.0.6", new, old), ("10.0.0.5", old, new)) * 2:
        for _ in range(3):
            ask("vm5.novalocal")
        served.do(partial(served.host.change, BRIDGE, drop, put, complete=True))
        assert addresses(ask("vm5.novalocal")) == [at]


def test_equal_names_are_answered_another_one_first_each_time(served: Serving) -> None:
    served.bring(server(*(reserve(n, hostname="web") for n in range(2, 6))))
    firsts = set()
    for n in range(40):
        reply = ask(query("web.novalocal", id=n))
        assert reply
        firsts.add(reply.answer[0][0].address)
    assert len(firsts) == 4


def test_a_name_that_has_not_come_yet_is_not_denied(served: Serving) -> None:
    want = server(reserve(5), reserve(6))
    served.bring(want)
    some = tuple(entries(want))[:1]
    served.do(lambda: served.host.change(BRIDGE, some, (), complete=False))
    assert code(ask("vm5.novalocal")) == "SERVFAIL"
    assert addresses(ask("vm6.novalocal")) == ["10.0.0.6"]
    served.do(lambda: served.host.change(BRIDGE, (), some, complete=True))
    assert addresses(ask("vm5.novalocal")) == ["10.0.0.5"]


def test_other_settings_need_no_other_sockets(served: Serving) -> None:
    served.bring(server(reserve(5)))
    other = replace(RANGE, domain="example.org")
    header = Header(BRIDGE, "", zone_of(server(ranges=(other,))))
    served.do(lambda: served.host.open(header, []))
    assert code(ask("nobody.example.org")) == "NXDOMAIN"


def test_a_server_that_is_dropped_is_silent(served: Serving) -> None:
    served.bring(server(reserve(5)))
    assert code(ask("vm5.novalocal")) == "NOERROR"
    served.do(lambda: served.host.drop(BRIDGE))
    assert ask("vm5.novalocal", timeout_s=0.3) is None
    served.bring(server())
    assert code(ask("vm5.novalocal")) == "NXDOMAIN"


def test_a_flood_of_one_client_costs_that_client(host: Host) -> None:
    with serving(host.folder / "names.db", Limit(rate=10, burst=20)) as served:
        served.bring(server(reserve(5)))
        with asker() as flooding:
            for _ in range(100):
                flooding.sendto(query("vm5.novalocal").to_wire(), (AT, 53))
            assert addresses(ask("vm5.novalocal", source=OTHER_CLIENT)) == ["10.0.0.5"]
            flooding.settimeout(0.3)
            got = 0
            with suppress(TimeoutError):
                while flooding.recv(512):
                    got += 1
        assert 20 <= got <= 30
        time.sleep(0.5)
        assert addresses(ask("vm5.novalocal")) == ["10.0.0.5"]


def test_whatever_comes_it_goes_on(served: Serving) -> None:
    served.bring(server(reserve(5)))
    chance = random.Random(12)  # noqa: S311 - the same octets each time
    plain = query("vm5.novalocal", use_edns=0).to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((OTHER_CLIENT, 0))
        sock.setblocking(False)
        for _ in range(1500):
            data = bytearray(plain)
            for _ in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            sock.sendto(bytes(data), (AT, 53))
            sock.sendto(chance.randbytes(chance.randrange(80)), (AT, 53))
    replies = (ask("vm5.novalocal", timeout_s=1) for _ in range(10))  # the socket's buffer is full
    assert addresses(next(one for one in replies if one)) == ["10.0.0.5"]
