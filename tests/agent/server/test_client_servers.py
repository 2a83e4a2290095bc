"""An agent's line to several servers, over real sockets: who is asked when one fails."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lessor.agent.server import client as line
from lessor.agent.server.client import Client
from lessor.errors import Conflict, Unavailable
from lessor.model import Problem, Report, ViewRequest

ME = Report(run_id="r")
NEWS = Report(run_id="r", problems=(Problem(text="x"),))
LIMIT_S = 30


class Server(ThreadingHTTPServer):
    """Takes reports and long polls. `status` is what it answers; it can be silent, slow or dead."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.status = 200
        self.silent = False
        self.slow_s = 0.0
        self.reports: list[str] = []
        self.waits: list[float] = []
        self.hang_up = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def end(self) -> None:
        """Die: who waits here is cut off, and nobody gets in again."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        self.hang_up.set()

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that the client has given up."""


class _Answer(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/report"):
            self.server.reports.append(body["server"])
        else:
            self.server.waits.append(body["wait_s"])
        self._answer(body.get("wait_s") or self.server.slow_s)

    def do_GET(self) -> None:
        self._answer(0)

    def _answer(self, wait_s: float) -> None:
        wait_s = LIMIT_S if self.server.silent else wait_s
        if wait_s and self.server.hang_up.wait(wait_s):
            self.close_connection = True
            return
        answer = b'{"epoch": "e", "revision": 7}'
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    made = Server(), Server()
    yield made
    for server in made:
        server.end()


def speak(
    folder: Path, servers: tuple[Server, ...], talk: Callable[[Client], Awaitable[None]]
) -> None:
    token = folder / "token"
    token.write_text("secret\n")

    async def main() -> None:
        client = Client([server.url for server in servers], token)
        async with asyncio.timeout(LIMIT_S):
            await talk(client)
        await client.close()

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_the_first_is_asked_as_long_as_it_answers(
    tmp_path: Path, pair: tuple[Server, Server]
) -> None:
    async def talk(client: Client) -> None:
        await client.report(ME)
        await client.report(NEWS)

    speak(tmp_path, pair, talk)
    assert [len(server.reports) for server in pair] == [2, 0]


@pytest.mark.parametrize("report", [ME, NEWS], ids=["heartbeat", "news"])
@pytest.mark.parametrize("how", ["gone", "fails", "silent"])
def test_the_next_is_asked_in_the_same_call_and_then_first(
    tmp_path: Path,
    pair: tuple[Server, Server],
    monkeypatch: pytest.MonkeyPatch,
    *,
    how: str,
    report: Report,
) -> None:
    monkeypatch.setattr(line, "HEARTBEAT_S", 0.2)
    one, other = pair
    if how == "gone":
        one.end()
    elif how == "fails":
        one.status = 503
    else:
        one.silent = True

    async def talk(client: Client) -> None:
        await client.report(report)
        one.status = 200
        await client.report(report)

    speak(tmp_path, pair, talk)
    assert other.reports == [other.url, other.url]
    assert len(one.reports) == (0 if how == "gone" else 1)


def test_a_refusal_is_an_answer(tmp_path: Path, pair: tuple[Server, Server]) -> None:
    pair[0].status = 409

    async def talk(client: Client) -> None:
        with pytest.raises(Conflict):
            await client.report(ME)

    speak(tmp_path, pair, talk)
    assert pair[1].reports == []


def test_one_that_is_slow_but_there_is_waited_for(
    tmp_path: Path, pair: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "HEARTBEAT_S", 0.5)
    pair[0].slow_s = 1.5
    speak(tmp_path, pair, lambda client: client.report(NEWS))
    assert [len(server.reports) for server in pair] == [1, 0]


def test_when_none_answers_each_is_named(tmp_path: Path, pair: tuple[Server, Server]) -> None:
    for server in pair:
        server.status = 503

    async def talk(client: Client) -> None:
        with pytest.raises(Unavailable) as caught:
            await client.report(ME)
        assert all(server.url in str(caught.value) for server in pair)

    speak(tmp_path, pair, talk)


def test_a_long_poll_that_is_cut_off_is_answered_at_once_by_the_next(
    tmp_path: Path, pair: tuple[Server, Server]
) -> None:
    one, other = pair

    async def talk(client: Client) -> None:
        poll = asyncio.create_task(client.view(ViewRequest(wait_s=LIMIT_S)))
        await until(lambda: one.waits)
        await asyncio.to_thread(one.end)
        assert (await poll).revision == 7

    speak(tmp_path, pair, talk)
    assert other.waits == [0.0]


def test_a_long_poll_at_a_silent_server_follows_a_report_to_the_next(
    tmp_path: Path, pair: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "HEARTBEAT_S", 0.2)
    one, other = pair
    one.silent = True
    moved: list[bool] = []

    async def talk(client: Client) -> None:
        client.moved.subscribe(lambda: moved.append(True))
        poll = asyncio.create_task(client.view(ViewRequest(wait_s=LIMIT_S)))
        await until(lambda: one.waits)
        await client.report(ME)
        await until(lambda: other.waits)
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)

    speak(tmp_path, pair, talk)
    assert other.waits == [LIMIT_S]
    assert moved == [True]


def test_with_one_server_nothing_is_said_of_a_choice(
    tmp_path: Path, pair: tuple[Server, Server]
) -> None:
    speak(tmp_path, pair[:1], lambda client: client.report(ME))
    assert pair[0].reports == [""]
