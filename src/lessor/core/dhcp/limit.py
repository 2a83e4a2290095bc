"""The limit of messages from one MAC: a token bucket as a value.

Each MAC with a reservation has a bucket of its own, so a flood costs its sender alone.
"""

from __future__ import annotations

from typing import NamedTuple


class Limit(NamedTuple):
    """Messages a second in the long run, and how many at once."""

    rate: float
    burst: float


class Bucket(NamedTuple):
    """Tokens that were left at a time."""

    tokens: float
    at: float


def take(bucket: Bucket | None, limit: Limit, now: float) -> Bucket | None:
    """Take a token; None: there is none, and the message is to be dropped.

    Args:
        bucket: what `take` returned last; None: this is the first message.
        limit: of every MAC.
        now: seconds of a clock that does not go back.
    """
    if bucket is None:
        return Bucket(limit.burst - 1, now)
    tokens = min(limit.burst, bucket.tokens + (now - bucket.at) * limit.rate)
    return Bucket(tokens - 1, now) if tokens >= 1 else None
