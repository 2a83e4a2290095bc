"""Files that are either as before or as after, never in between, whatever dies meanwhile."""

from __future__ import annotations

import os
from pathlib import Path


def atomic_write(path: Path, content: bytes, *, durable: bool, mode: int | None = None) -> None:
    """Replace a file at once.

    Args:
        path: the file; its folder exists.
        content: all of it.
        durable: it is on the disk when this returns; else it survives a crash of the process only.
        mode: its permissions; None: as the umask of this process has it.

    Raises:
        OSError: it can't be written (disk full ...); the file is as it was.
    """
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)
    if durable:
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
