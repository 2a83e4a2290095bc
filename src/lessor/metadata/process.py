"""Supervises the guest process: restarts it at once when it ends.

After repeated failures it restarts with growing pauses and reports a problem. Connections of an
ended process are reset, and so are new ones until the next process runs: guests retry. The
listening sockets belong to the agent, and stay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from lessor.daemon.rights import User
from lessor.errors import Unavailable
from lessor.metadata.backend import Backend
from lessor.metadata.messages import Settings
from lessor.metadata.run import Run, Visit

PROGRAM = "lessor.metadata.guest"
PING_S = 2.0
STEADY_S = 10.0  # a run that lasted less is a failure
PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)  # before the next run, by consecutive failures
FAILURES = 2  # consecutive, before a problem is reported


class GuestProcess:
    """The guest process. Used in the agent's event loop, except for `problem`.

    Args:
        backend: answers its questions.
        settings: settings of the service.
        program: the Python module to run.
        ping_s: seconds between pings.
    """

    def __init__(
        self,
        backend: Backend,
        settings: Settings,
        *,
        program: str = PROGRAM,
        ping_s: float = PING_S,
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._program = program
        self._ping_s = ping_s
        self._run: Run | None = None
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("lessor.metadata")
        self.problem = ""  # reported after repeated failures

    @property
    def pid(self) -> int | None:
        """The pid; None: no process runs now."""
        return self._run.pid if self._run else None

    def start(self) -> None:
        """Start the process and keep it running."""
        if self._task is None:
            with suppress(OSError):  # retried and logged
                self._run = Run(self._program, self._backend)
            self._task = asyncio.create_task(self._supervise())

    def hand_over(self, visit: Visit) -> None:
        """Pass a connection to the process.

        Raises:
            Unavailable: it does not run, or accepts none now.
        """
        if self._run is None:
            raise Unavailable("the guest process does not run")
        self._run.hand_over(visit)

    def finish(self, visit: Visit) -> None:
        """Let it end a connection after the current answer."""
        if self._run is not None:
            self._run.finish(visit)

    def forget(self, visit: Visit) -> None:
        """Answer no more questions about a connection."""
        if self._run is not None:
            self._run.forget(visit)

    async def aclose(self) -> None:
        """End the process."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._run is not None:
            await self._run.end()
            self._run = None
        await self._backend.aclose()

    async def _supervise(self) -> None:
        failures, ended_at = 0, 0.0
        while True:
            began = time.monotonic()
            try:
                self._run = self._run or Run(self._program, self._backend)
                why = await self._run.serve(self._settings, self._ping_s, self._ready(ended_at))
            except OSError as error:
                why = f"can't be started: {error}"
            self._run = None
            ended_at = time.monotonic()
            failures = failures + 1 if ended_at - began < STEADY_S else 1
            pause = PAUSES_S[min(failures, len(PAUSES_S)) - 1]
            self._log.warning("metadata process ended", why=why, again_s=pause)
            if failures >= FAILURES:
                self.problem = _problem(failures, why)
            await asyncio.sleep(pause)

    def _ready(self, ended_at: float) -> Callable[[User], None]:
        def ready(user: User) -> None:
            after = {"after_s": round(time.monotonic() - ended_at, 1)} if ended_at else {}
            self._log.info("metadata process serves", pid=self.pid, user=user.name, **after)
            asyncio.get_running_loop().call_later(STEADY_S, self._steady, self.pid)

        return ready

    def _steady(self, pid: int | None) -> None:
        if self.pid == pid:
            self.problem = ""


def _problem(failures: int, why: str) -> str:
    return (
        f"the process that answers metadata requests ended {failures} times in a row ({why}): "
        "VMs get no metadata until it lasts"
    )
