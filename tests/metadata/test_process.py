"""The process that serves guests: its rights, its end, and what becomes of one that does wrong."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from lessor.core.diff import Changes
from lessor.core.state import MetadataListener
from lessor.daemon.rights import unprivileged
from lessor.metadata import process as pauses
from lessor.metadata.guest import LIMITS
from lessor.metadata.listeners import MetadataListeners
from lessor.metadata.process import GuestProcess
from lessor.metadata.run import USERS
from tests.metadata.metadata_fakes import (
    FakeServer,
    Loopback,
    app,
    ports,
    running_loop,
    vm,
)
from tests.metadata.test_listeners import is_cut, wait_for
from tests.ports import Port

HERE = IPv4Address("127.0.0.1")
ROOT = Path(__file__).parents[2]
TRIES = 10
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: its rights are given up")


@dataclass
class Served:
    """A VM's metadata on loopback."""

    process: GuestProcess
    listeners: MetadataListeners
    port: int
    server: FakeServer

    @property
    def pid(self) -> int:
        """Return the number of the process, once it serves."""
        assert self.get() == (200, "a.novalocal")
        assert self.process.pid
        return self.process.pid

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def get(self) -> tuple[int, str]:
        asking = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            asking.request("GET", "/latest/meta-data/hostname")
            answer = asking.getresponse()
            return answer.status, answer.read().decode()
        finally:
            asking.close()

    def answers(self) -> bool:
        """Tell whether the VM is answered now."""
        try:
            return self.get() == (200, "a.novalocal")
        except OSError:
            return False


@contextmanager
def serving(
    *, ping_s: float = 2.0, program: str = pauses.PROGRAM, **values: object
) -> Iterator[Served]:
    server = FakeServer([vm("a", "blue", HERE), vm("b", "red", IPv4Address("127.0.0.9"))])
    with running_loop() as loop, Port() as port:
        process = app(server, **values).process(ping_s=ping_s, program=program)  # type: ignore[arg-type] # settings
        listeners = MetadataListeners(process, loop, ports(*server.vms), Loopback)
        listeners.apply(Changes(create=(MetadataListener("lo", port, ("blue",)),)))
        try:
            yield Served(process, listeners, port, server)
        finally:
            listeners.close()


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as made:
        yield made


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@as_root
def test_it_has_no_rights_and_can_get_none(served: Served) -> None:
    found = status(served.pid)
    user = unprivileged(USERS)
    assert user.uid
    assert found["Uid"].split() == [str(user.uid)] * 4
    assert found["Gid"].split() == [str(user.gid)] * 4
    assert found["Groups"] == ""
    assert {found[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"
    assert found["Umask"] == "0077"
    assert found["Threads"] == "1"


@as_root
def test_it_is_bounded_and_nobody_of_its_user_looks_into_it(served: Served) -> None:
    limits = Path(f"/proc/{served.pid}/limits").read_text()

    def limit(name: str) -> tuple[str, ...]:
        found = re.search(rf"Max {name} +(\S+) +(\S+)", limits)
        assert found
        return found.groups()

    assert limit("address space") == (str(LIMITS.memory), str(LIMITS.memory))
    assert limit("open files") == (str(LIMITS.files), str(LIMITS.files))
    for name in ("processes", "file size", "core file size"):
        assert limit(name) == ("0", "0")
    assert Path(f"/proc/{served.pid}/mem").stat().st_uid == 0


def open_files(pid: int) -> list[str]:
    """Return what a process has open; the socket of an answered request may close meanwhile."""
    found = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(file.readlink()))
    return found


def test_it_has_no_file_of_the_agent(served: Served, tmp_path: Path) -> None:
    with (tmp_path / "token").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        pid = served.pid
        os.kill(pid, signal.SIGKILL)
        wait_for(served.answers)
        held = open_files(served.pid)
    assert str(tmp_path / "token") not in held
    kinds = sorted(re.sub(r"[:\[].*", "", file) for file in held)
    # its own: two sockets, stderr, the loop's; one more socket where a connection still is there
    assert set(kinds) <= {"/dev/null", "socket", "pipe", "anon_inode"}
    assert len(kinds) <= 9


@as_root
def test_the_agents_secrets_are_not_in_its_memory() -> None:
    secret = "a secret that Nova has, too"
    with serving(metadata_proxy_shared_secret=secret, dhcp_domain="known-to-it") as served:
        assert served.get() == (200, "a.known-to-it")
        assert served.process.pid
        memory = memory_of(served.process.pid)
    assert b"known-to-it" in memory
    assert secret.encode() not in memory
    environment = Path("/proc/self/environ").read_bytes()
    assert b"PYTEST_CURRENT_TEST" not in memory or b"PYTEST_CURRENT_TEST" not in environment


def memory_of(pid: int) -> bytes:
    """Return all that a process can write; begin again where it gave a part back meanwhile."""
    for _ in range(TRIES):
        with suppress(OSError):
            return _memory_now(pid)
    raise AssertionError(f"the memory of process {pid} does not come to rest")


def _memory_now(pid: int) -> bytes:
    found = b""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if " rw" in line and "[v" not in line:
                memory.seek(start)
                found += memory.read(end - start) or b""
    return found


@as_root
def test_it_imports_nothing_once_its_rights_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a checkout that only root may read serves, too."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def seen(event, args):\n"
        "    if event == 'import' and os.getuid():\n"
        "        os.write(2, f'imports {args[0]}'.encode())\n"
        "        os._exit(9)\n"
        "sys.addaudithook(seen)\n"
    )
    tmp_path.chmod(0o700)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with capture_logs() as logs, serving() as served:
        assert served.answers(), logs
        with served.connect() as asking:  # a password, nonsense, HEAD, a large head
            asking.sendall(b"POST /openstack/latest/password HTTP/1.1\r\nHost: x\r\n")
            asking.sendall(b"Content-Length: 2\r\n\r\nab")
            assert asking.recv(99).startswith(b"HTTP/1.1 200")
        for sent in (b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000):
            with served.connect() as asking:
                asking.sendall(sent)
                assert asking.recv(99).startswith(b"HTTP/1.1 400")
        with served.connect() as asking:
            asking.sendall(b"GET /openstack/latest/meta_data.json HTTP/1.1\r\nHost: x\r\n\r\n")
            assert asking.recv(99).startswith(b"HTTP/1.1 200")
        assert events(logs) == ["metadata process serves"], logs


