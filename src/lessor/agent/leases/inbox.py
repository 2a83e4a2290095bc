"""The file that DHCP servers add lease events to, as a group that may do nothing else.

Folder and file are root's. The group enters the folder but neither lists it nor makes files there,
and writes to `current` but doesn't read it.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

from lessor.errors import LessorError

USER = "lessor-hook"  # made by scripts/setup and packaging/sysusers.d
ANYBODY = "nobody"  # whom every system has
FOLDER, FILE = 0o710, 0o620  # what the group may do: enter; write


class Apart(LessorError):
    """The spool can't take the file of the inbox."""


class Inbox:
    """One folder with the file `current`.

    Args:
        folder: made by `make`; on the file system of the spool that takes from it.
        group: id of the group that may write; None: of this process.
    """

    def __init__(self, folder: Path, group: int | None = None) -> None:
        self._folder = folder
        self._group = os.getegid() if group is None else group

    @property
    def folder(self) -> Path:
        """Where it is; watch it (`lessor.agent.host.wake`) to learn of new events."""
        return self._folder

    @property
    def current(self) -> Path:
        """The file that events are added to."""
        return self._folder / "current"

    def make(self) -> None:
        """Make folder and file, or repair their group and mode.

        Raises:
            OSError: they can't be made.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        allow(self._folder, self._group, FOLDER)
        if self.current.is_file() and not self.current.is_symlink():
            allow(self.current, self._group, FILE)
        else:
            self.renew()

    def is_empty(self) -> bool:
        """Tell whether it has the form that `make` gives it, and no event."""
        try:
            folder, file = self._folder.stat(), self.current.lstat()
        except FileNotFoundError:
            return False
        fit = stat.S_ISREG(file.st_mode) and self._fits(folder, FOLDER) and self._fits(file, FILE)
        return fit and file.st_size == 0

    def _fits(self, have: os.stat_result, mode: int) -> bool:
        return (have.st_gid, stat.S_IMODE(have.st_mode)) == (self._group, mode)

    def renew(self) -> None:
        """Replace the file by an empty one; there is no moment without one.

        A writer that has opened the old one still writes there.

        Raises:
            OSError: it can't be made; the old one stays.
        """
        new = self._folder / ".new"
        with suppress(FileNotFoundError):
            new.unlink()
        # opened for reading: nobody who watches for writes is woken
        os.close(os.open(new, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0))
        allow(new, self._group, FILE)
        new.replace(self.current)


def allow(path: Path, group: int, mode: int) -> None:
    """Give a file or folder this group and mode."""
    have = path.stat()
    if have.st_gid != group:
        os.chown(path, -1, group)
    if stat.S_IMODE(have.st_mode) != mode:
        path.chmod(mode)


def writer() -> pwd.struct_passwd:
    """Return the user that adds events; its group is the inbox's.

    Raises:
        KeyError: there is none, not even nobody.
    """
    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        return pwd.getpwnam(ANYBODY)
    return found if found.pw_uid and found.pw_gid else pwd.getpwnam(ANYBODY)


def link(inbox: Inbox, spool: Path) -> None:
    """Try whether the spool can take the file of the inbox.

    Raises:
        Apart: they are on different file systems.
    """
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    trial = spool / "linked"
    trial.unlink(missing_ok=True)
    try:
        trial.hardlink_to(inbox.current)
    except OSError as error:
        if error.errno == errno.EXDEV:
            where = f"{spool} is on another file system than {inbox.folder}"
            raise Apart(f"{where}; let both be on one") from error
    else:
        trial.unlink()
