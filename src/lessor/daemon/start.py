"""The start of a daemon, in its own process: as root first, then without rights.

The order: `begin`, open what takes root's rights, `confine`, open what is the process's own,
`serve`. Import everything before `confine`: no module can be read after it.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from lessor.daemon.control import Listener
from lessor.daemon.home import Home
from lessor.daemon.landlock import KEEP_FILES, WRITE_FILE, keep_to
from lessor.daemon.rights import Limits, User, forbid_children, give_up, unprivileged


@dataclass(frozen=True, slots=True)
class Begun:
    """A process that has its folder to itself, and still its rights."""

    home: Home
    user: User
    listener: Listener
    ready: int  # descriptor that is closed once it serves


def begin(home: Home, ready: int, users: Iterable[str]) -> Begun:
    """Take the folder and its control socket.

    Args:
        home: the folder.
        ready: descriptor that whoever starts it waits for.
        users: names; the process becomes the first that exists.

    Raises:
        Conflict: another process runs in this folder.
        OSError: the folder can't be used.
    """
    os.set_inheritable(ready, False)
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    home.make()
    home.hold()
    user = unprivileged(users) if os.geteuid() == 0 else User("", os.geteuid(), os.getegid())
    home.make_own(user.uid, user.gid)
    return Begun(home, user, Listener(home), ready)


def confine(begun: Begun, limits: Limits, folders: Collection[int] = ()) -> None:
    """Make `own/` the root folder, and give up all rights.

    Args:
        begun: the process.
        limits: upper bounds from now on.
        folders: descriptors of folders with files that it writes to, as a member of their groups;
            no others are opened, where the kernel has Landlock.

    Raises:
        OSError: a right could not be dropped.
    """
    if os.geteuid() == 0:
        os.chroot(begun.home.own)
        os.chdir("/")
    else:
        os.chdir(begun.home.own)
    groups = {os.fstat(one).st_gid for one in folders} - {0}  # not root's
    user = begun.user
    give_up(user.uid, user.gid, limits, with_parent=False, groups=groups)
    own = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    keep_to({own: KEEP_FILES, **dict.fromkeys(folders, WRITE_FILE)})
    os.close(own)


def serve(begun: Begun) -> None:
    """Start no more threads, and tell whoever waits that the process serves."""
    forbid_children()
    os.close(begun.ready)
