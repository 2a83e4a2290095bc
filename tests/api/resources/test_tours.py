"""Tours: what is wrong on a host by its own report is on the tour, too, whatever its pieces say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lessor import wire
from lessor.model import Piece, Problem, Report, ViewAnswer, ViewRequest

Server = Any  # tests/api/conftest.py
Json = dict[str, Any]
THERE = Piece(what="bridge", name="br100", should="up", found="up", ok=True, command="ip link")
CABLE = "no packet of tunnels comes"


@pytest.fixture
def agent(server: Server) -> Callable[[str, Any], bytes]:
    """Return how an agent asks; a network host with br100 on the wire."""
    token = server.token("h1")

    def ask(what: str, value: Any) -> bytes:
        said = server.agents.post(f"/agent/v1/{what}", content=wire.encode(value), headers=token)
        assert said.is_success, said.text
        return bytes(said.content)

    ask("report", Report(run_id="r1", network_host=True, physical_networks=("physnet1",)))
    return ask


@contextmanager
def answering(agent: Callable[[str, Any], bytes]) -> Iterator[None]:
    """Say of each tour that all is there, as soon as it is asked for."""
    done = threading.Event()

    def answer() -> None:
        known: tuple[str, ...] = ()
        while not done.is_set():
            asked = wire.decode(agent("view", ViewRequest(tours=known)), ViewAnswer).tours
            for tour in asked:
                agent(f"tours/{tour}", [THERE])
                known = (*known, tour)
            time.sleep(0.05)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(10)


def toured(server: Server, network: Json) -> Json:
    answer = server.api.get(f"/v2.0/networks/{network['id']}/tour")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()["tour"]
    return found


def report(agent: Callable[[str, Any], bytes], *problems: Problem, **more: Any) -> None:
    fields = {"network_host": True, "physical_networks": ("physnet1",), "problems": problems}
    agent("report", Report(run_id="r1", **{**fields, **more}))


@pytest.mark.parametrize(
    ("concerns", "waits", "ok", "shown"),
    [
        ("it", False, False, True),
        ("host", False, False, True),
        ("it", True, True, True),
        ("another", False, True, False),
        ("port", False, True, False),
    ],
)
def test_a_tour_has_the_problems_of_its_hosts_and_is_not_well_with_them(
    server: Server,
    agent: Callable[[str, Any], bytes],
    concerns: str,
    *,
    waits: bool,
    ok: bool,
    shown: bool,
) -> None:
    network, _ = server.network(**{"lessor:host": "h1"})
    networks = {"it": (network["id"],), "another": ("another",)}.get(concerns, ())
    ports = ("some-port",) if concerns == "port" else ()
    with answering(agent):
        assert toured(server, network)["ok"]
        report(agent, Problem(text=CABLE, networks=networks, ports=ports, waits=waits))
        tour = toured(server, network)
    [host] = tour["hosts"]
    assert [piece["ok"] for piece in host["pieces"]] == [True]
    assert (tour["ok"], host["ok"]) == (ok, ok)
    assert [problem["text"] for problem in host["problems"]] == [CABLE] * shown


def test_a_tour_says_that_a_host_can_not_serve_the_network(
    server: Server, agent: Callable[[str, Any], bytes]
) -> None:
    network, _ = server.network(**{"lessor:host": "h1"})
    report(agent, unserved={network["id"]: "UDP 67 is taken"})
    with answering(agent):
        tour = toured(server, network)
    [problem] = tour["problems"]
    assert "h1 can't serve it: UDP 67 is taken" in problem
    assert not tour["ok"]
