"""Says that a hook could not spool an event, by the time of a file that the hook may only write to.

The hook opens the file for writing: that sets its time, and takes no room on a disk. 1970 is quiet.
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
        """Make it, quiet, or mend who may raise it."""
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
        """Say ourselves that events were lost."""
        with suppress(FileNotFoundError):
            os.utime(self._path)

    def clear(self) -> None:
        """Make it quiet."""
        os.utime(self._path, (0, 0))

    def remove(self) -> None:
        """Remove it: there is no such server any more."""
        self._path.unlink(missing_ok=True)
