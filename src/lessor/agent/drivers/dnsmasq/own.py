"""Distinguishes our own changes to the files of a dnsmasq from foreign ones."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

OPEN = 0o755  # mode of folders: dnsmasq reads them as nobody
DROPPED_S = 5.0  # after a removal of ours, its event has been read
_Signature = tuple[int, int, int]  # inode, time of the last write, size


class OwnFiles:
    """The files that we wrote, as they were, and those that we removed.

    One thread writes while another one may ask.

    Args:
        folders: that the files are in.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._written: dict[Path, tuple[_Signature | None, _Signature]] = {}  # the last two
        self._dropped: dict[Path, float] = {}

    def take(self, paths: Iterable[Path]) -> None:
        """Take these files for ours, and no others."""
        self._written = {path: (None, _signature(path)) for path in paths}

    def place(self, path: Path, new: Path) -> None:
        """Note that `new` is about to be renamed to `path`."""
        before = self._written.get(path)
        self._written[path] = before[1] if before else None, _signature(new)

    def drop(self, path: Path) -> None:
        """Note that a file is about to go."""
        now = time.monotonic()
        self._dropped = {key: at for key, at in self._dropped.items() if now < at + DROPPED_S}
        self._dropped[path] = now
        self._written.pop(path, None)

    def is_foreign(self, path: Path, *, gone: bool) -> bool:
        """Tell whether a change was foreign.

        Args:
            path: of a file, or of one of the folders.
            gone: it was removed; it may exist again.
        """
        recently = time.monotonic() - self._dropped.get(path, float("-inf")) < DROPPED_S
        try:
            if gone:
                return not recently
            if path in self._folders:
                return stat.S_IMODE(path.stat().st_mode) != OPEN
            return _signature(path) not in self._written.get(path, ())
        except OSError:
            return not recently


def _signature(path: Path) -> _Signature:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size
