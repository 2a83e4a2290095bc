"""Network namespaces by name, as ip-netns(8) stores them: identifies and enters them.

"" is the namespace of this process.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path("/run/netns")
HERE = Path("/proc/thread-self/ns/net")  # of this thread; `inside` changes it
CLONE_NEWNET = 0x40000000  # linux/sched.h

Identity = tuple[int, int]  # device and inode; equal for all names of one namespace

_libc = ctypes.CDLL(None, use_errno=True)


def identity(name: str) -> Identity:
    """Return the identity of the namespace that has this name now.

    Raises:
        OSError: no namespace has the name.
    """
    try:
        return _identity(FOLDER / name if name else HERE)
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, f"no network namespace {name}") from error


def identity_of(pid: int) -> Identity:
    """Return the identity of a process's namespace.

    Raises:
        OSError: the process has ended.
    """
    return _identity(Path(f"/proc/{pid}/ns/net"))


def prefix(name: str) -> tuple[str, ...]:
    """Return the arguments before a command that run it in a namespace.

    Not `ip netns exec`, which also creates a mount namespace and mounts /sys for each command.
    """
    return ("nsenter", f"--net={FOLDER / name}") if name else ()


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Enter a namespace with this thread only, until the end of the block.

    Sockets created inside stay in the namespace. No other code may run in this thread meanwhile.

    Raises:
        OSError: no namespace has the name.
    """
    if not name:
        yield
        return
    home = os.open(HERE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter_named(name)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def _identity(file: Path) -> Identity:
    status = file.stat()
    return status.st_dev, status.st_ino


def _enter_named(name: str) -> None:
    try:
        there = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, f"no network namespace {name}") from error
    try:
        _enter(there)
    finally:
        os.close(there)


def _enter(namespace: int) -> None:
    """Move this thread; Python 3.12 adds os.setns()."""
    if _libc.setns(namespace, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
