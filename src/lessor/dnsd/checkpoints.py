"""Copies what was written to a SQLite file's log into the file, in a thread: it waits for the disk.

Source: sqlite.org/wal.html.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

PAUSE_S = 1.0


class Checkpoints:
    """The thread. Close it before the file's other connection.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def written(self) -> None:
        """There is something to copy."""
        self._written.set()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._written.set()
        self._thread.join()

    def _run(self) -> None:
        with closing(sqlite3.connect(self._path, timeout=0, isolation_level=None)) as db:
            while not self._ended.is_set():
                self._written.wait()
                self._written.clear()
                self._ended.wait(PAUSE_S)
                with suppress(sqlite3.Error):  # the disk is full: after the next change again
                    _copy(db)


def _copy(db: sqlite3.Connection) -> None:
    """Copy. PASSIVE holds up no writer; TRUNCATE does, once nothing is left to copy."""
    db.execute("PRAGMA synchronous = NORMAL")
    _, pages, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if pages == copied:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