def events(logs: list[EventDict]) -> list[str]:
    return [entry["event"] for entry in logs]


def test_one_that_is_killed_is_started_again_at_once(served: Served) -> None:
    before = served.pid
    with capture_logs() as logs, served.connect() as held:
        os.kill(before, signal.SIGKILL)
        assert is_cut(held)
        wait_for(served.answers)
        assert served.pid != before
    assert events(logs) == ["metadata process ended", "metadata process serves"]
    assert (logs[0]["why"], logs[0]["again_s"]) == ("signal 9", 0)
    assert served.process.problem == ""
    assert served.listeners.observe()


def test_one_that_hangs_is_ended_and_started_again() -> None:
    with capture_logs() as logs, serving(ping_s=0.2) as served, served.connect() as held:
        before = served.pid
        os.kill(before, signal.SIGSTOP)
        assert is_cut(held)
        wait_for(served.answers)
    assert "metadata process ended" in events(logs)
    assert logs[1]["why"] == "it hangs: no answer for 0.4 s"


def test_the_agent_reads_nothing_of_what_a_guest_sends(served: Served) -> None:
    pid = served.pid
    os.kill(pid, signal.SIGSTOP)
    sent = b"GET /latest/meta-data/hostname HTTP/1.1\r\nHost: x\r\n\r\n"
    try:
        with served.connect() as asking:
            asking.sendall(sent)
            visit = accepted(served, asking)
            wait_for(lambda: unread(visit) == len(sent))
            os.kill(pid, signal.SIGCONT)
            assert asking.recv(99).startswith(b"HTTP/1.1 200")
            assert unread(visit) == 0
    finally:
        os.kill(pid, signal.SIGCONT)


