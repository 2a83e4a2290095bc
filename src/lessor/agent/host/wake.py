"""Waits for changes in a folder (inotify(7)), without polling."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

CLOSE_WRITE, MOVED_FROM, DELETE = 0x08, 0x40, 0x200  # sys/inotify.h
GONE = MOVED_FROM | DELETE
_READ = 65536


class FolderWatch:
    """Watches a folder for files that were written and closed, or for other events."""

    def __init__(self, folder: Path, events: int = CLOSE_WRITE) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._file: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1: can't watch a folder")
        if libc.inotify_add_watch(self._file, os.fsencode(folder), events) < 0:
            number = ctypes.get_errno()
            self.close()
            raise OSError(number, os.strerror(number), str(folder))

    def fileno(self) -> int:
        """Return what becomes readable at a change."""
        return self._file

    def drain(self) -> bool:
        """Forget the changes until now; tell whether there were any."""
        try:
            return bool(os.read(self._file, _READ))
        except BlockingIOError:
            return False

    async def changed(self) -> None:
        """Wait for a change since the last call; one reader at a time."""
        loop = asyncio.get_running_loop()
        while not self.drain():
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self._file, _settle, ready)
            try:
                await ready
            finally:
                loop.remove_reader(self._file)

    def close(self) -> None:
        """Stop watching."""
        os.close(self._file)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
