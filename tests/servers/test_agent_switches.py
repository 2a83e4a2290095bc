"""An agent that knows two servers of one database; the one that it speaks to fails.

The agent here is all of one but what changes its host: it follows the view, reports, and forwards
lease events, over its line to real servers.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx
import pytest

from lessor.agent.leases.forwarder import LeaseForwarder
from lessor.agent.leases.inbox import Inbox
from lessor.agent.leases.leasebook import LeaseBook
from lessor.agent.leases.spool import Spool
from lessor.agent.server.client import Client
from lessor.agent.server.follow import Follower
from lessor.agent.server.reporter import Reporter, Status
from lessor.agent.server.viewstore import ViewStore
from lessor.core.leases import LiveLease
from lessor.model import PortReport, Report, View
from tests.postgres import Cluster
from tests.servers.server_process import Process

LIMIT_S = 60
HEARTBEAT_S = 1.0
IDENTITY = Report(run_id="r", network_host=True, physical_networks=("physnet1",))
Json = dict[str, Any]


class Api:
    """A client of one server."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=f"{url}/v2.0", timeout=30, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def create(self, plural: str, **values: object) -> Json:
        singular = plural.removesuffix("s")
        answer = await self._http.post(f"/{plural}", json={singular: values})
        made: Json = answer.raise_for_status().json()[singular]
        return made

    async def rows(self, plural: str, **filters: str) -> list[Json]:
        answer = await self._http.get(f"/{plural}", params=filters)
        found: list[Json] = answer.raise_for_status().json()[plural]
        return found

    async def port(self, network: str, name: str) -> Json:
        return await self.create(
            "ports", network_id=network, name=name, **{"binding:host_id": "h1"}
        )


class Agent:
    def __init__(self, folder: Path, servers: list[str], token: str, network: str) -> None:
        (folder / "token").write_text(token)
        self.client = Client(servers, folder / "token")
        self.spool = Spool(folder / "spool", Inbox(folder / "hook"))
        book = LeaseBook(folder / "leases", self.spool)
        self.forwarder = LeaseForwarder(self.client, book, lambda _server, _address: network)
        self.follower = Follower(self.client, ViewStore(folder / "view"), meet=self.meet)
        self.reporter = Reporter(
            self.client,
            IDENTITY,
            HEARTBEAT_S,
            events_sent=lambda: not self.forwarder.pending(),
        )
        self.client.moved.subscribe(self.reporter.nudge)

    async def meet(self, _epoch: str, _view: View) -> None:
        """Tell a new server nothing: all of them have the same store."""

    def knows(self, port: Json) -> bool:
        stored = self.follower.stored
        return stored is not None and any(
            port["id"] in s.ports for s in stored.view.scopes.values()
        )

    def say_served(self, port: Json) -> None:
        assert self.follower.stored is not None
        scope = self.follower.stored.view.scopes[port["network_id"]]
        word = PortReport(revision=scope.ports[port["id"]].revision, wired=True, served=True)
        epoch = self.follower.stored.view.epoch
        self.reporter.say(Status(epoch=epoch, in_sync=True, ports={port["id"]: word}))

    def give_lease(self, port: Json) -> None:
        address = IPv4Address(port["fixed_ips"][0]["ip_address"])
        lease = LiveLease(address, port["mac_address"], time.time() + 3600, "", "")
        self.spool.add("br100", "add", lease)
        self.forwarder.nudge()


async def until(condition: Callable[[], Any], limit_s: float = LIMIT_S) -> None:
    async with asyncio.timeout(limit_s):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("how", "within_s"),
    [
        pytest.param(signal.SIGKILL, 5, id="killed"),
        pytest.param(signal.SIGSTOP, 15, id="hangs", marks=pytest.mark.long),
    ],
)
def test_an_agent_in_a_long_poll_of_a_server_that_fails_goes_on_at_the_other(
    postgres: Cluster,
    start: Callable[..., Process],
    tmp_path: Path,
    *,
    how: signal.Signals,
    within_s: float,
    record_property: Callable[[str, object], None],
) -> None:
    """It knows a change within seconds, and no report and no lease event is lost."""
    with postgres.database() as name:
        servers = [start(postgres.url(name)) for _ in range(2)]
        for server in servers:
            server.wait()

        def fail() -> None:
            servers[0].process.send_signal(how)

        took_s = asyncio.run(_go(tmp_path, servers, fail))
        record_property("took_s", took_s)
        assert took_s < within_s
        servers[0].kill()
        servers[1].stop()


async def _go(folder: Path, servers: list[Process], fail: Callable[[], None]) -> float:
    """Return how long a change was not known to the agent."""
    api = Api(servers[1].url)
    token = (await api.create("hosts", name="h1"))["token"]
    network = (await api.create("networks"))["id"]
    await api.create("subnets", network_id=network, cidr="10.0.0.0/24", ip_version=4)
    agent = Agent(folder, [server.agents for server in servers], token, network)
    await agent.reporter.introduce()
    runs = (agent.follower.run, agent.reporter.run, agent.forwarder.run)
    tasks = [asyncio.create_task(run()) for run in runs]

    async def speaks_to(server: Process) -> bool:
        return str((await api.rows("hosts"))[0]["server"]) == server.agents

    async def is_active(port: Json) -> bool:
        return str((await api.rows("ports", id=port["id"]))[0]["status"]) == "ACTIVE"

    first = await api.port(network, "first")
    await until(lambda: agent.knows(first))
    await until(lambda: speaks_to(servers[0]))

    fail()
    started = time.monotonic()
    agent.say_served(first)
    agent.give_lease(first)
    second = await api.port(network, "second")
    await until(lambda: agent.knows(second))
    took_s = time.monotonic() - started

    await until(lambda: is_active(first))
    await until(lambda: api.rows("leases", port_id=first["id"]))
    await until(lambda: speaks_to(servers[1]))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await agent.client.close()
    await api.close()
    return took_s
