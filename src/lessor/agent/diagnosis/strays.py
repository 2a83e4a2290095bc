"""Finds taps without a port on this host."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lessor.core.plan.desired import Desired
from lessor.model import Problem

KEY = "stray "  # before a tap's name: the server knows its port
LASTING_S = 10.0  # a VM that leaves, or is about to arrive, has its tap for a while
MAXIMUM = 20
_TAP = re.compile(r"tap[0-9a-f]{8}-[0-9a-f]{2}")


def device_names() -> set[str]:
    """Return the names of the network devices of this process's namespace."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    return {line.partition(":")[0].strip() for line in lines}


class Strays:
    """Remembers how long taps have been there that are not desired.

    Args:
        names: returns the names of all devices.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        names: Callable[[], set[str]] = device_names,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = names
        self._clock = clock
        self._since: dict[str, float] = {}

    def problems(self, desired: Desired) -> Iterator[Problem]:
        """Yield a problem for each such tap that has been there for a while."""
        state, now = desired.state, self._clock()
        wanted = {*state.taps, *state.dhcp_devices, *state.ovs_ports}
        strays = {name for name in self._names() if _TAP.fullmatch(name)} - wanted
        self._since = {name: self._since.get(name, now) for name in strays}
        late = sorted(name for name, at in self._since.items() if now - at >= LASTING_S)
        for name in late[:MAXIMUM]:
            text = f"{name} is on this host, and none of its ports has that tap"
            yield Problem(text=text, key=f"{KEY}{name}", waits=True)
