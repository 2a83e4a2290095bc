"""Real servers in processes of their own, on one database, with clients in processes of theirs.

What must hold whatever is killed: no address is two ports' at once, none is lost, no create is
refused while an address is unused, and a client hears of a failure or finds its work done.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from lessor.settings import ServerSettings
from lessor.store.engine import upkeep
from tests.postgres import Cluster, cluster
from tests.servers.server_process import START_S, Process

FREE = 240
CLIENTS = 4
Json = dict[str, Any]


def network_of(url: str) -> str:
    """Make a network whose subnet has 240 free addresses."""
    made = httpx.post(f"{url}/v2.0/networks", json={"network": {}}, trust_env=False)
    network_id: str = made.json()["network"]["id"]
    pool = {"start": "10.0.0.10", "end": f"10.0.0.{9 + FREE}"}
    subnet = {"network_id": network_id, "cidr": "10.0.0.0/24", "ip_version": 4}
    body = {"subnet": subnet | {"allocation_pools": [pool]}}
    assert httpx.post(f"{url}/v2.0/subnets", json=body, trust_env=False).status_code == 201
    return network_id


def churn(urls: list[str], network: str, operations: int, during: Callable[[], None]) -> list[Json]:
    """Have four processes make and delete ports; do something meanwhile."""
    clients = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.servers.churn", str(n), network, str(operations), *urls],
            stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True,
        )
        for n in range(CLIENTS)
    ]  # fmt: skip
    results: list[str] = [""] * CLIENTS
    readers = [
        threading.Thread(target=lambda n=n: results.__setitem__(n, clients[n].communicate()[0]))
        for n in range(CLIENTS)
    ]
    for reader in readers:
        reader.start()
    try:
        during()
        for reader in readers:
            reader.join(300)
    finally:
        for client in clients:
            client.kill()
    return [json.loads(result) for result in results]


def check(seen: list[Json], url: str, network: str) -> None:
    """Check what all clients saw against each other, and what is there against what they have."""
    assert [error for one in seen for error in one["errors"]] == []
    held = [tuple(record) for one in seen for record in one["held"]]
    assert "none" not in {record[0] for record in held}
    _check_unique(held)
    _check_refusals(held, [tuple(times) for one in seen for times in one["refused"]])
    ports = httpx.get(
        f"{url}/v2.0/ports", params={"network_id": network}, timeout=30, trust_env=False
    )
    there = sorted(port["fixed_ips"][0]["ip_address"] for port in ports.json()["ports"])
    assert there == sorted(record[0] for record in held if record[4] is None)


def _check_unique(held: list[tuple[Any, ...]]) -> None:
    """Nobody was surely given an address while somebody else surely had it."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for address, _, given, dropped, _ in held:
        spans.setdefault(address, []).append((given, dropped or float("inf")))
    for address, times in spans.items():
        times.sort()
        for (_, end), (begin, _) in pairwise(times):
            assert end <= begin, f"{address} was two ports' at once"


def _check_refusals(held: list[tuple[Any, ...]], refused: list[tuple[float, float]]) -> None:
    """During a refused create, each address was possibly in use at some moment."""
    for asked, answered in refused:
        taken = {
            address
            for address, begin, _, _, gone in held
            if begin <= answered and (gone or float("inf")) >= asked
        }
        assert len(taken) == FREE, f"{FREE - len(taken)} were unused while a create was refused"


def fill(url: str, network: str) -> int:
    """Take all that is left; return how many that were."""
    taken = 0
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as api:
        while True:
            body = {"port": {"network_id": network}}
            answer = api.post("/v2.0/ports", json=body)
            if answer.status_code != 201:
                assert answer.json()["NeutronError"]["type"] == "IpAddressGenerationFailure"
                return taken
            taken += 1


def settings_of(tmp_path: Path, connection: str) -> ServerSettings:
    return ServerSettings(state_dir=tmp_path / "state", connection=connection)


