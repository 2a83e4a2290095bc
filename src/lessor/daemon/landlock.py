"""Keeps a process to folders, whatever descriptors it has: Landlock, where the kernel has it.

A descriptor of a folder outside of a process's root folder is a way out of that.

Source: landlock(7), linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Mapping
from contextlib import suppress

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every architecture
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH = 1
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # of the file system, by version: the first so many bits
_MOST_RIGHTS = 16  # since version 5

WRITE_FILE, READ_FILE, READ_DIR, REMOVE_FILE, MAKE_REG = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8
TRUNCATE = 1 << 14
KEEP_FILES = WRITE_FILE | READ_FILE | READ_DIR | REMOVE_FILE | MAKE_REG | TRUNCATE

_libc = ctypes.CDLL(None, use_errno=True)


def keep_to(folders: Mapping[int, int]) -> bool:
    """Open nothing from now on but below these folders; return whether the kernel sees to that.

    The process has no_new_privs already. Threads that it starts later are kept, too.

    Args:
        folders: what may be done below each, by the folder's descriptor.
    """
    version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    handled = (1 << _RIGHTS.get(version, _MOST_RIGHTS)) - 1
    with suppress(OSError):
        rules = _call(_CREATE_RULESET, struct.pack("Q", handled), ctypes.c_size_t(8), 0)
        try:
            for folder, rights in folders.items():
                rule = struct.pack("=Qi", rights & handled, folder)
                _call(_ADD_RULE, rules, _PATH_BENEATH, rule, 0)
            _call(_RESTRICT_SELF, rules, 0)
        finally:
            os.close(rules)
        return True
    return False


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
