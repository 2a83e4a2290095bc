from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lessor.net.address import Address
from lessor.net.keys import address_at, key_of
from lessor.store.ports.pair_ranges import PairRange, PairRanges

# of both families, around the last address of IPv4
some = st.integers(0xFFFF_FFFF_FFF0, 0x1_0000_0000_000F).map(address_at)
ends = st.tuples(some, some).map(lambda both: sorted(map(key_of, both)))


@given(st.lists(ends, max_size=8), some)
def test_a_holder_is_a_pair_that_has_the_address(pairs: list[list[bytes]], wanted: Address) -> None:
    held = [PairRange(str(n), "p1", first, last) for n, (first, last) in enumerate(pairs)]
    having = [one for one in held if one.first <= key_of(wanted) <= one.last]
    found = PairRanges(held).find(wanted)
    assert found in having if having else found is None
    assert bool(PairRanges(held)) == bool(held)
