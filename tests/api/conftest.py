"""A real server in a thread: both listeners on ephemeral loopback ports, a store in a folder."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from lessor.api.server import run
from lessor.settings import FlatMapping, ServerSettings
from lessor.store.store import Store
from tests.conftest import ENGINES
from tests.postgres import Cluster

Json = dict[str, Any]
PLURALS = {
    "address": "addresses",
    "address_scope": "address-scopes",
    "rbac_policy": "rbac-policies",
}


class Patient(httpx.HTTPTransport):
    """Says what each thread of the server, which is in this process, did when no answer came."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return super().handle_request(request)
        except httpx.TimeoutException as error:
            with tempfile.TemporaryFile("w+") as told:
                faulthandler.dump_traceback(told)
                told.seek(0)
                error.add_note(told.read())
            raise


@dataclass
class Server:
    """A running server; `api` is its users' client, `agents` its agents' one."""

    store: Store
    settings: ServerSettings
    sockets: list[socket.socket]
    api: httpx.Client = field(init=False)
    agents: httpx.Client = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        users, agents = (f"http://127.0.0.1:{s.getsockname()[1]}" for s in self.sockets)
        self.api, self.agents = (
            httpx.Client(base_url=url, timeout=10, trust_env=False, transport=Patient())
            for url in (users, agents)
        )
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        served = run(self.store, self.settings, self.sockets, self._stop)
        self._loop.run_until_complete(served)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server did not stop within 10 s"

    def make(self, noun: str, **fields: Any) -> Json:
        """Create one through the API and return it."""
        plural = PLURALS.get(noun, f"{noun}s")
        answer = self.api.post(f"/v2.0/{plural.replace('_', '-')}", json={noun: fields})
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()[noun]
        return made

    def names(self, path: str) -> list[str]:
        """Return the names of the rows of a list."""
        answer = self.api.get(path)
        assert answer.status_code == 200, answer.text
        (rows,) = (value for key, value in answer.json().items() if not key.endswith("_links"))
        return [row["name"] for row in rows]

    def network(self, cidr: str = "10.0.0.0/24", **fields: Any) -> tuple[Json, Json]:
        """Make a network on br100 with a subnet and return both."""
        network = self.make("network", **{"lessor:bridge": "br100", **fields})
        return network, self.make("subnet", network_id=network["id"], cidr=cidr)

    def token(self, host: str) -> dict[str, str]:
        """Make a host and return the header its agent sends."""
        return {"Authorization": f"Bearer {self.make('host', name=host)['token']}"}


MAPPINGS = (
    FlatMapping(physical_network="physnet1", bridge="br100", interface="eth1"),
    FlatMapping(physical_network="physnet2", bridge="br200", interface=None),
)


def settings_of(folder: Path, **more: Any) -> ServerSettings:
    values: Json = {"state_dir": folder, "flat_mappings": MAPPINGS, **more}
    return ServerSettings(**values)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an empty, migrated database, to copy: migrations take a while."""
    folder = tmp_path_factory.mktemp("migrated")
    Store.open(settings_of(folder)).close()
    return folder


def _bound() -> socket.socket:
    bound = socket.socket(proto=socket.IPPROTO_TCP)  # else asyncio leaves Nagle on: 40 ms an answer
    bound.bind(("127.0.0.1", 0))
    bound.listen(64)
    return bound


@contextmanager
def served(
    migrated: Path, folder: Path, clock: Callable[[], float] = time.time, **more: Any
) -> Iterator[Server]:
    """Run a server with its state in a new folder."""
    shutil.copytree(migrated, folder)
    settings = settings_of(folder, **more)
    server = Server(Store.open(settings, clock), settings, [_bound(), _bound()])
    server.start()
    try:
        yield server
    finally:
        server.api.close()
        server.agents.close()
        server.stop()
        server.store.close()
        for bound in server.sockets:
            bound.close()


@pytest.fixture(params=ENGINES if os.environ.get("LESSOR_TEST_API_ON") == "all" else ENGINES[:1])
def engine(request: pytest.FixtureRequest) -> str:
    """Return the database's kind: `scripts/test` asks for both, which takes twice as long."""
    return str(request.param)


@pytest.fixture
def serve(
    migrated: Path, tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Server]]:
    """Start servers with settings of the test's own, each on a database of its own; stop them."""
    with ExitStack() as started:
        folders = (tmp_path / f"state{n}" for n in count())

        def start(**more: Any) -> Server:
            if engine == "postgresql":
                cluster: Cluster = request.getfixturevalue("postgres")
                name = started.enter_context(cluster.database())
                more = {"connection": cluster.url(name)} | more
            return started.enter_context(served(migrated, next(folders), **more))

        yield start


@pytest.fixture(scope="module")
def shared(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server for the module's tests that change nothing, such as tables of refusals."""
    with served(migrated, tmp_path_factory.mktemp("shared") / "state") as server:
        yield server


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """Return a server with br100 (physnet1) and br200 (physnet2)."""
    return serve()