def accepted(served: Served, client: socket.socket) -> socket.socket:
    """Return what the agent has of a connection, once it has accepted it."""
    visits = served.listeners._open["lo"].reception._open
    found: list[socket.socket] = []

    def there() -> bool:
        name = client.getsockname()
        found.extend(one.kept for one in list(visits) if one.kept.getpeername() == name)
        return bool(found)

    wait_for(there)
    return found[0]


def unread(made: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(made, termios.FIONREAD, bytes(4)))[0])


def test_a_connection_ends_where_the_agent_says_so_whatever_the_process_does(
    served: Served,
) -> None:
    pid = served.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with served.connect() as held:
            accepted(served, held)
            served.listeners.apply(Changes(delete=tuple(served.listeners.observe().values())))
            assert is_cut(held)
    finally:
        os.kill(pid, signal.SIGCONT)


PROGRAM = "tests.metadata.rogue"


@pytest.fixture
def rogue(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return lambda what: monkeypatch.setenv("LANG", what)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("floods", "a message has 65537 bytes; the maximum is 65536"),
        ("babbles", "a message is malformed"),
        ("asks twice", "two questions about one connection at once"),
        ("long password", "a message is malformed: Expected `str` of length <= 1020"),
    ],
)
def test_one_that_breaks_the_rules_is_ended(
    rogue: Callable[[str], None], what: str, why: str
) -> None:
    rogue(what)
    with capture_logs() as logs, serving(program=PROGRAM) as served, served.connect() as asking:
        assert is_cut(asking)
        wait_for(lambda: "metadata process ended" in events(logs))
    [ended] = [entry["why"] for entry in logs if entry["event"] == "metadata process ended"][:1]
    assert ended.startswith("protocol error: ")
    assert why in ended


def test_it_is_told_of_the_connections_that_it_has_and_of_no_others(
    rogue: Callable[[str], None],
) -> None:
    rogue("asks of others")
    with capture_logs() as logs, serving(program=PROGRAM) as served, served.connect() as asking:
        assert is_cut(asking)
        wait_for(lambda: "metadata process ended" in events(logs))
        assert not any(facts.instance and facts.instance.password for facts in served.server.vms)
    [ended] = [entry["why"] for entry in logs if entry["event"] == "metadata process ended"][:1]
    assert ended == "exit status 1: 1 answer, of a"


def test_one_that_leaves_a_connection_more_than_once_does_no_harm(
    rogue: Callable[[str], None],
) -> None:
    rogue("leaves twice")
    with capture_logs() as logs, serving(program=PROGRAM) as served:
        with served.connect() as asking:
            assert is_cut(asking)
        wait_for(lambda: not served.listeners._open["lo"].reception._open)
        assert events(logs) == ["metadata process serves"]


def test_one_that_does_not_last_is_said_until_it_does(
    rogue: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "PAUSES_S", (0.0, 0.05))
    rogue("fails")
    with serving(program=PROGRAM) as served:
        wait_for(lambda: "ended 3 times in a row" in served.process.problem)
        assert "(exit status 1: this line is shown)" in served.process.problem
        assert not served.answers()
        monkeypatch.setattr(pauses, "STEADY_S", 0.1)
        rogue("lasts")
        wait_for(lambda: not served.process.problem)


AGENT = """
import sys, time
from tests.metadata.test_process import serving
with serving() as served:
    print("pid", served.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("hangs", [False, True])
def test_it_ends_with_an_agent_that_is_killed(*, hangs: bool) -> None:
    with subprocess.Popen(
        (sys.executable, "-c", AGENT), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as agent:
        assert agent.stdout
        said = next(line for line in agent.stdout if line.startswith("pid "))
        pidfd = os.pidfd_open(int(said.split()[1]))
        try:
            if hangs:
                signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
            agent.kill()
            wait_for(lambda: has_ended(pidfd))
        finally:
            os.close(pidfd)


def has_ended(pidfd: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return True
    return False
