"""A running dnsmasq: found, started, signalled and stopped, never by a process id alone.

Ours is the one whose command line names our folder of reservations. It is held by a pidfd, so a
signal can't reach a stranger that got its number later (A8.3). It has a session of its own and
outlives the agent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lessor.agent.drivers.dnsmasq.proc import PROC, TCP, UDP, activity, holders, how_it_ended
from lessor.agent.host.run import Run
from lessor.core.dnsmasq.command import Paths
from lessor.errors import CommandError, LessorError
from lessor.netns import Identity, identity_of, inside, prefix

START_S = 30.0  # it reads all reservations before it goes on by itself
STOP_S = 5.0  # for its end after SIGTERM, before SIGKILL
HUNG_STOP_S = 0.5  # the same, of one that did not answer
DYING_S = 0.2  # until the end of what has no command line or no helper any more
KILL_S = 2.0  # for its end after SIGKILL
HELPER_S = 2.0  # for the lease events that it still hands over
MARK = "--dhcp-hostsdir="  # with our folder of reservations, it tells whose a process is
Scan = Mapping[str, Sequence[int]]  # process ids of the running dnsmasqs, by their mark
SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Process:
    """One dnsmasq: its main process and the helper that runs its lease script.

    The helper is the first child; later ones answer DNS over TCP. Close it when done; that does not
    end the dnsmasq.
    """

    def __init__(self, pid: int) -> None:
        """Take hold of a process.

        Raises:
            ProcessLookupError: there is none.
        """
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.helper = next(iter(_children(pid)), 0)
        self.helper_pidfd = _hold(self.helper) if self.helper else None

    @property
    def pidfds(self) -> tuple[int, ...]:
        """What becomes readable when one of its two processes ends."""
        return (self.pidfd,) if self.helper_pidfd is None else (self.pidfd, self.helper_pidfd)

    def alive(self) -> bool:
        """Tell whether the main process still runs; a zombie does not.

        One that is dying has no command line any more, and then no helper, a moment before its end.
        """
        return not _ended(self.pidfd, 0 if self.argv() and self.reports() else DYING_S)

    def reports(self) -> bool:
        """Tell whether its helper still runs, without which no lease event arrives."""
        return self.helper_pidfd is not None and not _ended(self.helper_pidfd, 0)

    def end(self) -> str:
        """Return which of its processes ended and how, as far as the kernel tells."""
        if not self.alive():
            how = how_it_ended(self.pid, self.pidfd)
            return f"dnsmasq (pid {self.pid}) ended" + (f": {how}" if how else "")
        how = how_it_ended(self.helper, self.helper_pidfd) if self.helper_pidfd is not None else ""
        what = f"the lease helper (pid {self.helper})" if self.helper else "a lease helper"
        return f"{what} of dnsmasq (pid {self.pid}) ended" + (f": {how}" if how else "")

    def argv(self) -> tuple[str, ...]:
        """Return its command line; () if it is gone."""
        return _strings(self.pid, "cmdline")

    def environ(self) -> dict[str, str]:
        """Return the environment that it was started with."""
        return dict(one.partition("=")[::2] for one in _strings(self.pid, "environ"))

    def namespace(self) -> Identity:
        """Return which network namespace it is in.

        Raises:
            OSError: it is gone.
        """
        return identity_of(self.pid)

    def hang_up(self, *, tagged: bool) -> None:
        """Make it read its files again: the only place where a SIGHUP is sent.

        Args:
            tagged: it may have loaded a host with a `set:` tag, of which dnsmasq 2.90 would die.
        """
        if tagged:
            raise LessorError(f"dnsmasq {self.pid} has set: tags; SIGHUP would kill it")
        signal.pidfd_send_signal(self.pidfd, signal.SIGHUP)

    def stop(self, *, hung: bool = False) -> None:
        """End it, and wait for it and for what it still reports of its leases.

        A stopped process is continued first: its helper has events that are not read yet.

        Args:
            hung: it did not answer, and gets less time.

        Raises:
            LessorError: not even SIGKILL ends it.
        """
        held = [pidfd for pidfd in map(_hold, _children(self.pid)) if pidfd is not None]
        try:
            self._signal(signal.SIGTERM)
            for pidfd in (self.pidfd, *held):
                _signal(pidfd, signal.SIGCONT)
            if not _ended(self.pidfd, HUNG_STOP_S if hung else STOP_S):
                self._signal(signal.SIGKILL)
            stays = not _ended(self.pidfd, KILL_S)
            until = time.monotonic() + HELPER_S
            for pidfd in held:
                if not _ended(pidfd, max(0.0, until - time.monotonic())):
                    _signal(pidfd, signal.SIGKILL)
        finally:
            for pidfd in held:
                os.close(pidfd)
        if stays:
            raise LessorError(
                f"dnsmasq {self.pid} does not end ({activity(self.pid)}) and keeps its sockets; "
                f"see /proc/{self.pid}/stack, /proc/{self.pid}/cgroup"
            )

    def close(self) -> None:
        """Close its descriptors."""
        for pidfd in self.pidfds:
            os.close(pidfd)

    def _signal(self, number: signal.Signals) -> None:
        _signal(self.pidfd, number)


def find(paths: Paths, scanned: Scan | None = None) -> list[Process]:
    """Return the dnsmasqs that serve from this folder: normally one or none.

    The pid file is asked first, since a look at all processes costs; what it says is checked.
    """
    filed = [held for held in (_held(pid, paths) for pid in _pid_file(paths)) if held]
    return filed or find_all(paths, scanned)


def find_all(paths: Paths, scanned: Scan | None = None) -> list[Process]:
    """Return all dnsmasqs that serve from this folder.

    Args:
        paths: of the folder.
        scanned: a look at all processes since which none was started but what the pid file names.
    """
    seen = scan() if scanned is None else scanned
    pids = dict.fromkeys((*_pid_file(paths), *seen.get(_mark(paths), ())))
    return [process for process in (_held(pid, paths) for pid in pids) if process]


def scan() -> Scan:
    """Look at all processes. A child of dnsmasq, which runs its scripts, looks just like it."""
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for pid, argv in _dnsmasqs():
        for mark in (one for one in argv if one.startswith(MARK)):
            found[mark][pid] = _parent(pid)
    return {
        mark: [pid for pid, parent in pids.items() if parent not in pids]
        for mark, pids in found.items()
    }


def start(run: Run, argv: tuple[str, ...], environ: dict[str, str], namespace: str = "") -> None:
    """Start dnsmasq with exactly this environment, which its hook inherits.

    In the namespace of this name; "" is the one that we are in.

    Raises:
        CommandError: it did not come up; the message has its words, and who has its port.
    """
    variables = [f"{key}={value}" for key, value in environ.items()]
    try:
        run(
            *prefix(namespace),
            "env",
            "-i",
            SEARCH_PATH,
            "LC_ALL=C",
            *variables,
            *argv,
            timeout_s=START_S,
        )
    except CommandError as error:
        raise CommandError(_obstacle(str(error), namespace)) from error


def _obstacle(message: str, namespace: str) -> str:
    """Return why dnsmasq did not start: its last words, not its command line of 1000 characters."""
    *_, words = message.rpartition("\ndnsmasq: ")
    *_, words = words.rpartition(": dnsmasq: ")
    if os.strerror(errno.EADDRINUSE) not in words:
        return f"dnsmasq does not start: {words}"
    kinds = ((67, UDP),) if "DHCP" in words else ((53, UDP), (53, TCP))
    with inside(namespace):
        found = [(port, kind, holders(port, kind)) for port, kind in kinds]
    taken = ", ".join(f"{kind.upper()} {port} by {who}" for port, kind, who in found if who)
    where = f"in namespace {namespace}" if namespace else "on this host"
    known = f"taken {where}: {taken}; stop it" if taken else f"nobody is found {where} that has it"
    return f"dnsmasq does not start: {words} ({known})"


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
    return f"{MARK}{paths.hosts}"


def _children(pid: int) -> list[int]:
    """Return what a process has started and not seen end.

    Source: proc(5), /proc/PID/task/TID/children; a kernel without it is asked for all processes.
    """
    try:
        return [int(one) for one in (PROC / f"{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return [other for other, _ in _dnsmasqs() if _parent(other) == pid]


def _dnsmasqs() -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (pid, command line) of all that run dnsmasq."""
    for name in os.listdir(PROC):  # noqa: PTH208 - names only: there may be thousands
        if name.isdigit():
            argv = _strings(int(name), "cmdline")
            if argv and argv[0].endswith("dnsmasq"):
                yield int(name), argv


def _pid_file(paths: Paths) -> list[int]:
    """Return the number in the pid file, which may be another process's by now."""
    try:
        return [int(Path(paths.pid).read_text())]
    except (FileNotFoundError, ValueError):
        return []


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


def _signal(pidfd: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        signal.pidfd_send_signal(pidfd, number)


def _ended(pidfd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
