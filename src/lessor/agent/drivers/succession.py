"""One DHCP program takes over from another: the former server of a name ends, then ours starts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial

from lessor.agent.drivers.dhcp import DhcpDriver, Former
from lessor.core.diff import Changes, Unsound
from lessor.core.state import DhcpServer
from lessor.steps import tried


class Succession:
    """A driver whose servers need the ports that former servers have.

    Args:
        driver: of the program that serves from now on.
        former: servers of the other program.
    """

    def __init__(self, driver: DhcpDriver, former: Former) -> None:
        self._driver = driver
        self._former = former
        self.changed = driver.changed
        self.incidents = driver.incidents

    def observe(self) -> dict[str, DhcpServer | Unsound[DhcpServer]]:
        """Return the servers of both programs by name."""
        why = f"{self._former.program} serves it"
        left = {name: Unsound(one, why) for name, one in self._former.servers().items()}
        return {**self._driver.observe(), **left}

    def apply(self, changes: Changes[DhcpServer]) -> None:
        """Retire former servers, then apply the changes."""
        named = (*changes.create, *changes.replace, *changes.delete)
        problems = [
            error for one in named for error in tried(partial(self._former.retire, one.name))
        ]
        problems += tried(lambda: self._driver.apply(changes))
        if problems:
            raise ExceptionGroup(f"{len(problems)} problems with DHCP servers", problems)

    def problems(self) -> Sequence[str]:
        """Return what is wrong with all servers."""
        return self._driver.problems()

    def verify(self) -> None:
        """Compare what is believed with what runs at the next `observe()`."""
        self._driver.verify()

    async def run(self, thread: Executor) -> None:
        """Watch the servers, until cancelled."""
        await self._driver.run(thread)

    def close(self) -> None:
        """Stop watching; the servers go on."""
        self._former.close()
        self._driver.close()
