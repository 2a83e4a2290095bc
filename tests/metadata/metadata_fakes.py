"""A server that knows VMs, and a client that asks an endpoint without sockets."""

import asyncio
import errno
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx

from lessor.errors import Unavailable
from lessor.metadata.app import GuestApp
from lessor.metadata.backend import Backend
from lessor.metadata.client_address import Caller
from lessor.metadata.guest import Asking
from lessor.metadata.http import Receive, Send
from lessor.metadata.http import Scope as Asked
from lessor.metadata.messages import (
    ANSWER_S,
    HEAD_S,
    READ_BY_AGENT,
    READ_BY_PROCESS,
    Answer,
    Note,
    OfProcess,
    Question,
    Settings,
    framed,
)
from lessor.metadata.port_lookup import Ports
from lessor.metadata.process import GuestProcess
from lessor.model import FixedIp, Instance, MetadataFacts, Network, Port, Scope, View
from lessor.net.address import Address
from lessor.settings import AgentSettings

START = 1_790_000_000.0
FIVE = IPv4Address("10.0.0.5")


def vm(name: str, network: str = "blue", address: Address = FIVE) -> MetadataFacts:
    port = Port(
        id=f"port-{name}",
        network_id=network,
        mac_address=mac_of(str(address)),
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
    _seen: dict[tuple[str, Address], MetadataFacts] = field(default_factory=dict)

    def view(self) -> View:
        """Return the view of an agent that hears of new VMs, and of the end of none."""
        self._seen |= {(f.port.network_id, f.port.fixed_ips[0].address): f for f in self.vms}
        return view(*self._seen.values())

    async def facts(self, networks: tuple[str, ...], address: Address) -> MetadataFacts | None:
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


@dataclass
class Service:
    """What the agent has of the metadata service, and how it has it served."""

    backend: Backend
    serving: Settings
    clock: Clock

    def process(self, **others: Any) -> GuestProcess:
        """Return the real process; it is started with the first listener."""
        return GuestProcess(self.backend, self.serving, **others)

    async def aclose(self) -> None:
        await self.backend.aclose()


def app(
    server: FakeServer,
    clock: Clock | None = None,
    *,
    head_s: float = HEAD_S,
    answer_s: float = ANSWER_S,
    **values: object,
) -> Service:
    """Return a service with these settings of the agent."""
    agent, clock = settings(**values), clock or Clock()
    backend = Backend(
        facts=server.facts,
        set_password=server.set_password,
        ports=Ports(server.view),
        settings=agent,
        clock=clock,
    )
    serving = Settings(
        agent.dhcp_domain,
        use_forwarded_for=agent.use_forwarded_for,
        proxy=agent.metadata_mode == "proxy",
        head_s=head_s,
        answer_s=answer_s,
    )
    return Service(backend, serving, clock)


@dataclass
class Visiting:
    """A connection, as the agent knows it."""

    caller: Caller
    endpoint: "Endpoint"

    @property
    def networks(self) -> tuple[str, ...]:
        return self.endpoint.networks


@dataclass
class Wire:
    """The line between process and agent, without sockets: messages are packed and read."""

    backend: Backend
    visitor: Visiting

    def say(self, message: OfProcess) -> None:
        said = READ_BY_AGENT.decode(framed(message)[4:])
        assert isinstance(said, Note)
        self.backend.note(self.visitor, said.event, said.text)

    async def ask(self, question: Callable[[int], Question]) -> Answer:
        asked: Any = READ_BY_AGENT.decode(framed(question(7))[4:])
        told = await self.backend.answer(self.visitor, asked)
        answer = READ_BY_PROCESS.decode(framed(told)[4:])
        assert isinstance(answer, Answer)
        assert answer.number == 7
        return answer


@dataclass
class Endpoint:
    """The service at one listener: `networks` come in there."""

    service: Service
    networks: tuple[str, ...]

    def of(self, caller: Caller) -> Callable[[Asked, Receive, Send], Any]:
        """Return the application of one connection, as the process has it."""
        line: Any = Wire(self.service.backend, Visiting(caller, self))
        asking = Asking(line, 1)
        guest = GuestApp(self.service.serving, self.service.clock)

        async def serve(scope: Asked, receive: Receive, send: Send) -> None:
            await guest.serve(asking, scope, receive, send)

        return serve


def view(*vms: MetadataFacts) -> View:
    """Return what an agent knows of these VMs."""
    networks = {facts.port.network_id for facts in vms}
    return View(
        scopes={
            key: Scope(
                revision=1,
                network=Network(id=key),
                ports={f.port.id: f.port for f in vms if f.port.network_id == key},
            )
            for key in networks
        }
    )


def ports(*vms: MetadataFacts) -> Ports:
    known = view(*vms)
    return Ports(lambda: known)


def mac_of(address: str) -> str:
    """Return the MAC that whoever has an address sends with, where there is no Ethernet."""
    return IPv4Address(address).packed.hex(":").join(("fa:16:", ""))


class Loopback:
    """Who calls on loopback, where there is no Ethernet: every address has a MAC of its own."""

    def __init__(self, interface: str, namespace: str) -> None:
        if interface != "lo":
            raise OSError(errno.ENODEV, f"no interface {interface}")
        assert not namespace
        self.held: Counter[Address] = Counter()

    def meet(self, made: socket.socket) -> Caller:
        address = IPv4Address(made.getpeername()[0])
        self.held[address] += 1
        return Caller(mac_of(str(address)), address)

    def part(self, caller: Caller) -> None:
        assert self.held[caller.address] > 0
        self.held[caller.address] -= 1

    def close(self) -> None:
        assert not +self.held


def ask(
    endpoint: Endpoint,
    path: str,
    method: str = "GET",
    *,
    client: str = "10.0.0.5",
    mac: str = "",
    headers: list[tuple[str, str]] | None = None,
    body: bytes | list[bytes] = b"",
    close: Service | None = None,
) -> httpx.Response:
    """Send one request from `client`, with its MAC or this one; a list is a chunked body."""

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in body:
            assert isinstance(chunk, bytes)
            yield chunk

    async def call() -> httpx.Response:
        caller = Caller(mac or mac_of(client), IPv4Address(client))
        asked: Any = endpoint.of(caller)
        transport = httpx.ASGITransport(app=asked, client=(client, 40000))
        async with httpx.AsyncClient(transport=transport, base_url="http://md") as asking:
            content = body if isinstance(body, bytes) else chunks()
            answer = await asking.request(method, path, headers=headers, content=content)
        if close is not None:
            await close.aclose()
        return answer

    return asyncio.run(call())


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
