"""The agents' listener: tokens, views with long polls, reports, leases, metadata."""

from __future__ import annotations

import threading
import time
from ipaddress import IPv4Address
from typing import Any

import httpx
import pytest

from lessor import wire
from lessor.model import (
    Holdings,
    LeaseBatch,
    LeaseEvent,
    MetadataFacts,
    Report,
    ViewAnswer,
    ViewRequest,
)

Server = Any  # tests/api/conftest.py
Token = dict[str, str]
CALLS = [
    ("GET", "/agent/v1/ping"),
    ("POST", "/agent/v1/view"),
    ("POST", "/agent/v1/report"),
    ("POST", "/agent/v1/leases"),
    ("POST", "/agent/v1/holdings"),
    ("POST", "/agent/v1/password"),
    ("GET", "/agent/v1/metadata?network=x&address=10.0.0.2"),
]
BODY = b'{"run_id": "r", "epoch": "e", "instance_id": "i", "password": "p"}'


def view(server: Server, token: Token, request: ViewRequest) -> ViewAnswer:
    answer = server.agents.post("/agent/v1/view", content=wire.encode(request), headers=token)
    assert answer.status_code == 200, answer.text
    return wire.decode(answer.content, ViewAnswer)


def send(server: Server, token: Token, what: str, value: object) -> httpx.Response:
    content = wire.encode(value)
    answer: httpx.Response = server.agents.post(f"/agent/v1/{what}", content=content, headers=token)
    return answer


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}, {"Authorization": ""}],
    ids=["none", "wrong", "other-scheme", "empty"],
)
def test_without_the_right_token_an_agent_sees_nothing(
    shared: Server, method: str, path: str, headers: Token
) -> None:
    content = BODY if method == "POST" else None
    answer = shared.agents.request(method, path, content=content, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["NeutronError"]["type"] == "Unauthorized"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_token_of_a_deleted_host_is_worthless(server: Server) -> None:
    token = server.token("h1")
    assert server.agents.get("/agent/v1/ping", headers=token).json()["host"] == "h1"
    server.api.delete("/v2.0/hosts/h1")
    assert server.agents.get("/agent/v1/ping", headers=token).status_code == 401


def test_a_new_token_ends_the_former_one_whatever_the_host_has(server: Server) -> None:
    token = server.token("h1")
    network, _ = server.network(**{"lessor:multi_host": True})
    server.make("port", network_id=network["id"], **{"binding:host_id": "h1"})
    assert server.agents.get("/agent/v1/ping", headers=token).status_code == 200
    answer = server.api.post("/v2.0/hosts/h1/token")
    assert answer.status_code == 200
    made = answer.json()["host"]
    assert made["name"] == "h1"
    new = {"Authorization": f"Bearer {made['token']}"}
    assert new != token
    assert server.agents.get("/agent/v1/ping", headers=token).status_code == 401
    assert server.agents.get("/agent/v1/ping", headers=new).json()["host"] == "h1"
    assert server.api.post("/v2.0/hosts/nobody/token").status_code == 404


def test_users_and_agents_do_not_share_a_listener(server: Server) -> None:
    token = server.token("h1")
    assert server.agents.get("/v2.0/networks", headers=token).status_code == 404
    assert server.api.get("/agent/v1/ping", headers=token).status_code == 404


@pytest.fixture(scope="module")
def known(shared: Server) -> Token:
    token: Token = shared.token("known")
    return token


@pytest.mark.parametrize("what", ["view", "report", "leases", "holdings", "password"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"epoch": 5, "run_id": 5}'])
def test_an_agents_body_that_makes_no_sense_is_refused(
    shared: Server, known: Token, what: str, content: bytes
) -> None:
    answer = shared.agents.post(f"/agent/v1/{what}", content=content, headers=known)
    assert answer.status_code == 400


def test_a_view_has_what_concerns_the_host(server: Server) -> None:
    token = server.token("h1")
    network, _ = server.network(**{"lessor:multi_host": True})
    port = server.make("port", network_id=network["id"], **{"binding:host_id": "h1"})

    answer = view(server, token, ViewRequest())

    assert answer.epoch == server.store.epoch
    (scope,) = answer.scopes.values()
    assert scope.whole
    assert scope.network is not None
    assert scope.network.id == network["id"]
    assert port["id"] in {known.id for known in scope.ports}
    other = server.token("h2")
    assert view(server, other, ViewRequest()).scopes == {}


class Poll:
    """A long poll in a thread."""

    def __init__(self, server: Server, token: Token, request: ViewRequest) -> None:
        self.answer: ViewAnswer | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(server, token, request))
        self._thread.start()

    def _run(self, server: Server, token: Token, request: ViewRequest) -> None:
        try:
            self.answer = view(server, token, request)
        except Exception as error:  # noqa: BLE001 - the test asks which it was
            self.error = error
        self.ended = time.monotonic()

    def join(self, timeout_s: float = 10) -> None:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the long poll still waits"

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()


def waiting(server: Server, token: Token, wait_s: float) -> Poll:
    """Start a long poll of an agent that has all there is."""
    seen = view(server, token, ViewRequest())
    cursors = dict.fromkeys(seen.scopes, seen.revision)
    return Poll(server, token, ViewRequest(epoch=seen.epoch, cursors=cursors, wait_s=wait_s))


@pytest.mark.parametrize("how", ["renewed", "deleted"])
def test_a_poll_that_waits_ends_with_its_token(server: Server, how: str) -> None:
    token = server.token("h1")
    network, _ = server.network(**{"lessor:multi_host": True})
    poll = waiting(server, token, 8)
    if how == "renewed":
        server.api.post("/v2.0/hosts/h1/token")
    else:
        server.api.delete("/v2.0/hosts/h1")
        server.token("h1")
        server.make("port", network_id=network["id"], **{"binding:host_id": "h1"})
    poll.join()
    assert poll.answer is None
    assert "401" in str(poll.error)


def test_a_change_wakes_the_host_it_concerns_and_no_other(server: Server) -> None:
    token, other = server.token("h1"), server.token("h2")
    network, _ = server.network(**{"lessor:multi_host": True})
    server.make("port", network_id=network["id"], **{"binding:host_id": "h1"})
    concerned = waiting(server, token, 8)
    unconcerned = waiting(server, other, 1.5)

    start = time.monotonic()
    port = server.make("port", network_id=network["id"], **{"binding:host_id": "h1"})
    concerned.join()

    assert concerned.ended - start < 1
    assert concerned.answer is not None
    (change,) = concerned.answer.scopes.values()
    assert port["id"] in {known.id for known in change.ports}
    unconcerned.join()
    assert unconcerned.answer is not None
    assert unconcerned.answer.scopes == {}


def test_a_poll_with_nothing_new_ends_empty_after_its_time(server: Server) -> None:
    start = time.monotonic()
    poll = waiting(server, server.token("h1"), 0.3)
    poll.join()
    assert poll.answer is not None
    assert poll.answer.scopes == {}
    assert time.monotonic() - start >= 0.3


def test_another_epoch_is_answered_at_once(server: Server) -> None:
    token = server.token("h1")
    poll = Poll(server, token, ViewRequest(epoch="of another database", wait_s=8))
    poll.join(2)
    assert poll.answer is not None
    assert poll.answer.epoch == server.store.epoch


def test_what_is_in_use_on_a_host_is_taken_for_the_present_epoch(server: Server) -> None:
    epoch = server.agents.get("/agent/v1/ping", headers=server.token("h1")).json()["epoch"]
    token = server.token("h2")
    for said, taken in ((epoch, True), ("another", False)):
        answer = send(server, token, "holdings", Holdings(epoch=said))
        assert answer.json() == {"taken": taken}


def test_stopping_the_server_ends_long_polls_at_once(server: Server) -> None:
    polls = [waiting(server, server.token(f"h{n}"), 60) for n in range(5)]
    start = time.monotonic()
    server.stop()
    for poll in polls:
        poll.join()
    assert time.monotonic() - start < 3
    assert all(poll.answer is not None and poll.error is None for poll in polls)


def test_a_report_makes_the_host_alive(server: Server) -> None:
    token = server.token("h1")
    report = Report(run_id="r1", version="1", in_sync=True, counts={"networks": 2})
    assert send(server, token, "report", report).json() == {}
    host = server.api.get("/v2.0/hosts/h1").json()["host"]
    assert (host["alive"], host["in_sync"], host["counts"]) == (True, True, {"networks": 2})
    (agent,) = server.api.get("/v2.0/agents?alive=true").json()["agents"]
    assert agent["configurations"]["networks"] == 2


def test_two_agents_with_one_host_name_are_refused(server: Server) -> None:
    token = server.token("h1")
    assert send(server, token, "report", Report(run_id="r1")).status_code == 200
    second = send(server, token, "report", Report(run_id="r2"))
    assert second.status_code == 409
    assert "h1" in second.json()["NeutronError"]["message"]


@pytest.fixture
def leased(server: Server) -> Server:
    return with_lease(server)


@pytest.fixture(scope="module")
def kept(shared: Server) -> Server:
    """Return a server with the same, for tests that change nothing."""
    return with_lease(shared)


def with_lease(server: Server) -> Server:
    """Let host h1 report a lease of the only port."""
    server.h1 = server.token("h1")
    network, _ = server.network(**{"lessor:host": "h1"})
    server.port = server.make(
        "port", network_id=network["id"], device_id="vm-1", **{"binding:host_id": "h1"}
    )
    event = LeaseEvent(
        seq=1,
        action="add",
        network_id=network["id"],
        address=IPv4Address("10.0.0.2"),
        mac_address=server.port["mac_address"],
        expires_at=time.time() + 3600,
        at=time.time(),
        hostname="vm",
    )
    batch = LeaseBatch(epoch="spool-1", events=(event,))
    assert send(server, server.h1, "leases", batch).json() == {"last_seq": 1}
    assert send(server, server.h1, "leases", batch).json() == {"last_seq": 1}
    return server


def test_a_lease_is_listed_with_whom_and_until_when(kept: Server) -> None:
    (lease,) = kept.api.get("/v2.0/leases").json()["leases"]
    assert (lease["address"], lease["host"], lease["hostname"]) == ("10.0.0.2", "h1", "vm")
    assert (lease["port_id"], lease["live"]) == (kept.port["id"], True)
    assert lease["ended_at"] is None
    assert "at" not in lease
    assert kept.api.get(f"/v2.0/leases/{lease['id']}").json()["lease"] == lease


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("address=10.0.0.2", 1),
        ("address=10.0.0.3", 0),
        ("mac_address={mac}", 1),
        ("port_id={port}", 1),
        ("network_id={network}", 1),
        ("host=h1", 1),
        ("host=h2", 0),
        ("live=true", 1),
        ("live=false", 0),
        ("address=10.0.0.2&at={now}", 1),
        ("address=10.0.0.2&at=2001-01-01T00:00:00Z", 0),
    ],
)
def test_leases_are_found_by_what_they_are(kept: Server, query: str, found: int) -> None:
    port = kept.port
    words = {"mac": port["mac_address"], "port": port["id"], "network": port["network_id"]}
    text = query.format(now=time.time(), **words)
    answer = kept.api.get(f"/v2.0/leases?{text}")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["leases"]) == found


