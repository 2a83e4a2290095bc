"""The identity of an agent: one process a state folder, known to the server from run to run.

A run presents itself as the successor of the run before, so that a restarted agent is taken at once
while a second agent of the same host name is refused. A clone of the machine has the same files; of
two successors of one run the server takes the first.
"""

from __future__ import annotations

import errno
import fcntl
import os
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path

from lessor.agent.host import unwritten
from lessor.agent.host.atomic import atomic_write
from lessor.errors import Conflict, Unavailable

MAX_UNCONFIRMED = 64  # runs; 36 bytes each in a report until the server has answered


def claim(folder: Path) -> int | None:
    """Take the folder for this process; return the lock's descriptor, to be kept open.

    None: there is no room for the lock. That one agent runs on this host is known otherwise
    (`lessor.agent.presence`).

    Raises:
        Conflict: another agent of this machine has it.
        Unavailable: the folder can't be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(unwritten.refusal(folder, error)) from error
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
            return None
        raise
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise Conflict(
            f"another agent of this machine runs with {folder}; stop it first, or, if this is "
            "another host (a network namespace) with a folder shared by mistake, see state_dir"
        ) from error
    return lock


class RunId:
    """The id of this run, and those of the runs before that the server may know.

    The id is on disk before the server sees it. A run that was killed before the server confirmed
    it stays a candidate, since its report may have arrived: an agent that is started again and
    again while no server answers remembers all of these runs, and names them in its reports. Where
    not even the block of a small file has room, the run after this one is refused until the server
    has not heard from the host for `agent_down_time`.

    Attributes:
        value: the id of this run.
        confirmed: the last run that the server confirmed; "" if none.
        unconfirmed: the runs since, oldest first, `MAX_UNCONFIRMED` at most.
    """

    def __init__(self, folder: Path) -> None:
        self._confirmed = folder / "run-id"
        self._tried = folder / "run-id.tried"
        self.value = str(uuid.uuid4())
        self.confirmed, *added = _read(self._confirmed).split() or [""]
        self.unconfirmed = tuple([*added, *_read(self._tried).split()][-MAX_UNCONFIRMED:])
        tried = "\n".join((*self.unconfirmed, self.value)).encode()
        written = partial(atomic_write, self._tried, tried, durable=True)
        if not unwritten.attempt(self._tried, written):
            self._add()

    def _add(self) -> None:
        """Add the id to the file of the confirmed one, whose block has room on a full disk, too."""
        with suppress(OSError), self._confirmed.open("r+b", buffering=0) as file:
            file.seek(0, os.SEEK_END)
            file.write(f" {self.value}".encode())

    def confirm(self) -> None:
        """Remember that the server has taken this run."""
        unwritten.forget(self._tried)
        unwritten.attempt(self._confirmed, self._write_confirmed)

    def _write_confirmed(self) -> None:
        atomic_write(self._confirmed, self.value.encode(), durable=True)
        self._tried.unlink(missing_ok=True)


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
