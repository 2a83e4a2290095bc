"""Network namespaces by name, as ip-netns(8) keeps them: looked at, and worked in.

"" is the namespace that this process is in.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path("/run/netns")
HERE = Path("/proc/thread-self/ns/net")  # of this thread, which `inside` moves
CLONE_NEWNET = 0x40000000  # linux/sched.h

Identity = tuple[int, int]  # device and inode: two files with the same are one namespace

_libc = ctypes.CDLL(None, use_errno=True)


def identity(name: str) -> Identity:
    """Return which namespace has this name now.

    Raises:
        OSError: none has.
    """
    try:
        return _identity(FOLDER / name if name else HERE)
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, f"no network namespace {name}") from error


def identity_of(pid: int) -> Identity:
    """Return which namespace a process is in.

    Raises:
        OSError: it is gone.
    """
    return _identity(Path(f"/proc/{pid}/ns/net"))


def prefix(name: str) -> tuple[str, ...]:
    """Return what goes before a command to run it in a namespace.

    Not `ip netns exec`, which also makes a mount namespace and mounts /sys anew for each.
    """
    return ("nsenter", f"--net={FOLDER / name}") if name else ()


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Work in a namespace: this thread, and no other, is in it until the end.

    Sockets that are made there stay there. Nothing else is to run in this thread meanwhile.

    Raises:
        OSError: there is no such namespace.
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
    """Move this thread; Python has os.setns() from 3.12 on."""
    if _libc.setns(namespace, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
