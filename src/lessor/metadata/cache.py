"""What the server said of VMs lately: few questions while it answers, old answers while it is away.

An answer is known by the networks that the question was about and the client's address: equal
addresses on two networks are two VMs.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

import structlog

from lessor.model import MetadataFacts

Key = tuple[tuple[str, ...], IPv4Address]
Provider = Callable[[tuple[str, ...], IPv4Address], Awaitable[MetadataFacts | None]]

BUDGET = 32 << 20  # bytes, about, for all answers
ROW = 4096  # bytes that an answer takes without its user data, at most about
WAIT_S = 8.0  # for the server, if there is nothing else to say; guests give up after 10
STALE_WAIT_S = 2.0  # for the server, if there is an old answer
REST_S = 5.0  # after a failure, old answers are given without asking first


@dataclass(frozen=True, slots=True)
class _Kept:
    facts: MetadataFacts
    at: float


class FactsCache:
    """Asks `provider`, remembers what it says.

    Args:
        provider: asks the server; None is "no such VM".
        expiration_s: for so long an answer is given without asking again; 0: never.
        clock: seconds.
        budget: bytes, about, that may be remembered; what was used longest ago goes first.
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
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._size = 0
        self._failed_at: float | None = None
        self._log = structlog.get_logger("lessor.metadata")

    async def get(self, networks: tuple[str, ...], address: IPv4Address) -> MetadataFacts | None:
        """Return what is known of the VM with this address on one of these networks.

        Raises:
            Exception: whatever the provider raised (TimeoutError if it took too long), and there
                is no older answer to give.
        """
        key = (networks, address)
        kept = self._kept.get(key)
        if kept is not None and (self._is_fresh(kept) or self._rests()):
            self._kept.move_to_end(key)
            return kept.facts
        try:
            async with asyncio.timeout(STALE_WAIT_S if kept else WAIT_S):
                facts = await self._provider(networks, address)
        except Exception as error:
            self._failed(error)
            if kept is None:
                raise
            return kept.facts
        self._answered()
        self._keep(key, facts)
        return facts

    def expire(self, networks: tuple[str, ...], address: IPv4Address) -> None:
        """Ask again next time: this VM changed just now. Its old answer is still better than none."""
        key = (networks, address)
        if key in self._kept:
            self._kept[key] = _Kept(self._kept[key].facts, -math.inf)

    def _is_fresh(self, kept: _Kept) -> bool:
        return 0 <= self._clock() - kept.at < self._expiration_s

    def _rests(self) -> bool:
        return self._failed_at is not None and 0 <= self._clock() - self._failed_at < REST_S

    def _keep(self, key: Key, facts: MetadataFacts | None) -> None:
        old = self._kept.pop(key, None)
        self._size -= _size(old.facts) if old else 0
        if facts is None:
            return
        self._kept[key] = _Kept(facts, self._clock())
        self._size += _size(facts)
        while self._size > self._budget:
            _, dropped = self._kept.popitem(last=False)
            self._size -= _size(dropped.facts)

    def _failed(self, error: Exception) -> None:
        if self._failed_at is None:
            self._log.warning("metadata server away", error=str(error) or type(error).__name__)
        self._failed_at = self._clock()

    def _answered(self) -> None:
        if self._failed_at is not None:
            self._log.info("metadata server back")
        self._failed_at = None


def _size(facts: MetadataFacts) -> int:
    return ROW + len((facts.instance and facts.instance.user_data) or "")
