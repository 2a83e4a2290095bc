"""Who this agent is: one at a time in a state folder, and known to the server from run to run.

A run presents itself as the successor of the run before, so that a restarted agent is taken at once
while a second agent of the same host name is refused. A clone of the machine has the same files; of
two successors of one run the server takes the first.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from lessor.errors import Conflict


def claim(folder: Path) -> int:
    """Take the folder for this process; return the lock's descriptor, to be kept open.

    Raises:
        Conflict: another agent of this machine has it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise Conflict(
            f"another agent runs with {folder}; stop it, or give this one another state_dir"
        ) from error
    return lock


class RunId:
    """The id of this run, and those that the server may know as the one before.

    The id is on disk before the server sees it: killed before it was confirmed, it is a candidate
    for "the run before" next time, beside the last confirmed one.
    """

    def __init__(self, folder: Path) -> None:
        self._confirmed = folder / "run-id"
        self._tried = folder / "run-id.tried"
        known = (_read(self._tried), _read(self._confirmed))
        self.previous = tuple(run for run in known if run) or ("",)
        self.value = str(uuid.uuid4())
        self._tried.write_text(self.value)

    def confirm(self) -> None:
        """Remember that the server has taken this run."""
        self._tried.replace(self._confirmed)


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
