"""Agents that wait for a change: what they cost the server, and how soon those concerned know.

Every waiting agent is a connection with a long poll. Half a hundred of the hosts have a port of one
network; each change of that network wakes only these.
"""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench import cloud
from bench.figure import Figure, Limit, of_repeats, p50_p99
from bench.http1 import Connection, Reading, request
from bench.processes import cpu_s
from bench.server import Server

AGENTS = 1000
CONCERNED = 50
WAIT_S = 60.0  # longer than all that is measured
WOKEN = Limit(100)  # ms
CONNECTIONS = 4096  # what the processes of this measurement may have open
UNCONCERNED_S = 0.5  # in which those who are not concerned must stay silent


@dataclass(slots=True)
class Agent:
    """One host's agent as the server sees it: a token, a connection, what it knows."""

    name: str
    token: str
    line: socket.socket
    epoch: str = ""
    cursors: dict[str, int] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)

    def ask(self, wait_s: float) -> None:
        """Send a poll."""
        asked = {"epoch": self.epoch, "cursors": self.cursors, "wait_s": wait_s}
        self.send("POST", "/agent/v1/view", asked)

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """Send anything else."""
        self.reading = Reading()
        head, _, content = request(method, path, body).partition(b"\r\n\r\n")
        auth = f"\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()
        self.line.sendall(head + auth + content)

    def heard(self) -> bool:
        """Read received data; return whether the answer is complete."""
        return self.reading.add(self.line.recv(1 << 18))

    def answer(self) -> bytes:
        """Wait for the whole answer."""
        while not self.heard():
            pass
        return self.reading.body()

    def learn(self, body: bytes) -> None:
        """Take an answer's cursors over."""
        answer = msgspec.json.decode(body)
        self.epoch = answer["epoch"]
        self.cursors |= dict.fromkeys(answer["scopes"], answer["revision"])


def measure(running: Server, *, quick: bool) -> Iterator[Figure]:
    """Yield the figures of waiting agents at a server that has nothing else to do."""
    allow_connections()
    api = Connection(running.connect)
    tokens = {name: cloud.add_host(api, name) for name in (f"h{n:04}" for n in range(AGENTS))}
    network = _network(api, list(tokens)[:CONCERNED])
    seconds = 3.0 if quick else 10.0
    yield _cost("without agents", running.pid, seconds)
    agents = [Agent(name, token, running.connect_agent()) for name, token in tokens.items()]
    try:
        for one in agents:
            one.ask(0)
        for one in agents:
            one.learn(one.answer())
            one.ask(WAIT_S)
        time.sleep(1)  # the last of them begin to wait
        yield _cost(f"{AGENTS:,} agents waiting", running.pid, seconds)
        rounds = 5 if quick else 20
        yield from _woken(api, network, agents, rounds)
        yield from _each(running, agents[-1].token, 100 if quick else 400)
    finally:
        for one in agents:
            one.line.close()


def _network(api: Connection, hosts: list[str]) -> str:
    target = cloud.flat(api, hosts[0], "10.64.0.0/16", **{"lessor:multi_host": True})
    ports = [{"network_id": target.network_id, "binding:host_id": host} for host in hosts]
    api.ask("POST", "/v2.0/ports", {"ports": ports})
    return target.network_id


def _cost(what: str, pid: int, seconds: float) -> Figure:
    before, started = cpu_s(pid), time.perf_counter()
    time.sleep(seconds)
    share = (cpu_s(pid) - before) / (time.perf_counter() - started)
    return Figure(
        what=f"processor of the server, {what}", value=share * 100, unit="%", n=1, expected=Limit(1)
    )


def _woken(api: Connection, network: str, agents: list[Agent], rounds: int) -> Iterator[Figure]:
    """Change the network, several times; yield how long each time all concerned took to know."""
    each: list[float] = []
    last: list[float] = []
    with selectors.DefaultSelector() as waiting:
        for one in agents:
            waiting.register(one.line, selectors.EVENT_READ, one)
        for turn in range(rounds):
            started = time.perf_counter()
            api.ask("PUT", f"/v2.0/networks/{network}", {"network": {"mtu": 1400 + turn}})
            took = [when - started for when in _answers(waiting, CONCERNED)]
            each += took
            last.append(max(took) * 1000)
    what = f"change → known, {CONCERNED} of {AGENTS:,} waiting hosts"
    yield from p50_p99(what, each, expected_p99=WOKEN)
    yield of_repeats(f"{what}, the last of them", last, "ms", rounds)


def _answers(waiting: selectors.BaseSelector, wanted: int) -> list[float]:
    """Return the time of each complete answer; agents with an answer poll again.

    Raises:
        RuntimeError: another number than `wanted` was woken.
    """
    times: list[float] = []
    woken: list[Agent] = []
    while ready := waiting.select(WAIT_S / 2 if len(times) < wanted else UNCONCERNED_S):
        for key, _ in ready:
            one: Agent = key.data
            if one.heard():
                times.append(time.perf_counter())
                woken.append(one)
    if len(times) != wanted:
        raise RuntimeError(f"{len(times)} agents were woken; the change concerns {wanted}")
    for one in woken:
        one.learn(one.reading.body())
        one.ask(WAIT_S)
    return times


def _each(running: Server, token: str, many: int) -> Iterator[Figure]:
    """Yield what agents cost that are not woken: a poll each 30 s, a report each 4 s."""
    one = Agent("", token, running.connect_agent())
    one.ask(0)
    one.learn(one.answer())
    report = {"run_id": "bench", "version": "bench", "in_sync": True}
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "a poll that finds nothing": (
            "/agent/v1/view",
            {"epoch": one.epoch, "cursors": one.cursors},
        ),
        "a heartbeat": ("/agent/v1/report", report),
    }
    for what, (path, body) in calls.items():
        before = cpu_s(running.pid)
        for _ in range(many):
            one.send("POST", path, body)
            one.answer()
        spent = (cpu_s(running.pid) - before) / many * 1000
        yield Figure(
            what=f"processor time of the server for {what}", value=spent, unit="ms", n=many
        )
    one.line.close()


def allow_connections() -> None:
    """Let this process, and those that it starts, have enough connections open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(CONNECTIONS, hard), hard))
