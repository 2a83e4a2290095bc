"""What a DHCP server's start asks the store, over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lessor.agent.server.client import Client
from lessor.core.leases import LiveLease
from lessor.model import Lease
from lessor.wire import encode

FIVE = LiveLease(IPv4Address("10.0.0.5"), "fa:16:3e:00:00:05", 2e9, "vm5", "01:02")


class Store(ThreadingHTTPServer):
    """Knows the leases of network "blue"; can be broken."""

    daemon_threads = True
    broken = False
    asked = 0


class _Answer(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        self.server.asked += 1
        address = urlsplit(self.path)
        assert (address.path, self.headers["Authorization"]) == (
            "/agent/v1/leases",
            "Bearer secret",
        )
        known = parse_qs(address.query) == {"network": ["blue"]}
        self.send_response(503 if self.server.broken else 200 if known else 404)
        self.end_headers()
        if known:
            lease = Lease(
                id="l1",
                network_id="blue",
                host="h1",
                address=FIVE.address,
                mac_address=FIVE.mac,
                hostname=FIVE.hostname,
                client_id=FIVE.client_id,
                expires_at=FIVE.expires_at,
            )
            self.wfile.write(encode([lease]))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(("127.0.0.1", 0), _Answer) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def client(store: Store, tmp_path: Path) -> Iterator[Client]:
    token = tmp_path / "token"
    token.write_text("secret\n")
    made = Client([f"http://127.0.0.1:{store.server_port}"], token)
    yield made
    made._quick.close()


def test_leases_are_those_of_all_networks_asked_for(client: Client) -> None:
    assert client.known_leases(["blue", "red"]) == [FIVE]
    assert client.known_leases(["red"]) == []


def test_a_server_that_fails_is_not_asked_again_for_a_while(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.broken = True
    assert client.known_leases(["blue"]) is None
    store.broken = False
    assert client.known_leases(["blue"]) is None
    assert store.asked == 1
    monkeypatch.setattr(client, "_away_until", 0.0)
    assert client.known_leases(["blue"]) == [FIVE]
