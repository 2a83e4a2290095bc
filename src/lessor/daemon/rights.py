"""Drops root's rights for good, before a process reads what guests send.

Source: capabilities(7), prctl(2), setrlimit(2), linux/capability.h.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_SET_PDEATHSIG, _SET_DUMPABLE, _CAPBSET_DROP, _SET_NO_NEW_PRIVS = 1, 4, 24, 38  # PR_*
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64  # bits in two words; the kernel refuses unknown numbers

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class User:
    """A user without rights."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of a process: bytes of memory, descriptors, bytes of any file it writes."""

    memory: int
    files: int
    file_size: int = 0


def unprivileged(names: Iterable[str]) -> User:
    """Return the first of these users that exists.

    Raises:
        OSError: there is none.
    """
    names = tuple(names)
    for name in names:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid and found.pw_gid:
            return User(name, found.pw_uid, found.pw_gid)
    raise OSError(f"there is none of the users {', '.join(names)}; make the first (scripts/setup)")


def give_up(
    uid: int, gid: int, limits: Limits, *, with_parent: bool, groups: Collection[int] = ()
) -> None:
    """Switch to a user without rights that can't gain any.

    A process that is not root keeps its user.

    Args:
        uid: the user.
        gid: its group.
        limits: upper bounds from now on.
        with_parent: the process ends with its parent.
        groups: further groups.

    Raises:
        OSError: a right of root could not be dropped.
    """
    os.umask(0o077)
    for number in range(_CAPABILITIES):  # no executed program can gain one either
        _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0)
    if os.geteuid() == 0:
        os.setgroups(list(groups))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _clear_capabilities()
    _prctl(_SET_NO_NEW_PRIVS, 1)
    _prctl(_SET_DUMPABLE, 0)  # no ptrace by processes of the same user (dnsmasq is `nobody`, too)
    if with_parent:
        _prctl(_SET_PDEATHSIG, signal.SIGKILL)  # after setuid, which clears it
    _limit(resource.RLIMIT_AS, limits.memory)
    _limit(resource.RLIMIT_NOFILE, limits.files)
    _limit(resource.RLIMIT_FSIZE, limits.file_size)
    _limit(resource.RLIMIT_CORE, 0)


def forbid_children() -> None:
    """Start no process and no thread any more."""
    _limit(resource.RLIMIT_NPROC, 0)


def _clear_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, (ctypes.c_uint32 * 6)()):
        _fail("capset")


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        _fail(f"prctl {option}")


def _limit(which: int, maximum: int) -> None:
    _, hard = resource.getrlimit(which)
    bound = maximum if hard == resource.RLIM_INFINITY else min(maximum, hard)
    resource.setrlimit(which, (bound, bound))


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
