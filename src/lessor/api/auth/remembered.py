"""Credentials that were verified a while ago, so that the slow way is gone once and not each time.

Verifying is slow on purpose (bcrypt). Those who guess wait for themselves: one verification at a
time of one source and name, and names that nobody has wait in a line of their own.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from lessor.api.auth.caller import Caller
from lessor.errors import Unavailable

MAXIMUM = 10_000  # callers remembered; beyond it the oldest is forgotten
AT_ONCE = 2  # verifications at once, of names that somebody has
UNKNOWN_AT_ONCE = 1
MAXIMUM_WAITING = 1000  # requests that wait to be verified, of all sources
MAXIMUM_OF_ONE = 16  # the same, of one source and name

Verify = Callable[[], Awaitable[tuple[Caller, float]]]  # and for how long at most, in seconds


@dataclass(slots=True)
class _Line:
    """Requests that wait for one another."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Remembered:
    """Callers by what they sent.

    Kept is an HMAC with a key of this process: nothing in memory tells a credential.

    Args:
        longest_s: how long a caller is believed.
        clock: seconds, not of the day.
    """

    def __init__(self, longest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = secrets.token_bytes(32)
        self._longest_s = longest_s
        self._clock = clock
        self._known: dict[bytes, tuple[Caller, float]] = {}
        self._slots = {
            True: asyncio.Semaphore(AT_ONCE),
            False: asyncio.Semaphore(UNKNOWN_AT_ONCE),
        }
        self._lines: dict[Hashable, _Line] = {}
        self._waiting = 0

    async def caller(
        self, credential: bytes, verify: Verify, line: Hashable, *, is_known: bool = True
    ) -> Caller:
        """Return who sends a credential.

        Args:
            credential: what is remembered.
            verify: asked if need be; its errors are passed on.
            line: whose requests are verified one after the other: a source, and maybe a name.
            is_known: whether there is somebody of that name at all.

        Raises:
            Unavailable: too many wait already.
        """
        digest = hmac.digest(self._key, credential, "sha256")
        if caller := self._believed(digest):
            return caller
        async with self._turn(line), self._slots[is_known]:
            if caller := self._believed(digest):  # verified while we waited
                return caller
            caller, longest_s = await verify()
            self._known[digest] = (caller, self._clock() + min(longest_s, self._longest_s))
            if len(self._known) > MAXIMUM:
                del self._known[next(iter(self._known))]
        return caller

    def forget(self) -> None:
        """Believe nobody any more."""
        self._known.clear()

    @asynccontextmanager
    async def _turn(self, name: Hashable) -> AsyncIterator[None]:
        line = self._lines.setdefault(name, _Line())
        if self._waiting >= MAXIMUM_WAITING or line.waiting >= MAXIMUM_OF_ONE:
            raise Unavailable("too many logins wait to be verified; try again in some seconds")
        line.waiting += 1
        self._waiting += 1
        try:
            async with line.turn:
                yield
        finally:
            self._waiting -= 1
            line.waiting -= 1
            if not line.waiting:
                del self._lines[name]

    def _believed(self, digest: bytes) -> Caller | None:
        known = self._known.get(digest)
        if known is None:
            return None
        if self._clock() < known[1]:
            return known[0]
        del self._known[digest]
        return None
