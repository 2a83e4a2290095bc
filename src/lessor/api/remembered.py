"""Credentials that were verified a while ago, so that the slow way is gone once and not each time."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable

from lessor.api.caller import Caller

MOST = 10_000  # callers remembered; beyond it the oldest is forgotten
AT_ONCE = 2  # verifications at once: those who guess must not stop those who are known

Verify = Callable[[], Awaitable[tuple[Caller, float]]]  # and for how long at most, in seconds


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
        self._slow = asyncio.Semaphore(AT_ONCE)

    async def caller(self, credential: bytes, verify: Verify) -> Caller:
        """Return who sends a credential; ask `verify`, whose errors are passed on, if need be."""
        digest = hmac.digest(self._key, credential, "sha256")
        if caller := self._believed(digest):
            return caller
        async with self._slow:
            if caller := self._believed(digest):  # verified while we waited
                return caller
            caller, longest_s = await verify()
            self._known[digest] = (caller, self._clock() + min(longest_s, self._longest_s))
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]
        return caller

    def forget(self) -> None:
        """Believe nobody any more."""
        self._known.clear()

    def _believed(self, digest: bytes) -> Caller | None:
        known = self._known.get(digest)
        if known is None:
            return None
        if self._clock() < known[1]:
            return known[0]
        del self._known[digest]
        return None
