"""Notices when a process of a DHCP server ends, also one that an earlier agent started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

LOOK_S = 1.0  # between looks at which servers there are


class DeathWatch:
    """Waits on the servers' pidfds (pidfd_open(2)).

    Args:
        pidfds: returns what becomes readable when a process of a server ends, with its name.
        died: called, in the event loop, when one has.
    """

    def __init__(self, pidfds: Callable[[], Mapping[int, str]], died: Callable[[], None]) -> None:
        self._pidfds = pidfds
        self._died = died
        self._watched: dict[int, str] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                self._follow()
                await asyncio.sleep(LOOK_S)
        finally:
            for pidfd in list(self._watched):
                self._forget(pidfd)

    def _follow(self) -> None:
        present = self._pidfds()
        for pidfd in self._watched.keys() - present.keys():
            self._forget(pidfd)
        for pidfd in present.keys() - self._watched.keys():
            asyncio.get_running_loop().add_reader(pidfd, self._ended, pidfd)
            self._watched[pidfd] = present[pidfd]

    def _ended(self, pidfd: int) -> None:
        self._forget(pidfd)
        self._died()

    def _forget(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        self._watched.pop(pidfd, None)
