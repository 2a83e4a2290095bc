"""A daemon's life: started once, spoken to, found by another agent, ended."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lessor.daemon import process as processes
from lessor.daemon.control import MAX_MESSAGE, MAX_PEERS
from lessor.daemon.home import Home
from lessor.daemon.line import Line
from lessor.daemon.process import Process, find, start
from lessor.errors import Unavailable
from lessor.lab.wait import wait_for

HERE = Path(__file__).parent
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: its rights are given up")


def landlock() -> bool:
    return int(ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)) > 0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    made = Home(tmp_path / ("a-long-name-" * 12) / "daemon")  # too long for a socket's address
    yield made
    running = find(made)
    if running is not None:
        running.end()
        running.close()


@pytest.fixture
def process(home: Home) -> Iterator[Process]:
    made = start(home, "echo")
    yield made
    made.close()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def answers(home: Home, process: Process) -> bool:
    """Tell whether a further connection is answered."""
    line = Line(home, process)
    try:
        return line.ask(b"a") == b"a"
    except Unavailable:
        return False
    finally:
        line.close()


def test_it_answers(home: Home, process: Process) -> None:
    line = Line(home, process)
    assert line.ask(b"a") == b"a"
    assert line.ask(b"b" * MAX_MESSAGE) == b"b" * MAX_MESSAGE
    line.close()


def test_descriptors_are_passed(home: Home, process: Process) -> None:
    reading, writing = os.pipe()
    line = Line(home, process)
    line.ask(b"word", [writing])
    assert os.read(reading, 9) == b"word"
    line.close()
    os.close(reading)
    os.close(writing)


@as_root
def test_it_has_no_rights_and_sees_one_folder(home: Home, process: Process) -> None:
    found = status(process.pid)
    assert found["Uid"].split()[0] != "0"
    assert found["Gid"].split()[0] != "0"
    assert found["Groups"] == ""
    assert {found[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"
    line = Line(home, process)
    assert line.ask(b"look") == b"([], '/')"
    line.close()


@as_root
@pytest.mark.skipif(not landlock(), reason="the kernel has no Landlock")
def test_a_descriptor_of_a_folder_is_no_way_out(home: Home, process: Process) -> None:
    line = Line(home, process)
    assert line.ask(b"escape") == b"kept"
    line.close()


@as_root
def test_files_of_another_user_are_not_given_to_it(home: Home) -> None:
    """It may have been taken over before, and have linked a file of root's."""
    home.make()
    secret = home.folder / "secret"
    secret.write_text("of root's")
    home.own.mkdir()
    (home.own / "hard").hardlink_to(secret)
    (home.own / "soft").symlink_to(secret)
    process = start(home, "echo")
    line = Line(home, process)
    assert line.ask(b"look") == b"([], '/')"
    assert secret.stat().st_uid == 0
    line.close()
    process.close()


def test_its_parent_is_not_whoever_started_it(process: Process) -> None:
    found = status(process.pid)
    assert found["PPid"] != str(os.getpid())
    assert os.getsid(process.pid) != os.getsid(0)


def test_another_agent_finds_it(home: Home, process: Process) -> None:
    again = start(home, "echo")
    assert again.pid == process.pid
    again.close()


def test_agents_that_start_it_at_once_have_one(home: Home) -> None:
    found: list[int] = []

    def begin() -> None:
        one = start(home, "echo")
        found.append(one.pid)
        one.close()

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_second_process_ends_at_once(home: Home, process: Process) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "echo", str(home.folder), "1"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert f"process {process.pid} already runs in" in done.stderr
    line = Line(home, process)
    assert line.ask(b"a") == b"a"
    line.close()


def test_its_last_words_tell_why_it_does_not_start(home: Home) -> None:
    with pytest.raises(Unavailable, match="echo does not start: no leg to stand on"):
        start(home, "echo", ("no leg to stand on",))


def test_its_death_is_noticed_while_it_is_asked(home: Home, process: Process) -> None:
    line = Line(home, process)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        line.ask(b"die", timeout_s=30)
    assert time.monotonic() - began < 10
    line.close()
    assert not process.alive()
    assert find(home) is None
    fresh = start(home, "echo")
    assert fresh.pid != process.pid
    fresh.close()


def test_one_that_hangs_is_ended(home: Home, process: Process) -> None:
    line = Line(home, process)
    with pytest.raises(Unavailable, match="does not answer"):
        line.ask(b"stop", timeout_s=0.3)
    line.close()
    hung = find(home)
    assert hung is not None
    hung.close()
    process.end()
    assert not process.alive()
    assert find(home) is None


def test_one_that_ignores_sigterm_is_ended(
    home: Home, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_S", 0.2)
    os.kill(process.pid, signal.SIGSTOP)
    process.end()
    assert not process.alive()


def test_a_message_that_is_too_long_ends_its_connection_only(home: Home, process: Process) -> None:
    long, other = Line(home, process), Line(home, process)
    with pytest.raises(Unavailable):
        long.ask(b"x" * (MAX_MESSAGE + 1))
    assert other.ask(b"a") == b"a"
    long.close()
    other.close()


def test_more_connections_than_it_takes_are_refused(home: Home, process: Process) -> None:
    lines = [Line(home, process) for _ in range(MAX_PEERS)]
    for line in lines:
        line.ask(b"a")
    further = Line(home, process)
    with pytest.raises(Unavailable):
        further.ask(b"a")
    for line in (*lines, further):
        line.close()
    until = time.monotonic() + 10
    while not answers(home, process):  # it may not have seen their ends yet
        assert time.monotonic() < until


@as_root
def test_only_root_reaches_its_socket(home: Home, process: Process) -> None:
    home.folder.chmod(0o755)
    control = home.folder / "control"
    assert control.stat().st_mode & 0o777 == 0o600
    control.chmod(0o666)
    inside = f"import os,socket\nos.chdir({str(home.folder)!r})\nos.setuid(65534)\n"
    inside += "s=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.connect('control')\n"
    inside += "s.send(b'a')\nprint(s.recv(9))\n"
    done = subprocess.run(
        [sys.executable, "-c", inside], capture_output=True, text=True, timeout=30, check=False
    )
    assert "b'a'" not in done.stdout


def test_a_peer_that_takes_no_answer_is_closed(home: Home, process: Process) -> None:
    with home.control() as path, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(10)
        sock.connect(path)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            all(sock.send(b"x" * 100_000) for _ in range(100))
    line = Line(home, process)
    assert line.ask(b"a") == b"a"
    line.close()


@as_root
@pytest.mark.parametrize(
    ("where", "stays"), [((), False), (("unshare", "--pid", "--fork", "--kill-child"), True)]
)
def test_one_that_lost_its_folder_is_ended_but_not_that_of_another_host(
    home: Home, where: tuple[str, ...], stays: bool
) -> None:
    command = (*where, "bash", "-s", "-m", "echo", str(home.folder))  # as such a process shows
    with subprocess.Popen(command, stdin=subprocess.PIPE) as other:
        try:
            words = "\0".join(command[len(where) :]).encode()
            wait_for(lambda: any(words in one for one in command_lines()), 10, "it runs")
            start(home, "echo").close()
            assert any(words in one for one in command_lines()) is stays
        finally:
            other.kill()


def command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes()
