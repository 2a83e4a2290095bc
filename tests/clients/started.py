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

import httpx
import pytest

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".venv-clients" / "bin"
ANSIBLE = ROOT / ".venv-ansible" / "bin"
INSIDE = Path(__file__).parent / "inside"
LESSOR = str(Path(sys.executable).with_name("lessor"))
ANY_PORT = "127.0.0.1:0"
PATIENCE_S = 60

# a process of the test suite has one server on each, which takes a second to start
DATABASES = [
    pytest.param(name, marks=pytest.mark.xdist_group(f"clients-{name}"))
    for name in ("sqlite", "postgresql")
]
SECOND_IS_LONG = pytest.mark.parametrize(
    "database",
    [
        DATABASES[0],
        pytest.param("postgresql", marks=[*DATABASES[1].marks, pytest.mark.long]),
    ],
    indirect=True,
    scope="session",
)
needs_clients = pytest.mark.skipif(
    not (CLIENTS / "openstack").exists(), reason="scripts/setup makes .venv-clients"
)


@contextmanager
def server(folder: Path, *flags: str) -> Iterator[str]:
    """Run a server with a store of its own; yield the address of its API."""
    argv = [LESSOR, "server", "--state-dir", str(folder / "state")]
    argv += ["--listen", ANY_PORT, "--agent-listen", ANY_PORT]
    argv += ["--set", "flat_network_bridge=br100", "--set", "flat_interface=eth1", *flags]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment(folder)) as made:
        assert made.stderr is not None
        said: list[str] = []
        try:
            yield _address(made.stderr, said)
        finally:
            made.send_signal(signal.SIGTERM)
            assert made.wait(PATIENCE_S) == 0, "".join(said)


def _address(lines: Any, said: list[str]) -> str:
    for line in lines:
        said.append(line)
        if "listening" in line and (found := re.search(r"api=(\S+)", line)):
            # what it says from now on is read, too: a full pipe would stop it
            threading.Thread(target=said.extend, args=(lines,), daemon=True).start()
            return f"http://{found[1]}"
    pytest.fail(f"the server ended: {''.join(said)}")


# in an order in which nothing is deleted that something else needs
NOUNS = ("ports", "subnets", "subnetpools", "address-scopes", "networks", "instances", "hosts")


def clear(endpoint: str) -> None:
    """Delete all that a server has."""
    with httpx.Client(base_url=endpoint, trust_env=False) as api:
        for noun in NOUNS:
            key = "name" if noun == "hosts" else "id"
            for row in api.get(f"/v2.0/{noun}").json()[noun.replace("-", "_")]:
                answer = api.delete(f"/v2.0/{noun}/{row[key]}")
                assert answer.status_code in {204, 404}, answer.text


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
    """The program `openstack`, started once for many commands (see inside/openstack_commands.py)."""

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

    def run(self, words: Sequence[str]) -> Outcome:
        """Run one command to its end."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(words), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "the program ended"
        return Outcome(**json.loads(answer))

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=PATIENCE_S)


class Openstack:
    """`openstack` with the options that lead to one server."""

    def __init__(self, program: Program, options: Mapping[str, str]) -> None:
        self._program = program
        self._options = [f"--os-{name}={value}" for name, value in options.items()]

    def __call__(self, command: str, *words: str) -> Any:
        """Run a command that shows or lists something; return that.

        Args:
            command: words, with spaces between them.
            words: further words, as they are.
        """
        out = self.run(*command.split(), *words, "-f", "json")
        return json.loads(out)

    def run(self, *words: str) -> str:
        """Run a command that has to work; return what it printed."""
        outcome = self._program.run([*self._options, *words])
        assert outcome.status == 0, f"openstack {' '.join(words)}: {outcome.err}{outcome.out}"
        return outcome.out

    def refusal(self, command: str) -> str:
        """Run a command that the server has to refuse; return what the user is told."""
        outcome = self._program.run([*self._options, *command.split()])
        assert outcome.status == 1, f"openstack {command}: {outcome}"
        return outcome.err
