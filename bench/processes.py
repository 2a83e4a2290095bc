"""Memory and processor time of a process, and of the whole machine, from the kernel."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
UTIME_AT = 11  # of what follows the program's name in /proc/PID/stat; proc(5) field 14


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has had, in seconds; exact to 10 ms."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[UTIME_AT]) + int(fields[UTIME_AT + 1])) / TICKS


def memory_mib(pid: int, proc: Path = PROC) -> tuple[float, float]:
    """Return resident and proportional set size, in MiB; the latter divides shared pages.

    Args:
        pid: as `proc` has it.
        proc: that of another pid namespace.
    """
    sizes = {}
    for line in (proc / str(pid) / "smaps_rollup").read_text().splitlines()[1:]:
        name, _, size = line.partition(":")
        sizes[name] = int(size.split()[0]) / 1024
    return sizes["Rss"], sizes["Pss"]


def mapped_mib(pid: int, name: str, proc: Path = PROC) -> float:
    """Return how much of the proportional size is pages of files of this name, mapped, in MiB.

    They are the page cache's: the kernel takes them back when it needs memory.
    """
    size, ours = 0, False
    for line in (proc / str(pid) / "smaps").read_text().splitlines():
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):
            ours = name in rest.rpartition("/")[2]
        elif ours and first == "Pss:":
            size += int(rest.split()[0])
    return size / 1024


def waited_s(proc: Path = PROC) -> float:
    """Return for how long, since boot, anything on the machine had to wait for a processor.

    0 on a kernel that doesn't know. On a shared machine it tells how much of a figure is its own.
    Source: Documentation/accounting/psi.rst.
    """
    try:
        some = (proc / "pressure" / "cpu").read_text().splitlines()[0]
    except OSError:
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6