@pytest.mark.parametrize("query", ["at=yesterday", "address=x", "live=maybe", "colour=red"])
def test_a_lease_query_that_makes_no_sense_is_refused(kept: Server, query: str) -> None:
    assert kept.api.get(f"/v2.0/leases?{query}").status_code == 400


def test_deleting_a_lease_releases_it(leased: Server) -> None:
    (lease,) = leased.api.get("/v2.0/leases").json()["leases"]
    assert leased.api.delete(f"/v2.0/leases/{lease['id']}").status_code == 204
    after = leased.api.get(f"/v2.0/leases/{lease['id']}").json()["lease"]
    assert (after["live"], after["end_reason"]) == (False, "operator")


def test_metadata_says_whose_address_it_is(kept: Server) -> None:
    network = kept.port["network_id"]
    answer = kept.agents.get(
        "/agent/v1/metadata", params={"network": network, "address": "10.0.0.2"}, headers=kept.h1
    )
    facts = wire.decode(answer.content, MetadataFacts)
    assert facts.port.id == kept.port["id"]
    unknown = {"network": network, "address": "10.0.0.99"}
    gone = kept.agents.get("/agent/v1/metadata", params=unknown, headers=kept.h1)
    assert gone.status_code == 404
    wrong = {"network": network, "address": "x"}
    bad = kept.agents.get("/agent/v1/metadata", params=wrong, headers=kept.h1)
    assert bad.status_code == 400


def test_a_password_is_taken_once(leased: Server) -> None:
    leased.make("instance", id="vm-1")
    body = {"instance_id": "vm-1", "password": "sealed"}
    assert send(leased, leased.h1, "password", body).status_code == 204
    assert send(leased, leased.h1, "password", body).status_code == 409
    assert leased.api.get("/v2.0/instances/vm-1").json()["instance"]["password"] == "sealed"
