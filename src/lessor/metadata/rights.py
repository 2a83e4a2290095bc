"""Drops root's rights for good, before a process reads guests' requests.

Source: capabilities(7), prctl(2), setrlimit(2), linux/capability.h.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
from dataclasses import dataclass

USERS = ("lessor-metadata", "nobody")  # the first existing one is used
MEMORY = 512 << 20  # bytes of address space: 50 MB, and the user data of guests
FILES = 4096

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


def unprivileged() -> User:
    """Return the user of the guest process.

    Raises:
        OSError: there is none.
    """
    for name in USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid and found.pw_gid:
            return User(name, found.pw_uid, found.pw_gid)
    raise OSError(f"there is none of the users {', '.join(USERS)}; make the first (scripts/setup)")


def give_up(uid: int, gid: int) -> None:
    """Switch to a user without rights that can't gain any, and end with the parent.

    A process that is not root keeps its user.

    Raises:
        OSError: a right of root could not be dropped.
    """
    os.umask(0o077)
    for number in range(_CAPABILITIES):  # no executed program can gain one either
        _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _clear_capabilities()
    _prctl(_SET_NO_NEW_PRIVS, 1)
    _prctl(_SET_DUMPABLE, 0)  # no ptrace by processes of the same user (dnsmasq is `nobody`, too)
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)  # after setuid, which clears it
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_NOFILE, FILES)
    for none in (resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        _limit(none, 0)  # no new process or thread, no write to a file


def _clear_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, (ctypes.c_uint32 * 6)()):
        _fail("capset")


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        _fail(f"prctl {option}")


def _limit(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (bound, bound))


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
