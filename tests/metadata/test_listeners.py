"""The listeners on loopback: real sockets, real uvicorn, requests from 127.0.0.x."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from ipaddress import IPv4Address, IPv4Network

import pytest

from lessor.core.diff import Changes, diff
from lessor.core.state import MetadataListener
from lessor.errors import Conflict, Pending
from lessor.metadata import reception as bounds
from lessor.metadata.listeners import MetadataListeners
from lessor.metadata.messages import ANSWER_S, HEAD_S, HEADERS
from lessor.metadata.port_lookup import Ports
from lessor.model import AddressPair, MetadataFacts
from tests.metadata.metadata_fakes import (
    FakeServer,
    Loopback,
    app,
    mac_of,
    ports,
    running_loop,
    vm,
)
from tests.ports import Port

HERE = IPv4Address("127.0.0.1")
NAME = "/latest/meta-data/hostname"
NETWORKS = ("blue",)


@pytest.fixture
def listeners() -> Iterator[MetadataListeners]:
    server = FakeServer([vm("a", "blue", HERE), vm("b", "red", HERE)])
    with running_loop() as loop:
        made = MetadataListeners(app(server).process(), loop, ports(*server.vms), Loopback)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def listener(listeners: MetadataListeners) -> Iterator[MetadataListener]:
    with Port() as port:
        made = MetadataListener("lo", port, NETWORKS)
        listeners.apply(Changes(create=(made,)))
        yield made


@contextmanager
def serving(
    *vms: MetadataFacts,
    known: Ports | None = None,
    callers: Callable[[str, str], Loopback] = Loopback,
    head_s: float = HEAD_S,
    answer_s: float = ANSWER_S,
) -> Iterator[tuple[MetadataListeners, MetadataListener]]:
    """Serve these VMs on loopback; `known`: the ports, else theirs."""
    with running_loop() as loop, Port() as port:
        process = app(FakeServer(list(vms)), head_s=head_s, answer_s=answer_s).process()
        listeners = MetadataListeners(process, loop, known or ports(*vms), callers)
        made = MetadataListener("lo", port, NETWORKS)
        try:
            listeners.apply(Changes(create=(made,)))
            yield listeners, made
        finally:
            listeners.close()


def get(port: int, source: str = "127.0.0.1", **headers: str) -> tuple[int, str]:
    asking = HTTPConnection("127.0.0.1", port, timeout=5, source_address=(source, 0))
    try:
        return on(asking, **headers)
    finally:
        asking.close()


def on(asking: HTTPConnection, **headers: str) -> tuple[int, str]:
    asking.request("GET", NAME, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = asking.getresponse()
    return answer.status, answer.read().decode()


def is_cut(held: socket.socket) -> bool:
    """Wait for the other end to close or reset."""
    held.settimeout(5)
    try:
        return held.recv(1) == b""
    except ConnectionResetError:
        return True


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_listener_answers_and_second_pass_has_nothing_to_do(
    listeners: MetadataListeners, listener: MetadataListener
) -> None:
    assert get(listener.port) == (200, "a.novalocal")
    assert get(listener.port, source="127.0.0.2")[0] == 404
    assert not diff({"lo": listener}, listeners.observe())


def test_uvicorn_believes_no_header_of_a_local_client(listener: MetadataListener) -> None:
    assert get(listener.port, X_Forwarded_For="127.0.0.2") == (200, "a.novalocal")
    assert get(listener.port, source="127.0.0.2", X_Forwarded_For="127.0.0.1")[0] == 404


def test_other_networks_are_served_over_the_same_connection(
    listeners: MetadataListeners, listener: MetadataListener
) -> None:
    asking = HTTPConnection("127.0.0.1", listener.port, timeout=5)
    assert on(asking) == (200, "a.novalocal")
    held = asking.sock
    changed = MetadataListener("lo", listener.port, ("red",))
    listeners.apply(diff({"lo": changed}, listeners.observe()))
    assert on(asking) == (200, "b.novalocal")
    assert asking.sock is held
    assert listeners.observe() == {"lo": changed}
    asking.close()


def test_no_answer_waits_for_the_client_to_acknowledge_its_headers(
    listeners: MetadataListeners, listener: MetadataListener
) -> None:
    asking = HTTPConnection("127.0.0.1", listener.port, timeout=5)
    on(asking)
    [visit] = listeners._open["lo"].reception._open
    assert visit.kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    asking.close()


def test_another_port_replaces_the_listener(
    listeners: MetadataListeners, listener: MetadataListener
) -> None:
    with Port() as port:
        moved = MetadataListener("lo", port, NETWORKS)
        listeners.apply(diff({"lo": moved}, listeners.observe()))
        assert get(port)[0] == 200
    with pytest.raises(ConnectionRefusedError):
        get(listener.port)


def test_deleted_listener_is_closed_with_its_idle_connections(
    listeners: MetadataListeners, listener: MetadataListener
) -> None:
    idle = socket.create_connection(("127.0.0.1", listener.port))
    listeners.apply(diff({}, listeners.observe()))
    assert is_cut(idle)
    idle.close()
    assert listeners.observe() == {}
    with pytest.raises(ConnectionRefusedError):
        get(listener.port)


def test_listener_whose_socket_was_closed_is_opened_again(
    listeners: MetadataListeners, listener: MetadataListener
) -> None:
    listeners._loop.call_soon_threadsafe(listeners._open["lo"].door.close)
    wait_for(lambda: not listeners.observe())
    listeners.apply(diff({"lo": listener}, listeners.observe()))
    assert get(listener.port)[0] == 200


def test_missing_interface_is_pending_and_the_others_are_served(
    listeners: MetadataListeners,
) -> None:
    with Port() as port:
        there = MetadataListener("lo", port, NETWORKS)
        missing = MetadataListener("br-none", port, NETWORKS)
        with pytest.raises(ExceptionGroup) as caught:
            listeners.apply(Changes(create=(missing, there)))
        assert [type(error) for error in caught.value.exceptions] == [Pending]
        assert caught.group_contains(Pending, match="no interface br-none yet")
        assert listeners.observe() == {"lo": there}


def test_taken_port_is_a_conflict_that_names_it(listeners: MetadataListeners) -> None:
    with Port() as port:
        wanted = MetadataListener("lo", port, NETWORKS)
        with socket.create_server(("127.0.0.1", port)), pytest.raises(ExceptionGroup) as caught:
            listeners.apply(Changes(create=(wanted,)))
        assert caught.group_contains(Conflict, match=f"lo port {port}: another program")
        listeners.apply(Changes(create=(wanted,)))
        assert get(port)[0] == 200


def connected(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), source_address=(source, 0), timeout=5)


def is_turned_away(port: int, source: str) -> bool:
    """Tell whether a new connection is reset: at once, or when it reads."""
    try:
        with connected(port, source) as made:
            return is_cut(made)
    except ConnectionResetError:
        return True


def test_one_port_holds_only_so_many_connections(listener: MetadataListener) -> None:
    held = [connected(listener.port, "127.0.0.3") for _ in range(bounds.CONNECTIONS_OF_ONE)]
    assert is_turned_away(listener.port, "127.0.0.3")
    assert get(listener.port) == (200, "a.novalocal")
    for connection in held:
        connection.close()


def test_addresses_of_one_port_share_its_connections() -> None:
    """A port with pairs has as many connections as one without."""
    facts = vm("a", "blue", HERE)
    pairs = tuple(
        AddressPair(IPv4Network(f"127.0.1.{n}"), mac_of(f"127.0.1.{n}")) for n in range(30)
    )
    flooding = replace(facts, port=replace(facts.port, allowed_address_pairs=pairs))
    with serving(facts, known=ports(flooding)) as (_, made):
        held = [connected(made.port, f"127.0.1.{n}") for n in range(bounds.CONNECTIONS_OF_ONE)]
        assert is_turned_away(made.port, "127.0.1.29")
        assert get(made.port, source="127.0.0.9")[0] == 404  # no port's; those are counted apart
        for connection in held:
            connection.close()


def test_a_flood_of_one_port_costs_that_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "CONNECTIONS", 4)
    facts = vm("a", "blue", HERE)
    pair = AddressPair(IPv4Network("127.0.0.3"), mac_of("127.0.0.3"))
    quiet, flooding = (
        facts.port,
        replace(
            facts.port,
            id="other",
            mac_address="fa:16:3e:00:00:07",
            fixed_ips=(),
            allowed_address_pairs=(pair,),
        ),
    )
    known = ports(replace(facts, port=quiet), replace(facts, port=flooding))
    with serving(facts, known=known) as (listeners, made):
        held = [connected(made.port, "127.0.0.3") for _ in range(4)]
        wait_for(lambda: len(listeners._open["lo"].reception._open) == 4)
        assert get(made.port) == (200, "a.novalocal")
        assert is_cut(held[0])
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("limits", "sent"),
    [
        pytest.param((0.1, ANSWER_S), b"", id="nothing"),
        pytest.param((0.1, ANSWER_S), b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", id="half-a-header"),
        pytest.param(
            (HEAD_S, 0.1),
            b"POST /openstack/latest/password HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
            id="half-a-body",
        ),
    ],
)
def test_slow_client_is_cut_off(limits: tuple[float, float], sent: bytes) -> None:
    head_s, answer_s = limits
    with (
        serving(vm("a", "blue", HERE), head_s=head_s, answer_s=answer_s) as (_, listener),
        socket.create_connection(("127.0.0.1", listener.port)) as slow,
    ):
        slow.sendall(sent)
        assert is_cut(slow)


def test_client_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "DRAIN_S", 0.1)
    facts = vm("a", "blue", HERE)
    assert facts.instance is not None
    large = replace(facts, instance=replace(facts.instance, user_data="A" * (16 << 20)))
    with serving(large, answer_s=0.5) as (listeners, made):
        connections = listeners._open["lo"].reception._open
        with socket.create_connection(("127.0.0.1", made.port)) as deaf:
            deaf.sendall(b"GET /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: bool(connections))
            wait_for(lambda: not connections)


def test_a_caller_is_held_until_what_was_sent_is_acknowledged() -> None:
    """Else who takes its address then would get the rest."""
    facts = vm("a", "blue", HERE)
    assert facts.instance is not None
    some = replace(facts, instance=replace(facts.instance, user_data="A" * 40_000))
    known: list[Loopback] = []

    def callers(interface: str, namespace: str) -> Loopback:
        known.append(Loopback(interface, namespace))
        return known[0]

    with serving(some, callers=callers) as (listeners, made):
        visits = listeners._open["lo"].reception._open
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            slow.settimeout(5)
            slow.connect(("127.0.0.1", made.port))
            slow.sendall(b"GET /latest/user-data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            wait_for(lambda: any(visit.until for visit in list(visits)))
            assert known[0].held[HERE] == 1
            told = b"".join(iter(lambda: slow.recv(4096), b""))
            assert len(told) > 30_000
        wait_for(lambda: not known[0].held[HERE])
        assert not visits


def test_headers_have_a_size(listener: MetadataListener) -> None:
    with socket.create_connection(("127.0.0.1", listener.port)) as asking:
        asking.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"x" * HEADERS * 2)
        asking.settimeout(5)
        assert asking.recv(64).startswith(b"HTTP/1.1 400 ")


def test_nonsense_and_upgrades_do_not_reach_the_log(
    listener: MetadataListener, caplog: pytest.LogCaptureFixture
) -> None:
    assert get(listener.port, Connection="Upgrade", Upgrade="websocket")[0] == 200
    with socket.create_connection(("127.0.0.1", listener.port)) as asking:
        asking.sendall(b"\x16\x03\x01\r\n\r\n")
        asking.settimeout(5)
        assert asking.recv(64).startswith(b"HTTP/1.1 400 ")
    assert not [record for record in caplog.records if record.name != "asyncio"]


def test_large_password_body_is_refused_before_it_is_sent(listener: MetadataListener) -> None:
    head = (
        b"POST /openstack/latest/password HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", listener.port)) as asking:
        asking.sendall(head + b"x" * 4096)
        asking.settimeout(5)
        assert asking.recv(64).startswith(b"HTTP/1.1 400 ")
