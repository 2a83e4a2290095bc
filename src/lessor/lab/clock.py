"""Runs `lessor` with a clock that the lab can step: `python -m lessor.lab.clock FILE WORDS...`.

Linux has no namespace of CLOCK_REALTIME, and libfaketime makes Python's sleep fail (it answers
EINVAL to clock_nanosleep with an absolute time). So time.time is replaced before anything of
`lessor` is imported. Only our own Python programs have the stepped clock; dnsmasq and the kernel
have the true one.
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lessor.lab.node import Node

FILE = "clock"  # in a node's /etc/lessor: offset of its programs' clock, in seconds
LOOK_S = 0.2  # between two reads of the file


class SteppedClock:
    """Replaces time.time: seconds since 1970, plus the present offset in the file."""

    def __init__(
        self,
        path: Path,
        now: Callable[[], float] = time.time,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._now = now
        self._tick = tick
        self._offset_s = 0.0
        self._look_at = float("-inf")

    def __call__(self) -> float:
        """Return the time."""
        if self._tick() >= self._look_at:
            self._look_at = self._tick() + LOOK_S
            self._offset_s = read_offset(self._path)
        return self._now() + self._offset_s


def read_offset(path: Path) -> float:
    """Return the offset in seconds; 0 without a file."""
    try:
        return float(path.read_text())
    except FileNotFoundError:
        return 0.0


def has_clock(node: Node) -> bool:
    """Return whether programs that this node starts now have a stepped clock."""
    return (node.etc_dir / FILE).exists()


def step(node: Node, offset_s: float) -> None:
    """Set the offset of a node's programs' clock from the true one.

    Programs started before the node's first step keep the true time.
    """
    fresh = node.etc_dir / f"{FILE}.new"
    fresh.write_text(f"{offset_s}\n")
    fresh.replace(node.etc_dir / FILE)


def program(node: Node, lessor: str) -> tuple[str, ...]:
    """Return the command that starts `lessor` on a node."""
    if not has_clock(node):
        return (lessor,)
    return (sys.executable, "-m", "lessor.lab.clock", f"/etc/lessor/{FILE}")


def main() -> None:
    """Replace the clock and run `lessor`."""
    time.time = SteppedClock(Path(sys.argv[1]))
    sys.argv[:] = ["lessor", *sys.argv[2:]]
    runpy.run_module("lessor.cli.main", run_name="__main__")


if __name__ == "__main__":
    main()
