"""The alarm of a hook that could not spool an event: the time of a file.

The hook opens the file for writing, which sets its time and takes no room on a disk. A time of 1970
means no alarm.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lessor.agent.leases.inbox import FILE, FOLDER, allow


class Alarm:
    """The alarm of one server.

    Args:
        path: of the file, in a folder of ours.
        group: id of the group that hooks belong to.
    """

    def __init__(self, path: Path, group: int) -> None:
        self._path = path
        self._group = group

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def arm(self) -> None:
        """Create it without an alarm, or repair its permissions."""
        folder = self._path.parent
        if not folder.parent.exists():
            folder.parent.mkdir(parents=True)
            folder.parent.chmod(0o755)
        folder.mkdir(exist_ok=True)
        allow(folder, self._group, FOLDER)
        if not self._path.exists():
            self._path.touch(mode=0)
            self.clear()
        allow(self._path, self._group, FILE)

    def raised(self) -> bool:
        """Tell whether an event was lost."""
        try:
            return self._path.stat().st_mtime_ns != 0
        except FileNotFoundError:
            return False

    def set(self) -> None:
        """Raise the alarm from the agent."""
        with suppress(FileNotFoundError):
            os.utime(self._path)

    def clear(self) -> None:
        """Clear the alarm."""
        os.utime(self._path, (0, 0))

    def remove(self) -> None:
        """Remove the file of a deleted server."""
        self._path.unlink(missing_ok=True)
