"""A real `lessor server` process for real clients, and the clients that are run against it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bcrypt
import httpx
import pytest

from lessor.model import Report
from lessor.wire import encode

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".venv-clients" / "bin"
ANSIBLE = ROOT / ".venv-ansible" / "bin"
INSIDE = Path(__file__).parent / "inside"
LESSOR = str(Path(sys.executable).with_name("lessor"))
ANY_PORT = "127.0.0.1:0"
PATIENCE_S = 60
SOME, MANY = 4, 150  # examples of Schemathesis for each of our routes
LISTENERS = ("api", "agents")
LISTENER = re.compile(rf"({'|'.join(LISTENERS)})=(\S+)")

# a process of the test suite has one server on each, which takes a second to start
DATABASES = [
    pytest.param(name, marks=pytest.mark.xdist_group(f"clients-{name}"))
    for name in ("sqlite", "postgresql")
]
ON_BOTH = pytest.mark.parametrize("database", DATABASES, indirect=True, scope="session")
needs_clients = pytest.mark.skipif(
    not (CLIENTS / "openstack").exists(), reason="scripts/setup makes .venv-clients"
)


@dataclass(frozen=True, slots=True)
class Running:
    """A server, and an administrator of it.

    Args:
        api: the address of its users' API.
        agents: that of its agents' API.
        user: who asks; "" where nobody is asked.
    """

    api: str
    agents: str
    user: str = ""

    @property
    def auth(self) -> tuple[str, str] | None:
        """What httpx sends."""
        return (self.user, password(self.user)) if self.user else None

    @property
    def options(self) -> dict[str, str]:
        """What `openstack` is told: --os-…."""
        if not self.user:
            return {"auth-type": "none", "endpoint": self.api}
        known = {"username": self.user, "password": password(self.user)}
        return {"auth-type": "http_basic", "endpoint": self.api, **known}

    def make_host(self, name: str, **said: Any) -> str:
        """Make a host whose agent has said something of itself; return the agent's id."""
        with httpx.Client(auth=self.auth, trust_env=False) as client:
            answer = client.post(f"{self.api}/v2.0/hosts", json={"host": {"name": name}})
            assert answer.status_code == 201, answer.text
            host = answer.json()["host"]
        report = Report(run_id="r1", in_sync=True, physical_networks=("physnet1",), **said)
        headers = {"Authorization": f"Bearer {host['token']}"}
        url, body = f"{self.agents}/agent/v1/report", encode(report)
        answer = httpx.post(url, content=body, headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text
        return str(host["id"])


def password(user: str) -> str:
    """Return the password of a user of `password_flags`."""
    return f"pw-{user}"


def password_flags(folder: Path, users: Mapping[str, str]) -> list[str]:
    """Write the files of http_basic; return the flags of a server that reads them.

    Args:
        folder: where.
        users: roles by name; each user has a project, "p-" and the name.
    """
    files = {"user": folder / "users", "roles": folder / "roles"}
    hashes = {n: bcrypt.hashpw(password(n).encode(), bcrypt.gensalt(4)).decode() for n in users}
    files["user"].write_text("".join(f"{name}:{hashed}\n" for name, hashed in hashes.items()))
    files["roles"].write_text("".join(f"{name}:p-{name}:{role}\n" for name, role in users.items()))
    # projects make no flat networks by themselves
    flags = ["--set", "auth_strategy=http_basic", "--set", "ml2.project_network_types=vxlan"]
    for name, path in files.items():
        path.chmod(0o600)
        flags += ["--set", f"http_basic_auth_{name}_file={path}"]
    return flags


@contextmanager
def server(folder: Path, *flags: str) -> Iterator[Running]:
    """Run a server with a store of its own."""
    argv = [LESSOR, "server", "--state-dir", str(folder / "state")]
    argv += ["--listen", ANY_PORT, "--agent-listen", ANY_PORT]
    argv += ["--set", "flat_network_bridge=br100", "--set", "flat_interface=eth1", *flags]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment(folder)) as made:
        assert made.stderr is not None
        said: list[str] = []
        try:
            yield _listening(made.stderr, said)
        finally:
            made.send_signal(signal.SIGTERM)
            assert made.wait(PATIENCE_S) == 0, "".join(said)


def _listening(lines: Any, said: list[str]) -> Running:
    for line in lines:
        said.append(line)
        if "listening" in line and len(found := dict(LISTENER.findall(line))) == len(LISTENERS):
            # what it says from now on is read, too: a full pipe would stop it
            threading.Thread(target=said.extend, args=(lines,), daemon=True).start()
            return Running(**{name: f"http://{found[name]}" for name in LISTENERS})
    pytest.fail(f"the server ended: {''.join(said)}")


# in an order in which nothing is deleted that something else needs
NOUNS = ("ports", "subnets", "subnetpools", "address-scopes", "networks", "instances", "hosts")


def clear(running: Running) -> None:
    """Delete all that a server has."""
    with httpx.Client(base_url=running.api, auth=running.auth, trust_env=False) as api:
        for noun in NOUNS:
            key = "name" if noun == "hosts" else "id"
            for row in api.get(f"/v2.0/{noun}").json()[noun.replace("-", "_")]:
                if row.get("device_owner", "").startswith("network:"):
                    continue  # a DHCP server's own: it goes with its network
                answer = api.delete(f"/v2.0/{noun}/{quote(row[key], safe='')}")
                assert answer.status_code in {204, 404}, answer.text
        for row in api.get("/v2.0/quotas").json()["quotas"]:
            api.delete(f"/v2.0/quotas/{quote(row['project_id'], safe='')}").raise_for_status()


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return this process's environment without OpenStack's and proxies' settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "ANSIBLE_"))}
    return {**clean, "HOME": str(folder), "no_proxy": "127.0.0.1", **more}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command."""

    status: int
    out: str
    err: str


class Program:
    """`openstack`, started once for many commands (see inside/openstack_commands.py)."""

    def __init__(self, folder: Path) -> None:
        argv = [str(CLIENTS / "python"), str(INSIDE / "openstack_commands.py")]
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(folder),
            cwd=folder,
        )

    def run(self, words: Sequence[str], settings: Mapping[str, str]) -> Outcome:
        """Run one command to its end, with settings in its environment."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([words, settings]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "the program ended"
        return Outcome(**json.loads(answer))

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=PATIENCE_S)


class Openstack:
    """`openstack` with the options that lead to one server."""

    def __init__(self, program: Program, server: Running) -> None:
        self.server = server
        self._program = program
        self._options = [f"--os-{name}={value}" for name, value in server.options.items()]
        self._settings = {"OS_IDENTITY_ENDPOINT_OVERRIDE": f"{server.api}/v3"}

    def __call__(self, command: str, *words: str) -> Any:
        """Run a command that shows or lists something; return that.

        Args:
            command: words, with spaces between them.
            words: further words, as they are.
        """
        return json.loads(self.run(command, *words, "-f", "json"))

    def run(self, command: str, *words: str) -> str:
        """Run a command that has to work, as above; return what it printed."""
        said = [*command.split(), *words]
        outcome = self._program.run([*self._options, *said], self._settings)
        assert outcome.status == 0, f"openstack {' '.join(said)}: {outcome.err}{outcome.out}"
        return outcome.out

    def refusal(self, command: str) -> str:
        """Run a command that the server has to refuse; return what the user is told."""
        outcome = self._program.run([*self._options, *command.split()], self._settings)
        assert outcome.status == 1, f"openstack {command}: {outcome}"
        return outcome.err
