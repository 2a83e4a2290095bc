"""Caches the server's answers about VMs; uses expired ones while the server is unreachable.

The key is the networks of the question and the address of the client: equal addresses on two
networks are two VMs.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from lessor.model import MetadataFacts
from lessor.net.address import Address

Key = tuple[tuple[str, ...], Address]
Provider = Callable[[tuple[str, ...], Address], Awaitable[MetadataFacts | None]]

BUDGET = 32 << 20  # approximate bytes of all entries
ROW = 4096  # approximate maximum bytes of an entry without its user data
WAIT_S = 8.0  # timeout of the server without an old answer; guests time out after 10
STALE_WAIT_S = 2.0  # timeout of the server with an old answer
REST_S = 5.0  # after a failure, old answers are used without a request


@dataclass(frozen=True, slots=True)
class _Entry:
    facts: MetadataFacts
    at: float


class FactsCache:
    """A cache of `provider`'s answers.

    Args:
        provider: asks the server; None: no such VM.
        expiration_s: lifetime of an entry, in seconds; 0: no cache.
        clock: seconds.
        budget: approximate maximum bytes; the least recently used entry is dropped first.
    """

    def __init__(
        self,
        provider: Provider,
        expiration_s: float,
        clock: Callable[[], float],
        budget: int = BUDGET,
    ) -> None:
        self._provider = provider
        self._expiration_s = expiration_s
        self._clock = clock
        self._budget = budget
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._size = 0
        self._failed_at: float | None = None
        self._log = structlog.get_logger("lessor.metadata")

    async def get(self, networks: tuple[str, ...], address: Address) -> MetadataFacts | None:
        """Return the rows of the VM with this address on one of these networks.

        Raises:
            Exception: from the provider (TimeoutError if it took too long), without an old answer.
        """
        key = (networks, address)
        entry = self._entries.get(key)
        if entry is not None and (self._is_fresh(entry) or self._rests()):
            self._entries.move_to_end(key)
            return entry.facts
        try:
            async with asyncio.timeout(STALE_WAIT_S if entry else WAIT_S):
                facts = await self._provider(networks, address)
        except Exception as error:
            self._failed(error)
            if entry is None:
                raise
            return entry.facts
        self._answered()
        self._store(key, facts)
        return facts

    def expire(self, networks: tuple[str, ...], address: Address) -> None:
        """Expire an entry after its VM changed; it is still used if the server is unreachable."""
        key = (networks, address)
        if key in self._entries:
            self._entries[key] = _Entry(self._entries[key].facts, -math.inf)

    def _is_fresh(self, entry: _Entry) -> bool:
        return 0 <= self._clock() - entry.at < self._expiration_s

    def _rests(self) -> bool:
        return self._failed_at is not None and 0 <= self._clock() - self._failed_at < REST_S

    def _store(self, key: Key, facts: MetadataFacts | None) -> None:
        old = self._entries.pop(key, None)
        self._size -= _size(old.facts) if old else 0
        if facts is None:
            return
        self._entries[key] = _Entry(facts, self._clock())
        self._size += _size(facts)
        while self._size > self._budget:
            _, dropped = self._entries.popitem(last=False)
            self._size -= _size(dropped.facts)

    def _failed(self, error: Exception) -> None:
        if self._failed_at is None:
            reason = str(error) or type(error).__name__
            self._log.warning("metadata server unreachable", error=reason)
        self._failed_at = self._clock()

    def _answered(self) -> None:
        if self._failed_at is not None:
            self._log.info("metadata server reachable")
        self._failed_at = None


def _size(facts: MetadataFacts) -> int:
    return ROW + len((facts.instance and facts.instance.user_data) or "")
