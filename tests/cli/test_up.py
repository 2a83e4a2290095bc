"""`lessor up`: the token of its host, and two processes that end together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from lessor.cli import up
from lessor.cli.up import ensure_token, introduction, run_both
from lessor.errors import Conflict, Unavailable
from lessor.settings import AgentSettings, FlatMapping, ServerSettings
from lessor.store.hosts import tokens
from lessor.store.store import Store


@pytest.fixture
def server(tmp_path: Path) -> ServerSettings:
    return ServerSettings(state_dir=tmp_path)


@pytest.fixture
def agent(tmp_path: Path) -> AgentSettings:
    return AgentSettings(
        state_dir=tmp_path,
        host="h1",
        my_ip=IPv4Address("192.0.2.1"),
        token_file=tmp_path / "etc" / "agent-token",
    )


def host_of_token(server: ServerSettings, agent: AgentSettings) -> str | None:
    with contextlib.closing(Store.open(server)) as store:
        return tokens.host_of(store, agent.token_file.read_text().strip())


def test_a_first_start_makes_the_hosts_token(server: ServerSettings, agent: AgentSettings) -> None:
    ensure_token(server, agent)
    assert host_of_token(server, agent) == "h1"
    assert stat.S_IMODE(agent.token_file.stat().st_mode) == 0o600


def test_a_second_start_keeps_the_token(server: ServerSettings, agent: AgentSettings) -> None:
    ensure_token(server, agent)
    before = agent.token_file.read_text()
    ensure_token(server, agent)
    assert agent.token_file.read_text() == before


def test_a_token_of_a_store_that_is_gone_is_replaced(
    server: ServerSettings, agent: AgentSettings
) -> None:
    agent.token_file.parent.mkdir()
    agent.token_file.write_text("of-another-store\n")
    ensure_token(server, agent)
    assert host_of_token(server, agent) == "h1"


def test_another_state_folder_leaves_the_usual_token_alone(
    server: ServerSettings, agent: AgentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the agent's that serves this host, which reads it at its next start."""
    monkeypatch.setattr(up, "USUAL_TOKEN_FILE", agent.token_file)
    agent.token_file.parent.mkdir()
    agent.token_file.write_text("of-another-store\n")
    file = ensure_token(server, agent)
    assert file == server.state_dir / agent.token_file.name
    assert host_of_token(server, replace(agent, token_file=file)) == "h1"
    assert agent.token_file.read_text() == "of-another-store\n"
    assert ensure_token(server, agent) == file


def test_a_host_whose_token_is_lost_is_refused_with_what_would_help(
    server: ServerSettings, agent: AgentSettings
) -> None:
    ensure_token(server, agent)
    agent.token_file.unlink()
    with pytest.raises(Conflict, match="`lessor host delete h1`"):
        ensure_token(server, agent)


def test_a_token_that_can_not_be_written_leaves_no_host_behind(
    server: ServerSettings, agent: AgentSettings
) -> None:
    """Or the next start, with room, would refuse a host whose token nobody has."""
    agent.token_file.parent.touch()  # a file where the folder should be
    with pytest.raises(Unavailable, match="can't write .*/agent-token: "):
        ensure_token(server, agent)
    agent.token_file.parent.unlink()
    ensure_token(server, agent)
    assert host_of_token(server, agent) == "h1"


FULL = """
mount -t tmpfs -o size=64k tmpfs "$1"
dd if=/dev/zero of="$1/fill" bs=4k status=none || true
exec "$2" up --state-dir "$1" --host h1 --set my_ip=127.0.0.1
"""


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    lessor = str(Path(sys.executable).with_name("lessor"))
    argv = ("unshare", "--mount", "sh", "-c", FULL, "up", str(tmp_path), lessor)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"make room on the disk of {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_introduction_says_where_all_is(server: ServerSettings, agent: AgentSettings) -> None:
    mapping = FlatMapping(physical_network="physnet1", bridge="br100", interface="eth1")
    with_bridge = ServerSettings(state_dir=Path("/s"), flat_mappings=(mapping,))
    assert introduction(with_bridge, agent).splitlines() == [
        "lessor on h1: API at http://127.0.0.1:9696, state in /s",
        "physnet1: bridge br100 over eth1",
        "try: lessor status",
    ]
    assert "no flat_network_bridge is set" in introduction(server, agent)