@pytest.fixture
def connection(engine: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return `[database] connection` of an empty database; "" is SQLite's file in state_dir."""
    if engine == "sqlite":
        yield ""
        return
    server: Cluster = request.getfixturevalue("postgres")
    with server.database() as name:
        yield server.url(name)


def test_four_clients_at_once_lose_no_address_and_share_none(
    connection: str, start: Callable[..., Process], tmp_path: Path
) -> None:
    servers = [start(connection, *(["--workers", "2"] if connection else []))]
    servers[0].wait()
    if connection:
        servers.append(start(connection))
        servers[1].wait()
    urls = [server.url for server in servers]
    network = network_of(urls[0])
    seen = churn(urls, network, 180, lambda: None)
    check(seen, urls[-1], network)
    assert sum(len(one["refused"]) for one in seen) > 0
    left = sum(record[4] is None for one in seen for record in one["held"])
    assert fill(urls[0], network) == FREE - left
    for server in servers:
        server.stop()
    assert upkeep.check(settings_of(tmp_path, connection)) == []


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Cluster]:
    """Return a server that tests may end."""
    with cluster() as made:
        made.prepare()
        yield made


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGINT, id="restart"),
        pytest.param(signal.SIGQUIT, id="crash", marks=pytest.mark.long),
    ],
)
def test_a_restart_of_the_database_under_load_leaves_nothing_half_done(
    own_postgres: Cluster,
    start: Callable[..., Process],
    tmp_path: Path,
    how: signal.Signals,
) -> None:
    with own_postgres.database() as name:
        connection = own_postgres.url(name)
        servers = [start(connection), start(connection)]
        for server in servers:
            server.wait()
        network = network_of(servers[0].url)

        def restart() -> None:
            wait_for_ports(servers[0].url, 60)
            own_postgres.stop(how)
            own_postgres.start()

        urls = [server.url for server in servers]
        seen = churn(urls, network, 100, restart)
        check(seen, urls[0], network)
        for server in servers:
            server.stop()
        assert upkeep.check(settings_of(tmp_path, connection)) == []


def test_a_server_killed_under_load_leaves_nothing_half_done(
    postgres: Cluster, start: Callable[..., Process], tmp_path: Path
) -> None:
    with postgres.database() as name:
        connection = postgres.url(name)
        servers = [start(connection), start(connection)]
        for server in servers:
            server.wait()
        network = network_of(servers[0].url)

        def kill() -> None:
            wait_for_ports(servers[1].url, 60)
            servers[0].kill()

        seen = churn([server.url for server in servers], network, 100, kill)
        assert sum(one["tries"] for one in seen) > 0
        check(seen, servers[1].url, network)
        servers[1].stop()
        assert upkeep.check(settings_of(tmp_path, connection)) == []


def wait_for_ports(url: str, count: int) -> None:
    end = time.monotonic() + START_S
    while True:
        answer = httpx.get(f"{url}/v2.0/ports?fields=id", trust_env=False, timeout=30)
        if len(answer.json()["ports"]) >= count:
            return
        assert time.monotonic() < end
        time.sleep(0.02)


# --- workers --------------------------------------------------------------------------------------


def workers_of(server: Process) -> list[int]:
    folder = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return [int(pid) for pid in folder.read_text().split()]


def test_a_worker_that_died_is_started_again(
    postgres: Cluster, start: Callable[..., Process]
) -> None:
    with postgres.database() as name:
        server = start(postgres.url(name), "--workers", "2")
        end = time.monotonic() + START_S
        while "workers ready" not in server.log.read_text():  # one that dies before ends all
            assert time.monotonic() < end, server.log.read_text()
            time.sleep(0.05)
        before = workers_of(server)
        os.kill(before[0], signal.SIGKILL)
        end = time.monotonic() + START_S
        while len(set(workers_of(server)) - set(before)) < 1 or len(workers_of(server)) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        server.wait()
        server.stop()


def test_workers_end_with_the_process_that_started_them(
    postgres: Cluster, start: Callable[..., Process]
) -> None:
    with postgres.database() as name:
        server = start(postgres.url(name), "--workers", "2")
        server.wait()
        pids = workers_of(server)
        assert len(pids) == 2
        server.kill()
        end = time.monotonic() + START_S
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_several_workers_on_sqlite_are_refused_with_the_reason(
    start: Callable[..., Process],
) -> None:
    server = start("", "--workers", "2")
    assert server.process.wait(START_S) == 2
    assert "SQLite has one writer" in server.log.read_text()
