"""State that the agent could not write to disk: held in memory, reported, and tried again.

A full or broken disk must not end an agent: only it restarts the host's DHCP servers. So a file
that only helps the next run is written by `attempt`. One process runs one agent, and its threads
share this list.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_REASONS = {
    errno.ENOSPC: ("is full", "free some space"),
    errno.EDQUOT: ("is full (quota)", "free some space or raise the quota"),
    errno.EROFS: ("is read-only", "see `dmesg`, then mount it for writing"),
    errno.EIO: ("fails", "see `dmesg` and replace it"),
}


@dataclass(frozen=True, slots=True)
class _Unwritten:
    write: Callable[[], object]
    error: OSError


_lock = threading.RLock()
_files: dict[Path, _Unwritten] = {}


def attempt(path: Path, write: Callable[[], object]) -> bool:
    """Write a file; on an error have it tried again later and return False.

    Args:
        path: the file; a later attempt takes the place of an earlier one.
        write: writes the present content, all or nothing; raises OSError.
    """
    with _lock:
        try:
            write()
        except OSError as error:
            _files[path] = _Unwritten(write, error)
            return False
        _files.pop(path, None)
        return True


def forget(path: Path) -> None:
    """Give up a file that needs no writing any more."""
    with _lock:
        _files.pop(path, None)


def waits(path: Path) -> bool:
    """Return whether the last attempt to write a file failed."""
    return path in _files


def retry() -> None:
    """Try all again."""
    with _lock:
        for path, one in list(_files.items()):
            attempt(path, one.write)


def problems() -> list[str]:
    """Return why files are not written, and the remedy: one text for each reason."""
    with _lock:
        found = {sentence(path, one.error): None for path, one in _files.items()}
    return list(found)


def refusal(path: Path, error: OSError) -> str:
    """Return why nothing was begun, since it can't be noted, and the remedy."""
    _, remedy = _REASONS.get(error.errno or 0, ("", "see its permissions"))
    return f"nothing is moved: {path} can't be written ({error.strerror or error}); {remedy}"


def sentence(path: Path, error: OSError) -> str:
    """Return why a file can't be written, and the remedy."""
    code = error.errno or 0
    if code in _REASONS:
        state, remedy = _REASONS[code]
        return (
            f"the disk of {path.parent} {state}: changes are not kept over a restart of the agent; "
            f"{remedy}"
        )
    return f"{path} can't be written ({error.strerror or error}): it is not kept over a restart"
