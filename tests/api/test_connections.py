"""Slow clients and those with many connections cost themselves only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn

from lessor.api import protocol as module
from lessor.api.protocol import BoundedProtocol, Limits
from tests.api.conftest import Server

HEAD_S = Limits(per_address=0).head_s
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    del scope
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Transport:
    """Keeps what it is told to send."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed_after: int | None = None

    def write(self, data: bytes) -> None:
        assert self.closed_after is None
        self.sent.append(data)

    def close(self) -> None:
        self.closed_after = len(self.sent)

    def is_closing(self) -> bool:
        return self.closed_after is not None


def test_what_is_written_together_is_sent_together_and_before_the_end() -> None:
    async def answer() -> Transport:
        inner = Transport()
        outer: Any = module._Gathering(inner, asyncio.get_running_loop())  # type: ignore[arg-type]  # acts as one
        outer.write(b"head")
        outer.write(b"body")
        assert inner.sent == []
        await asyncio.sleep(0)
        assert inner.sent == [b"headbody"]
        outer.write(b"last")
        outer.close()
        assert outer.is_closing()
        await asyncio.sleep(0)
        return inner

    inner = asyncio.run(answer())
    assert (inner.sent, inner.closed_after) == ([b"headbody", b"last"], 2)


@asynccontextmanager
async def listening(**limits: Any) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Serve `app`; give what makes a connection."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        kind: Any = partial(
            BoundedProtocol, Limits(**{"per_address": 0, "head_s": 0.3, "body_s": 0.6} | limits)
        )
        server = uvicorn.Server(
            uvicorn.Config(app, http=kind, lifespan="off", log_config=None, timeout_keep_alive=1)
        )
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # the test's own process
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        yield lambda: asyncio.open_connection(*bound.getsockname())
        server.should_exit = True
        await serving


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def ended_with(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        return await reader.read()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b"408"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"408"),
        (b"GET / HT", b"408"),
        (b"\r\n", b"408"),
        (REQUEST + b"x", b""),
        (REQUEST, b""),
    ],
    ids=["nothing", "half-a-head", "half-a-line", "empty-line", "half-a-body", "no-body"],
)
def test_a_request_that_does_not_come_to_its_end_is_ended(sent: bytes, answer: bytes) -> None:
    async def tried() -> bytes:
        async with listening() as connect:
            reader, writer = await connect()
            writer.write(sent)
            said = await ended_with(reader)
            await closed(writer)
            return said

    assert answer in asyncio.run(tried())


def test_a_trickled_head_is_ended_at_the_same_time() -> None:
    async def tried() -> float:
        async with listening() as connect:
            reader, writer = await connect()
            started = time.monotonic()
            ended = asyncio.create_task(ended_with(reader))
            for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 200:
                if ended.done():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
            await ended
            await closed(writer)
            return time.monotonic() - started

    assert asyncio.run(tried()) < 3  # 4.4 s of bytes were to come


def test_an_idle_connection_after_an_answer_is_ended_whatever_crumbs_come() -> None:
    async def tried() -> bytes:
        async with listening() as connect:
            reader, writer = await connect()
            writer.write(REQUEST + b"body")
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\r\n")
            said = await ended_with(reader)
            await closed(writer)
            return said

    asyncio.run(tried())


def test_a_client_that_asks_again_and_again_is_answered() -> None:
    async def tried() -> int:
        async with listening() as connect:
            reader, writer = await connect()
            answered = 0
            for _ in range(8):  # longer than either limit
                writer.write(REQUEST + b"body")
                answered += b"204" in await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.1)
            await closed(writer)
            return answered

    assert asyncio.run(tried()) == 8


def test_an_address_has_so_many_connections_and_others_have_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_is_loopback", lambda _: False)

    async def tried() -> tuple[bytes, bytes]:
        async with listening(per_address=3, head_s=5) as connect:
            held = [await connect() for _ in range(3)]
            reader, writer = await connect()
            refused = await ended_with(reader)
            await closed(writer)
            await closed(held.pop()[1])
            while True:  # the server hears of the close in its own time
                reader, writer = await connect()
                writer.write(REQUEST + b"body")
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                    again = await reader.readuntil(b"\r\n\r\n")
                    if b"204" in again:
                        await closed(writer)
                        break
                await closed(writer)
                await asyncio.sleep(0.05)
            for _, one in held:
                await closed(one)
            return refused, again

    refused, again = asyncio.run(asyncio.wait_for(tried(), 10))
    assert b"503" in refused
    assert b"204" in again


@pytest.fixture
def half_requests(shared: Server) -> Iterator[list[socket.socket]]:
    """Hold connections with half a head to both listeners."""
    held = []
    for bound in shared.sockets:
        for _ in range(50):
            one = socket.create_connection(bound.getsockname(), timeout=HEAD_S + 10)
            one.sendall(b"GET /v2.0/networks HTTP/1.1\r\nHost: x\r\n")
            held.append(one)
    yield held
    for one in held:
        one.close()


def test_half_requests_to_the_server_end_within_seconds(
    shared: Server, half_requests: list[socket.socket]
) -> None:
    started = time.monotonic()
    assert shared.api.get("/v2.0/networks").status_code == 200
    assert {one.recv(12) for one in half_requests} == {b"HTTP/1.1 408"}
    assert time.monotonic() - started < HEAD_S + 8
