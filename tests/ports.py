"""Ports of loopback for servers that tests start in processes of their own."""

from __future__ import annotations

import fcntl
import secrets
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TextIO

FIRST, COUNT = 20_000, 12_000


class Port:
    """A port that nobody else is given as long as this lives.

    No client is by chance, since theirs begin at 32768; and no other test, whatever process it runs
    in, since each locks a file named after its port.
    """

    def __init__(self) -> None:
        locks = Path(tempfile.gettempdir()) / "lessor-test-ports"
        locks.mkdir(exist_ok=True)
        lock: TextIO | None = None
        while lock is None:
            self.number = FIRST + secrets.randbelow(COUNT)
            lock = _lock(locks / str(self.number), self.number)
        self._lock = lock

    def __enter__(self) -> int:
        return self.number

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Let others have it."""
        self._lock.close()


def _lock(file: Path, number: int) -> TextIO | None:
    """Return the locked file; None: somebody has the port."""
    lock = file.open("w")
    with suppress(OSError), socket.socket() as bound:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        bound.bind(("127.0.0.1", number))
        return lock
    lock.close()
    return None
