"""Notes on disk of unfinished changes of a driver, so that they can be finished after a crash.

A change that can't be noted is not begun: a host might lose its addresses. A note that can't be
cleared is cleared in memory, and on disk when there is room.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lessor.agent.host import unwritten
from lessor.agent.host.atomic import atomic_write
from lessor.errors import Unavailable

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Journal:
    """One note a key, in one file. Notes from before the host's last boot are void: so are devices.

    Args:
        path: the file; its folder is made when there is something to note.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cleared: dict[str, Any] | None = None  # the notes, where the disk may still have more

    def read(self) -> dict[str, Any]:
        """Return the open notes, by key."""
        if self._cleared is not None and unwritten.waits(self._path):
            return dict(self._cleared)
        try:
            content = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        notes: dict[str, Any] = content["notes"] if content.get("boot") == _boot() else {}
        return notes

    def note(self, key: str, value: Any) -> None:
        """Keep a note; it is on the disk when this returns.

        Raises:
            Unavailable: it can't be written.
        """
        notes = {**self.read(), key: value}
        try:
            self._write(notes)
        except OSError as error:
            raise Unavailable(unwritten.refusal(self._path, error)) from error
        unwritten.forget(self._path)

    def clear(self, key: str) -> None:
        """Forget a note; none there is fine."""
        notes = self.read()
        if notes.pop(key, None) is not None:
            self._cleared = notes
            unwritten.attempt(self._path, lambda: self._write(notes))

    def _write(self, notes: dict[str, Any]) -> None:
        if not notes:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"boot": _boot(), "notes": notes}).encode()
        atomic_write(self._path, content, durable=True)


def _boot() -> str:
    return BOOT_ID.read_text().strip()
