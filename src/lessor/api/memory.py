"""How a server's process keeps its memory."""

from __future__ import annotations

import ctypes
import gc

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # glibc's malloc.h: M_..., for mallopt(3)
LARGE = 128 * 1024  # bytes; glibc's first threshold, which it would raise after each large answer
ARENAS = 2  # by default eight a processor, and each keeps what its threads freed


def keep_little() -> None:
    """Have glibc give the memory of large answers back; before there are threads."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_MMAP_THRESHOLD, LARGE)
        mallopt(_ARENA_MAX, ARENAS)


def settle() -> None:
    """Keep garbage collection short, once all that stays is there.

    A full collection that walks what the imports made stops every request for 0.1 s.
    """
    gc.collect()
    gc.freeze()