def both(*commands: list[str], ready: bool = True) -> str:
    first, second = commands
    return asyncio.run(asyncio.wait_for(run_both(first, second, ready=lambda: ready), 20))


def test_when_one_ends_the_other_is_ended_and_it_is_said(tmp_path: Path) -> None:
    listen = ["--listen=127.0.0.1:0", "--agent-listen=127.0.0.1:0"]
    words = both(["server", f"--state-dir={tmp_path}", *listen], ["config", "sample"])
    assert words == "config has ended (status 0), so server was stopped; its log is above"


def test_the_second_is_not_started_when_the_first_can_not_start() -> None:
    words = both(["server", "--set", "listen=wrong"], ["config", "sample"], ready=False)
    assert words == "server has ended (status 2); its log is above"


# --- all of it, in its own network namespace ------------------------------------------------------


class Machine:
    """`lessor up` in a network namespace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        options = ["--state-dir", str(folder), "--host", "h1", "--set=flat_network_bridge=br0"]
        options.append("--set=report_interval=0.5")
        words = " ".join(["exec", sys.executable, "-m", "lessor.cli.main", "up", *options])
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", f"ip link set lo up && {words}"],
            stdout=self.log,
            stderr=self.log,
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", *command]
        return subprocess.run(inside, capture_output=True, text=True, timeout=60, check=False)

    def lessor(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "lessor.cli.main", *arguments)

    def wait_for_host(self, *, in_sync: bool, limit_s: float = 40) -> None:
        """Wait until the API knows the host, and its agent has all that concerns it."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            said = self.run("curl", "-s", "http://127.0.0.1:9696/v2.0/hosts").stdout
            hosts: list[dict[str, Any]] = json.loads(said)["hosts"] if said else []
            if [host for host in hosts if host["in_sync"] or not in_sync]:
                return
            time.sleep(0.1)
        pytest.fail(f"h1 is not there: {(self.folder / 'log').read_text()}")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def clean(self) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGTERM)
        for pid in self._started():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self.log.close()

    def _started(self) -> Iterator[int]:
        """Yield DHCP servers, which outlive the agent: their files are in our folder."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    command = (entry / "cmdline").read_bytes()
                    if command.startswith(b"dnsmasq\0") and bytes(self.folder) in command:
                        yield int(entry.name)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="lessor-up-") as folder:
        Path(folder).chmod(0o755)  # dnsmasq reads its files as nobody, so not below pytest's 0700
        made = Machine(Path(folder))
        yield made
        made.clean()


@pytest.mark.lab
def test_one_machine_comes_up_plugs_a_port_and_ends_when_told(machine: Machine) -> None:
    machine.wait_for_host(in_sync=True)
    for words in (
        "network create blue --fixed_range_v4 10.0.0.0/24",
        "port create --network blue --name vm1",
    ):
        done = machine.lessor(*words.split())
        assert done.returncode == 0, done.stderr
    plugged = machine.lessor("port", "plug", "vm1", "--host", "h1")
    assert plugged.returncode == 0, plugged.stderr + (machine.folder / "log").read_text()
    assert "its VM will get 10.0.0.2" in plugged.stdout
    assert '<target dev="tap' in plugged.stdout
    assert "pending:\n  nothing" in machine.lessor("status").stdout
    assert machine.end(signal.SIGTERM) == 0
    log = (machine.folder / "log").read_text()
    assert "stopping" in log  # both were told, not killed
    assert "agent ends" in log


@pytest.mark.lab
def test_a_second_one_on_the_same_folder_is_refused(machine: Machine) -> None:
    machine.wait_for_host(in_sync=False)
    second = machine.lessor("up", "--state-dir", str(machine.folder), "--host", "h1")
    assert second.returncode == 1
    assert machine.process.poll() is None
