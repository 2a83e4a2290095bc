from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lessor.store.ports.pair_ranges import PairRange, PairRanges

ends = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted)


@given(st.lists(ends, max_size=8), st.integers(0, 31))
def test_a_holder_is_a_pair_that_has_the_address(pairs: list[list[int]], number: int) -> None:
    held = [PairRange(str(n), "p1", first, last) for n, (first, last) in enumerate(pairs)]
    having = [one for one in held if one.first <= number <= one.last]
    found = PairRanges(held).find(number)
    assert found in having if having else found is None
    assert bool(PairRanges(held)) == bool(held)
