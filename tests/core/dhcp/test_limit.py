"""The limit of messages by MAC."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lessor.core.dhcp.limit import Bucket, Limit, take

LIMIT = Limit(rate=10, burst=5)


def passed(times: list[float]) -> int:
    bucket: Bucket | None = None
    count = 0
    for now in times:
        left = take(bucket, LIMIT, now)
        if left is not None:
            bucket, count = left, count + 1
    return count


def test_a_burst_passes_and_no_more() -> None:
    assert passed([0.0] * 100) == 5


def test_a_steady_client_passes_at_the_rate() -> None:
    assert passed([at / 10 for at in range(100)]) == 100


def test_a_client_that_waited_has_a_burst_and_no_more() -> None:
    assert passed([0.0] * 5 + [1e6] * 100) == 10


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_a_flood_passes_at_the_rate(times: list[float]) -> None:
    ordered = sorted(times)
    assert passed(ordered) <= LIMIT.burst + (ordered[-1] - ordered[0]) * LIMIT.rate + 1
