"""The listeners on loopback: real sockets, real uvicorn, requests from 127.0.0.x."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPConnection
from ipaddress import IPv4Address

import pytest

from lessor.core.diff import Changes, diff
from lessor.core.state import MetadataListener
from lessor.errors import Conflict, Pending
from lessor.metadata import server as bounds
from lessor.metadata.listeners import MetadataListeners
from lessor.metadata.server import BoundedProtocol
from tests.metadata.metadata_fakes import FakeServer, app, free_port, running_loop, vm

HERE = IPv4Address("127.0.0.1")
NAME = "/latest/meta-data/hostname"
NETWORKS = ("blue",)


@pytest.fixture
def listeners() -> Iterator[MetadataListeners]:
    server = FakeServer([vm("a", "blue", HERE), vm("b", "red", HERE)])
    with running_loop() as loop:
        made = MetadataListeners(app(server), loop)
        yield made
        made.close()


@pytest.fixture
def listener(listeners: MetadataListeners) -> MetadataListener:
    made = MetadataListener("lo", free_port(), NETWORKS)
    listeners.apply(Changes(create=(made,)))
    return made


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
    [served] = listeners._open["lo"].server.server_state.connections
    held = served.transport.get_extra_info("socket")
    assert held.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    asking.close()


def test_another_port_replaces_the_listener(
    listeners: MetadataListeners, listener: MetadataListener
) -> None:
    moved = MetadataListener("lo", free_port(), NETWORKS)
    listeners.apply(diff({"lo": moved}, listeners.observe()))
    assert get(moved.port)[0] == 200
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


def test_listener_whose_server_died_is_opened_again(
    listeners: MetadataListeners, listener: MetadataListener
) -> None:
    task = listeners._open["lo"].server._task
    assert task is not None
    listeners._loop.call_soon_threadsafe(task.cancel)
    wait_for(lambda: not listeners.observe())
    listeners.apply(diff({"lo": listener}, listeners.observe()))
    assert get(listener.port)[0] == 200


def test_missing_interface_is_pending_and_the_others_are_served(
    listeners: MetadataListeners,
) -> None:
    there = MetadataListener("lo", free_port(), NETWORKS)
    missing = MetadataListener("br-none", there.port, NETWORKS)
    with pytest.raises(ExceptionGroup) as caught:
        listeners.apply(Changes(create=(missing, there)))
    assert [type(error) for error in caught.value.exceptions] == [Pending]
    assert caught.group_contains(Pending, match="no interface br-none yet")
    assert listeners.observe() == {"lo": there}


def test_taken_port_is_a_conflict_that_names_it(listeners: MetadataListeners) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        wanted = MetadataListener("lo", port, NETWORKS)
        with pytest.raises(ExceptionGroup) as caught:
            listeners.apply(Changes(create=(wanted,)))
        assert caught.group_contains(Conflict, match=f"lo port {port}: another program")
    listeners.apply(Changes(create=(wanted,)))
    assert get(port)[0] == 200


def test_one_client_holds_only_so_many_connections(listener: MetadataListener) -> None:
    held = [
        socket.create_connection(
            ("127.0.0.1", listener.port), source_address=("127.0.0.3", 0), timeout=5
        )
        for _ in range(bounds.CONNECTIONS_OF_ONE)
    ]
    extra = socket.create_connection(
        ("127.0.0.1", listener.port), source_address=("127.0.0.3", 0), timeout=5
    )
    assert is_cut(extra)
    assert get(listener.port) == (200, "a.novalocal")
    for connection in (*held, extra):
        connection.close()


def test_all_clients_hold_only_so_many_connections(
    listener: MetadataListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "CONNECTIONS", 2)
    held = [socket.create_connection(("127.0.0.1", listener.port), timeout=5) for _ in range(3)]
    assert is_cut(held[2])
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", id="half-a-header"),
        pytest.param(
            b"POST /openstack/latest/password HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
            id="half-a-body",
        ),
    ],
)
def test_slow_client_is_cut_off(
    listener: MetadataListener, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(BoundedProtocol, "answer_s", 0.1)
    with socket.create_connection(("127.0.0.1", listener.port)) as slow:
        slow.sendall(sent)
        assert is_cut(slow)


def test_client_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "answer_s", 0.1)
    facts = vm("a", "blue", HERE)
    assert facts.instance is not None
    large = replace(facts.instance, user_data="A" * (16 << 20))
    with running_loop() as loop:
        listeners = MetadataListeners(app(FakeServer([replace(facts, instance=large)])), loop)
        made = MetadataListener("lo", free_port(), NETWORKS)
        listeners.apply(Changes(create=(made,)))
        connections = listeners._open["lo"].server.server_state.connections
        with socket.create_connection(("127.0.0.1", made.port)) as deaf:
            deaf.sendall(b"GET /latest/user-data HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: bool(connections))
            wait_for(lambda: not connections)
        listeners.close()


def test_headers_have_a_size(listener: MetadataListener) -> None:
    with socket.create_connection(("127.0.0.1", listener.port)) as asking:
        asking.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"x" * bounds.HEADERS * 2)
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
