"""A daemon as the agent holds it: found, started and ended; it outlives the agent.

It is held by a pidfd, so a signal can't reach another process that got its number later. Its
parent is init: the agent, and the next one, are equal to it.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lessor.daemon.home import Home
from lessor.errors import LessorError, Unavailable

PASSED = ("LANG", "PATH", "PYTHONPATH")  # environment variables of the process
PROC = Path("/proc")
START_S = 30.0
STOP_S = 0.5  # for its end after SIGTERM, before SIGKILL
KILL_S = 2.0  # for its end after SIGKILL
LOOK_S = 0.01
_WORDS = 4096  # bytes of its last words that are read
_SHOWN = 300
_DETACHED = ("setsid", "--fork", sys.executable, "-P", "-m")


class Process:
    """A running daemon. Close it when done; that does not end the process.

    Attributes:
        pid: its number.
        pidfd: readable once it has ended.
    """

    def __init__(self, pid: int, home: Home) -> None:
        """Take hold of a process that runs in this folder.

        Raises:
            ProcessLookupError: there is none.
        """
        self.pid = pid
        self._home = home
        self.pidfd = os.pidfd_open(pid)

    def alive(self, within_s: float = 0.0) -> bool:
        """Tell whether it still runs, so many seconds from now if it doesn't end before."""
        return not self._ended(within_s)

    def end(self) -> None:
        """End it, by force if it hangs.

        It has ended once it has let go of its folder: the kernel closes some sockets slowly, but
        nothing of the process runs any more.

        Raises:
            LessorError: not even SIGKILL ends it.
        """
        for number, within_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, KILL_S)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)
            until = time.monotonic() + within_s
            while time.monotonic() < until:
                if self._ended(LOOK_S) or self._home.holder() != self.pid:
                    return
        raise LessorError(f"process {self.pid} does not end; see /proc/{self.pid}/stack")

    def close(self) -> None:
        """Let go of it."""
        os.close(self.pidfd)

    def _ended(self, within_s: float) -> bool:
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(within_s * 1000))


def find(home: Home) -> Process | None:
    """Return the process that runs in this folder; None: there is none."""
    pid = home.holder()
    if not pid:
        return None
    try:
        process = Process(pid, home)
    except ProcessLookupError:
        return None
    if home.holder() == pid:  # still: so it was not another process's number
        return process
    process.close()
    return None


def start(home: Home, program: str, arguments: Sequence[str] = ()) -> Process:
    """Return the process of this folder; start one if there is none.

    Args:
        home: its folder; made if it is missing.
        program: the Python module to run. Its arguments are the folder, the number of a descriptor
            that it closes once it serves, and then `arguments`.
        arguments: more of them.

    Raises:
        Unavailable: it does not start; the message has its last words.
        OSError: the folder can't be made.
    """
    home.make()
    with _alone(home):
        found = find(home)
        if found is not None:
            return found
        _end_strays(home, program)
        _execute(home, program, arguments)
        started = find(home)
    if started is None:
        raise Unavailable(f"{program} does not start: {last_words(home) or 'it ended'}")
    return started


def end(home: Home) -> None:
    """End the process that runs in this folder, also one that hangs.

    Raises:
        LessorError: it does not end.
    """
    running = find(home)
    if running is not None:
        try:
            running.end()
        finally:
            running.close()


def last_words(home: Home) -> str:
    """Return the last line of what a process of this folder wrote to its standard error."""
    with suppress(OSError), home.log.open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - _WORDS))
        lines = log.read(_WORDS).decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")[:_SHOWN]
    return ""


def _end_strays(home: Home, program: str) -> None:
    """End processes of this folder that have lost it: somebody removed their lock."""
    mine = ["-m", program, str(home.folder)]
    for path in PROC.glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if words[2:5] == mine and _is_of_this_host(path.parent):
                _kill(int(path.parent.name))


def _is_of_this_host(process: Path) -> bool:
    """Tell whether its folder is ours: containers, and hosts of a lab, may have one of the name."""
    here = PROC / "self/ns"
    return all(
        (process / "ns" / kind).stat().st_ino == (here / kind).stat().st_ino
        for kind in ("pid", "mnt")
    )


def _kill(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(KILL_S * 1000)
    finally:
        os.close(pidfd)


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Let one agent at a time start a process of this folder."""
    folder = os.open(home.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _execute(home: Home, program: str, arguments: Sequence[str]) -> None:
    """Start a process of its own session, and wait until it serves or has ended."""
    ready, tell = os.pipe()
    log = os.open(
        home.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    try:
        subprocess.run(
            # its parent ends at once, so that init waits for it, whoever started it
            [*_DETACHED, program, str(home.folder), str(tell), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pass_fds=(tell,),
            env={name: os.environ[name] for name in PASSED if name in os.environ},
            cwd="/",
            timeout=START_S,
            check=False,
        )
        os.close(tell)
        tell = -1
        poll = select.poll()
        poll.register(ready, select.POLLIN)
        poll.poll(START_S * 1000)
    finally:
        os.close(log)
        os.close(ready)
        if tell >= 0:
            os.close(tell)
