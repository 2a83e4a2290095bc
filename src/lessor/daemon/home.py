"""The folder of a daemon: its lock, its control socket, and what it may write.

    lock      locked by the process while it lives; the kernel says which process that is
    control   the socket that the agent speaks to it by
    log       the last words of a process: its standard error
    own/      the process's root folder once it has no rights; its user's

Folder and files are root's, but for `own/`.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lessor.errors import Conflict

_FLOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one daemon."""

    folder: Path

    @property
    def own(self) -> Path:
        """The only folder that the process sees once it has no rights."""
        return self.folder / "own"

    @property
    def log(self) -> Path:
        """Where the process's last words are."""
        return self.folder / "log"

    def make(self) -> None:
        """Make the folder.

        Raises:
            OSError: it can't be made.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def make_own(self, uid: int, gid: int) -> None:
        """Make `own/`, or give it to this user, without the files of another one.

        They are not given: one may be a link to a file of root's.

        Raises:
            OSError: that fails.
        """
        self.own.mkdir(mode=0o700, exist_ok=True)
        status = self.own.stat()
        if (status.st_uid, status.st_gid) != (uid, gid):
            os.chown(self.own, uid, gid)
        for path in self.own.iterdir():
            if path.lstat().st_uid != uid:
                path.unlink()

    def hold(self) -> int:
        """Lock the folder for this process until it ends; return the lock's descriptor.

        Nothing else in this process may open the file: closing it would release the lock
        (fcntl(2)).

        Raises:
            Conflict: another process has it.
        """
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise Conflict(f"process {self.holder()} already runs in {self.folder}") from error
        return lock

    def holder(self) -> int:
        """Return the pid of the process that runs here, as the kernel says; 0: there is none."""
        try:
            lock = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, *_, pid = _FLOCK.unpack(fcntl.fcntl(lock, fcntl.F_GETLK, asked))
        finally:
            os.close(lock)
        return 0 if kind == fcntl.F_UNLCK else int(pid)

    @contextmanager
    def control(self) -> Iterator[str]:
        """Yield the path of the control socket in a form short enough for an address of AF_UNIX.

        Source: unix(7), sun_path; proc(5), /proc/self/fd.
        """
        folder = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{folder}/control"
        finally:
            os.close(folder)

    @property
    def _lock(self) -> Path:
        return self.folder / "lock"
