"""Notices foreign writes to the files that dnsmasq reads (inotify(7)).

A file that was emptied, read by dnsmasq and restored is still empty in dnsmasq's memory, so every
change that is not ours counts, whatever the file contains afterwards.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

MODIFY, ATTRIB, MOVED_FROM, MOVED_TO = 0x2, 0x4, 0x40, 0x80
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
OVERFLOW, IGNORED = 0x4000, 0x8000
CHANGES = MODIFY | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
GONE, GONE_SELF = MOVED_FROM | DELETE, DELETE_SELF | MOVE_SELF
_EVENT = struct.Struct("iIII")
_READ = 1 << 16


class Watched(Protocol):
    """A folder of files that other programs may change."""

    def is_foreign(self, path: Path, *, gone: bool) -> bool:
        """Tell whether a change of this file was not ours."""

    def watched(self) -> list[Path]:
        """Return the folders to watch."""


class Touches:
    """One inotify instance for the folders of all servers.

    If the kernel grants none, changes are found at full looks only.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watches: dict[int, tuple[Watched, Path]] = {}

    def fileno(self) -> int | None:
        """Return the descriptor that a change makes readable; None: the kernel granted none."""
        return self._file if self._file >= 0 else None

    def follow(self, folder: Watched) -> None:
        """Watch these folders; one that can't be watched is compared at each full look."""
        for path in folder.watched():
            number = self._libc.inotify_add_watch(self._file, os.fsencode(path), CHANGES)
            if number >= 0:
                self._watches[number] = folder, path

    def read(self) -> Iterator[tuple[Watched | None, str]]:
        """Yield folder and file of each foreign change; no folder: changes were lost."""
        for number, mask, file in self._events():
            if mask & OVERFLOW:
                yield None, ""
            if mask & IGNORED:
                self._watches.pop(number, None)
            elif number in self._watches:
                folder, path = self._watches[number]
                if not file and not mask & GONE_SELF:  # its named event comes from the folder above
                    continue
                inner = path / file if file else path
                if folder.is_foreign(inner, gone=bool(mask & (GONE | GONE_SELF))):
                    yield folder, file or path.name

    def close(self) -> None:
        """Stop watching."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _events(self) -> Iterator[tuple[int, int, str]]:
        while True:
            try:
                content = os.read(self._file, _READ)
            except BlockingIOError:
                return
            at = 0
            while at < len(content):
                number, mask, _, length = _EVENT.unpack_from(content, at)
                at += _EVENT.size
                yield number, mask, os.fsdecode(content[at : at + length].rstrip(b"\0"))
                at += length
