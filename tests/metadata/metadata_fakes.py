"""A server that knows VMs, and a client that asks an endpoint without sockets."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path

import httpx

from lessor.errors import Unavailable
from lessor.metadata.app import Endpoint, MetadataApp
from lessor.model import FixedIp, Instance, MetadataFacts, Network, Port
from lessor.settings import AgentSettings

START = 1_790_000_000.0
FIVE = IPv4Address("10.0.0.5")


def vm(name: str, network: str = "blue", address: IPv4Address = FIVE) -> MetadataFacts:
    port = Port(
        id=f"port-{name}",
        network_id=network,
        mac_address="fa:16:3e:00:00:05",
        name=name,
        project_id=f"project-{name}",
        fixed_ips=(FixedIp("sub", address),),
        device_id=f"vm-{name}",
    )
    return MetadataFacts(
        port=port,
        ports=(port,),
        instance=Instance(id=port.device_id, name=name),
        networks={network: Network(id=network)},
    )


@dataclass
class FakeServer:
    """Answers as the server does, counts the questions, can be away or hang."""

    vms: list[MetadataFacts] = field(default_factory=list)
    away: bool = False
    hangs: bool = False
    asked: int = 0

    async def facts(self, networks: tuple[str, ...], address: IPv4Address) -> MetadataFacts | None:
        self.asked += 1
        await self._reach()
        for facts in self.vms:
            if facts.port.network_id in networks and facts.port.fixed_ips[0].address == address:
                return facts
        return None

    async def set_password(self, instance_id: str, password: str) -> bool:
        await self._reach()
        for index, facts in enumerate(self.vms):
            if facts.instance and facts.instance.id == instance_id:
                if facts.instance.password:
                    return False
                kept = replace(facts.instance, password=password)
                self.vms[index] = replace(facts, instance=kept)
                return True
        raise AssertionError(f"no instance {instance_id}")

    async def _reach(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise Unavailable("the server doesn't answer")


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


def settings(**values: object) -> AgentSettings:
    base = AgentSettings(state_dir=Path("/nonexistent"), host="h1", my_ip=IPv4Address("192.0.2.1"))
    return replace(base, **values)  # type: ignore[arg-type] # a test's own names


def app(server: FakeServer, clock: Clock | None = None, **values: object) -> MetadataApp:
    return MetadataApp(
        facts=server.facts,
        set_password=server.set_password,
        settings=settings(**values),
        clock=clock or Clock(),
    )


def ask(
    endpoint: Endpoint,
    path: str,
    method: str = "GET",
    *,
    client: str = "10.0.0.5",
    headers: list[tuple[str, str]] | None = None,
    body: bytes | list[bytes] = b"",
    close: MetadataApp | None = None,
) -> httpx.Response:
    """Make one request from `client`; a list is a body sent in chunks. `close` ends with it."""

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in body:
            assert isinstance(chunk, bytes)
            yield chunk

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app=endpoint, client=(client, 40000))
        async with httpx.AsyncClient(transport=transport, base_url="http://md") as asking:
            content = body if isinstance(body, bytes) else chunks()
            answer = await asking.request(method, path, headers=headers, content=content)
        if close is not None:
            await close.aclose()
        return answer

    return asyncio.run(call())


def free_port() -> int:
    """Return a port that nobody listens on, as far as the kernel knows now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def running_loop(enter: Callable[[], None] = lambda: None) -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread, as the agent has it; `enter` is called in the thread first."""
    loop = asyncio.new_event_loop()

    def work() -> None:
        enter()
        loop.run_forever()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
