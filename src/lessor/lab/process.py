"""Processes of the lab, identified by pid and start time, so that no other is ever killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lessor.errors import CommandError

PROC = Path("/proc")
START_TIME_FIELD = 19  # after the program's name in /proc/PID/stat; field 22 of proc(5)


@dataclass(frozen=True, slots=True)
class Process:
    """A process. Pids are reused; a pid with its start time (clock ticks) is unique."""

    pid: int
    started: int


def read_process(pid: int, proc: Path = PROC) -> Process | None:
    """Return the live process with this pid, None if there is none or it is a zombie."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else Process(pid, int(fields[START_TIME_FIELD - 1]))


def is_alive(process: Process, proc: Path = PROC) -> bool:
    """Return whether exactly this process still runs."""
    return read_process(process.pid, proc) == process


def processes(proc: Path = PROC) -> Iterator[tuple[Process, list[str]]]:
    """Yield every live process of a /proc with its command line."""
    for folder in proc.iterdir():
        if folder.name.isdecimal() and (process := read_process(int(folder.name), proc)):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield process, [word.decode(errors="replace") for word in words]


def kill(process: Process, timeout_s: float = 10) -> None:
    """Kill this process of our own pid namespace and wait for its end, unless it has ended.

    The pidfd is taken before the check, so the signal can't reach a later owner of the pid.

    Raises:
        TimeoutError: it still runs after `timeout_s`.
    """
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if not is_alive(process):
            return
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        if not select.select([fd], [], [], timeout_s)[0]:
            raise TimeoutError(f"process {process.pid} still runs {timeout_s:g} s after SIGKILL")
    finally:
        os.close(fd)


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout_s: float = 30,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program and return its standard output.

    Raises:
        CommandError: no such program, an exit status other than 0, or a timeout.
    """
    shown = " ".join(argv)
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=env,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{shown}: no program {argv[0]}; install it") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{shown}: still running after {timeout_s:g} s") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip()
        raise CommandError(f"{shown}: exit {done.returncode}: {words}")
    return done.stdout
