"""A running dnsmasq: found, started, signalled and stopped, never by a process id alone.

Ours is the one whose command line names our folder of reservations. It is held by a pidfd, so a
signal can't reach a stranger that got its number later (A8.3). It has a session of its own and
outlives the agent.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

from lessor.agent.run import Run
from lessor.core.dnsmasq import Paths
from lessor.errors import LessorError

PROC = Path("/proc")
STOP_S = 5.0  # for its end after SIGTERM, before SIGKILL
HELPER_S = 2.0  # for the lease events that it still hands over
SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Process:
    """One dnsmasq. Close it when done; that does not end the dnsmasq."""

    def __init__(self, pid: int) -> None:
        """Take hold of a process.

        Raises:
            ProcessLookupError: there is none.
        """
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)

    def alive(self) -> bool:
        """Tell whether it still runs; a zombie does not."""
        return not _ended(self.pidfd, 0)

    def argv(self) -> tuple[str, ...]:
        """Return its command line; () if it is gone."""
        return _strings(self.pid, "cmdline")

    def environ(self) -> dict[str, str]:
        """Return the environment that it was started with."""
        return dict(one.partition("=")[::2] for one in _strings(self.pid, "environ"))

    def hang_up(self, *, tagged: bool) -> None:
        """Make it read its files again: the only place where a SIGHUP is sent.

        Args:
            tagged: it may have loaded a host with a `set:` tag, of which dnsmasq 2.90 would die.
        """
        if tagged:
            raise LessorError(f"dnsmasq {self.pid} has set: tags; SIGHUP would kill it")
        signal.pidfd_send_signal(self.pidfd, signal.SIGHUP)

    def stop(self) -> None:
        """End it, and wait for it and for what it still reports of its leases."""
        helpers = [pid for pid, parent in _matching(self.argv()) if parent == self.pid]
        held = [pidfd for pidfd in map(_hold, helpers) if pidfd is not None]
        try:
            self._signal(signal.SIGTERM)
            if not _ended(self.pidfd, STOP_S):
                self._signal(signal.SIGKILL)
                _ended(self.pidfd, STOP_S)
            for pidfd in held:
                _ended(pidfd, HELPER_S)
        finally:
            for pidfd in held:
                os.close(pidfd)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.pidfd)

    def _signal(self, number: signal.Signals) -> None:
        if self.alive():
            signal.pidfd_send_signal(self.pidfd, number)


def find(paths: Paths) -> list[Process]:
    """Return the dnsmasqs that serve from this folder: normally one or none.

    The pid file is asked first, since a look at all processes costs; what it says is checked.
    """
    try:
        told = _held(int(Path(paths.pid).read_text()), paths)
    except (FileNotFoundError, ValueError):
        told = None
    return [told] if told else find_all(paths)


def find_all(paths: Paths) -> list[Process]:
    """Look at all processes. A child of dnsmasq, which runs its scripts, looks just like it."""
    matches = dict(_matching((_mark(paths),)))
    mains = [pid for pid, parent in matches.items() if parent not in matches]
    return [process for process in (_held(pid, paths) for pid in mains) if process]


def start(run: Run, argv: tuple[str, ...], environ: dict[str, str]) -> None:
    """Start dnsmasq with exactly this environment, which its hook inherits.

    Raises:
        CommandError: it did not come up; the message has its words.
    """
    variables = [f"{key}={value}" for key, value in environ.items()]
    run("env", "-i", SEARCH_PATH, "LC_ALL=C", *variables, *argv)


def _held(pid: int, paths: Paths) -> Process | None:
    """Take hold of a process if it is a living dnsmasq of this folder; looked at once held."""
    try:
        process = Process(pid)
    except (ProcessLookupError, OSError):
        return None
    if _mark(paths) in process.argv() and process.alive():
        return process
    process.close()
    return None


def _mark(paths: Paths) -> str:
    return f"--dhcp-hostsdir={paths.hosts}"


def _matching(arguments: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Yield (pid, parent) of the processes that have all of these arguments, at least one."""
    for entry in PROC.iterdir():
        if entry.name.isdigit() and arguments:
            pid = int(entry.name)
            argv = _strings(pid, "cmdline")
            if argv and argv[0].endswith("dnsmasq") and set(arguments) <= set(argv):
                yield pid, _parent(pid)


def _parent(pid: int) -> int:
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def _strings(pid: int, name: str) -> tuple[str, ...]:
    try:
        content = (PROC / str(pid) / name).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(os.fsdecode(one) for one in content.split(b"\0")[:-1])


def _hold(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _ended(pidfd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
