"""A server that asks for passwords, one that doesn't, and what two projects have there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.api.people import password, password_files
from tests.lab.attacks.attack import Tally
from tests.postgres import cluster
from tests.servers.server_process import START_S, Process

Json = dict[str, Any]
Call = tuple[str, str, Any]  # method, path, body
BCRYPT_ROUNDS = 9  # so that a login takes as long as some requests
RESERVED = "198.18.0.0/15"
ALICES, BOBS = "10.81.0.0/24", "10.82.0.0/24"


@dataclass
class World:
    """Alice is a member of p1, Bob of p2, Rita a reader of p1, Root an administrator."""

    server: Process
    open: Process  # asks nobody who he is
    roles: dict[str, Any]
    stack: ExitStack
    clients: dict[str, httpx.Client] = field(default_factory=dict)
    things: dict[str, Json] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)  # of hosts

    def client(self, who: str) -> httpx.Client:
        """Return a client that logs in as somebody; "": as nobody."""
        if who not in self.clients:
            auth = (who, password(who)) if who else None
            made = httpx.Client(base_url=self.server.url, auth=auth, timeout=60, trust_env=False)
            self.clients[who] = self.stack.enter_context(made)
        return self.clients[who]

    def ask(
        self, who: str, method: str, path: str, body: Any = None, **more: Any
    ) -> httpx.Response:
        return self.client(who).request(method, path, json=body, **more)

    def make(self, who: str, noun: str, **fields: Any) -> Json:
        answer = self.ask(who, "POST", f"/v2.0/{noun}s", {noun: fields})
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()[noun]
        return made

    def agent(self, host: str, what: str, body: Any = None) -> httpx.Response:
        """Call as a host's agent: with a body POST, else GET."""
        method = "GET" if body is None else "POST"
        url = f"{self.server.agents}/agent/v1/{what}"
        token = self.tokens.get(host, host)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        content = body if isinstance(body, bytes) else None
        json = None if content is not None else body
        return httpx.request(
            method, url, json=json, content=content, headers=headers, timeout=60, trust_env=False
        )

    def lessor(self, who: str, *argv: str) -> bytes:
        """Return what the command line prints."""
        environ = os.environ | {
            "OS_AUTH_TYPE": "http_basic", "OS_ENDPOINT": self.server.url,
            "OS_USERNAME": who, "OS_PASSWORD": password(who),
        }  # fmt: skip
        words = [sys.executable, "-m", "lessor.cli.main", *argv]
        return subprocess.run(words, env=environ, capture_output=True, check=True).stdout

    def id(self, thing: str) -> str:
        return str(self.things[thing]["id"])

    def tried(
        self,
        who: str,
        calls: Iterable[Call],
        controls: Iterable[tuple[str, Call]],
        passed: Callable[[httpx.Response], bool] = lambda answer: answer.is_success,
    ) -> Tally:
        """Make calls that must be refused, and others that must not."""
        found = []
        calls = list(calls)
        for method, path, body in calls:
            answer = self.ask(who, method, path, body)
            if passed(answer):
                found.append(f"{method} {path[:60]} {str(body or '')[:80]}: {answer.status_code}")
        allowed = [self.ask(one, *call) for one, call in controls]
        good = sum(answer.is_success for answer in allowed)
        return Tally(len(calls), len(found), len(allowed), good, detail="; ".join(found)[:400])


@contextmanager
def world(database: str) -> Iterator[World]:
    """Run both servers, on SQLite or on a PostgreSQL server of their own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lessor-attacks-")))
        connections = ["", ""]
        if database == "postgresql":
            made = stack.enter_context(cluster())
            connections = [made.url(made.blank()) for _ in connections]
        roles = password_files(folder, BCRYPT_ROUNDS)
        files = ("http_basic_auth_user_file", "http_basic_auth_roles_file")
        login = {"auth_strategy": "http_basic", "reserved_cidrs": RESERVED}
        login |= {name: str(roles[name]) for name in files}
        settings = [part for name, value in login.items() for part in ("--set", f"{name}={value}")]
        servers = []
        for name, connection, more in (
            ("login", connections[0], settings),
            ("open", connections[1], []),
        ):
            own = connection or f"sqlite:///{folder}/{name}.sqlite"
            servers.append(Process(folder / name, own, *more))
            stack.callback(servers[-1].end)
        here = World(servers[0], servers[1], roles, stack)
        for server in servers:
            _wait(server)
        _fill(here)
        yield here


def _wait(server: Process) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            if httpx.get(f"{server.url}/healthz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        assert server.process.poll() is None and time.monotonic() < end, server.last_words()
        time.sleep(0.05)


def _fill(here: World) -> None:
    """Make what each project has. An administrator gave each a flat network of its own."""
    for who, project, cidr in (("alice", "p1", ALICES), ("bob", "p2", BOBS)):
        network = here.make(
            "root", "network", name=f"of-{who}", project_id=project,
            **{"provider:network_type": "flat", "provider:physical_network": "physnet1"},
        )  # fmt: skip
        subnet = here.make(who, "subnet", network_id=network["id"], cidr=cidr, ip_version=4)
        instance = here.make(who, "instance", name=f"vm-of-{who}", user_data="VE9QLVNFQ1JFVA==")
        port = here.make(
            who, "port", network_id=network["id"], name=f"port-of-{who}", device_id=instance["id"]
        )
        for noun, thing in (
            ("network", network), ("subnet", subnet), ("instance", instance), ("port", port),
        ):  # fmt: skip
            here.things[f"{who}s {noun}"] = thing
    for host in ("h1", "h2", "h3"):
        here.tokens[host] = here.make("root", "host", name=host)["token"]
    body = {"network": {"lessor:host": "h1"}}
    assert here.ask("root", "PUT", f"/v2.0/networks/{here.id('alices network')}", body).is_success


def address(port: Json) -> str:
    return str(port["fixed_ips"][0]["ip_address"])
