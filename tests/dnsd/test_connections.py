"""Clients over TCP: those that ask, and those that hold connections open."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from lessor.core.dns.answer import MAX_RECORDS
from lessor.dnsd import connections
from lessor.dnsd import host as hosts
from lessor.dnsd.clients import MAX_CONNECTIONS
from lessor.dnsd.loop import Loop
from tests.agent.drivers.dnsmasq_host import Host, reserve, server
from tests.dnsd.asking import AT, addresses, ask, ask_tcp, code, connect, query, receive, send
from tests.dnsd.serving import Serving, serving

pytestmark = pytest.mark.lab

OTHER_CLIENT = "10.0.0.51"


@pytest.fixture
def up(served: Serving) -> Serving:
    many = [reserve(n, hostname="many") for n in range(1000, 2000)]
    served.bring(server(reserve(5), *many))
    return served


@pytest.fixture
def hasty(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """One that closes idle connections soon, and has room for ten."""

    class Hasty(connections.Connections):
        def __init__(self, loop: Loop) -> None:
            super().__init__(loop, total=10, idle_s=0.3)

    monkeypatch.setattr(hosts, "Connections", Hasty)
    with serving(host.folder / "names.db") as made:
        made.bring(server(reserve(5)))
        yield made


def test_many_addresses_of_a_name_come_over_tcp(up: Serving) -> None:
    assert len(addresses(ask("many.novalocal"))) < 40
    assert len(addresses(ask_tcp("many.novalocal"))) == MAX_RECORDS


def test_several_questions_are_asked_at_once(up: Serving) -> None:
    with closing(connect()) as sock:
        for name in ("vm5.novalocal", "nobody.novalocal", "many.novalocal"):
            send(sock, query(name))
        assert addresses(receive(sock)) == ["10.0.0.5"]
        assert code(receive(sock)) == "NXDOMAIN"
        assert len(addresses(receive(sock))) == MAX_RECORDS


def test_a_question_comes_octet_by_octet(up: Serving) -> None:
    data = query("vm5.novalocal").to_wire()
    with closing(connect()) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in len(data).to_bytes(2) + data:
            sock.send(bytes((octet,)))
        assert addresses(receive(sock)) == ["10.0.0.5"]


def test_a_client_has_a_few_connections_and_others_theirs(up: Serving) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(closing(connect())) for _ in range(MAX_CONNECTIONS)]
        for sock in held:
            send(sock, query("vm5.novalocal"))
            assert receive(sock)
        further = stack.enter_context(closing(connect()))
        with suppress(ConnectionError):
            send(further, query("vm5.novalocal"))
        assert receive(further) is None
        assert addresses(ask_tcp("vm5.novalocal", OTHER_CLIENT)) == ["10.0.0.5"]


def test_a_connection_that_is_silent_is_closed(hasty: Serving) -> None:
    with closing(connect()) as idle, closing(connect()) as begun:
        begun.sendall(b"\0")
        assert receive(idle) is None
        assert receive(begun) is None
    assert addresses(ask_tcp("vm5.novalocal")) == ["10.0.0.5"]


def test_where_there_are_too_many_the_idlest_is_closed(host: Host, hasty: Serving) -> None:
    sources = [f"10.0.1.{n}" for n in range(1, 13)]
    for source in sources:
        os.system(f"ip addr add {source}/32 dev lo")  # noqa: S605 - in a namespace of the test
    with ExitStack() as stack:
        socks = [stack.enter_context(closing(connect(source))) for source in sources]
        send(socks[-1], query("vm5.novalocal"))
        assert addresses(receive(socks[-1])) == ["10.0.0.5"]
        assert receive(socks[0]) is None


def test_a_client_that_takes_no_answers_is_closed(up: Serving) -> None:
    with closing(connect()) as sock:
        sock.setblocking(False)
        data = query("many.novalocal").to_wire()
        with suppress(BlockingIOError, ConnectionError):
            for _ in range(2000):
                sock.send(len(data).to_bytes(2) + data)
        sock.settimeout(20)
        with suppress(ConnectionError):
            while sock.recv(1 << 20):
                pass
    assert addresses(ask_tcp("vm5.novalocal", OTHER_CLIENT)) == ["10.0.0.5"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xff" + b"x" * 100, id="a-length-that-no-question-has"),
        pytest.param(b"\0\0", id="a-length-of-0"),
        pytest.param(b"\0\5hello", id="no-question"),
    ],
)
def test_what_is_no_question_ends_the_connection(up: Serving, data: bytes) -> None:
    with closing(connect()) as sock:
        sock.sendall(data)
        assert receive(sock) is None


def test_a_stranger_gets_no_connection(up: Serving) -> None:
    with closing(connect("192.0.2.9", AT)) as sock, suppress(ConnectionError):
        send(sock, query("vm5.novalocal"))
        assert receive(sock) is None
