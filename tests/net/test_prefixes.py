from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from lessor.net.address import Block
from lessor.net.keys import number_of
from lessor.net.prefixes import Claim, blocks_of, clash, compacted, cut, extent, gaps

BASE = int(IPv4Network("10.0.0.0/24").network_address)
START = number_of(IPv4Address(BASE))


@st.composite
def blocks(draw: st.DrawFn) -> IPv4Network:
    length = draw(st.integers(24, 32))
    step = 1 << (32 - length)
    return IPv4Network((BASE + draw(st.integers(0, 256 // step - 1)) * step, length))


def numbers(found: object) -> set[int]:
    spans = [extent(one) if isinstance(one, IPv4Network | IPv6Network) else one for one in found]  # type: ignore[attr-defined]
    return {n for first, last in spans for n in range(first, last + 1)}


@given(st.lists(blocks(), max_size=6), st.lists(blocks(), max_size=12))
def test_gaps_are_exactly_what_is_not_taken(
    whole: list[IPv4Network], taken: list[IPv4Network]
) -> None:
    parts = [extent(block) for block in compacted(whole)]
    found = list(gaps(parts, [extent(block) for block in taken]))
    assert numbers(found) == numbers(whole) - numbers(taken)
    assert sum(last - first + 1 for first, last in found) == len(numbers(found))


@given(st.integers(0, 255), st.integers(0, 255))
def test_blocks_make_up_their_gap(one: int, other: int) -> None:
    gap = START + min(one, other), START + max(one, other)
    found = list(blocks_of(gap))
    assert numbers(found) == numbers([gap])
    assert compacted(found) == tuple(found)


@given(
    st.lists(blocks(), min_size=1, max_size=4),
    st.lists(st.tuples(st.booleans(), st.integers(24, 32)), max_size=40),
)
def test_blocks_never_overlap_and_a_refusal_means_no_room(
    whole: list[IPv4Network], wishes: list[tuple[bool, int]]
) -> None:
    parts = [extent(block) for block in compacted(whole)]
    taken: list[Block] = []
    for give_back, length in wishes:
        if give_back and taken:
            taken.pop(length % len(taken))
        found = cut(parts, [extent(block) for block in taken], length)
        free = numbers(whole) - numbers(taken)
        step = 1 << (32 - length)
        room = [n for n in range(START, START + 256, step) if set(range(n, n + step)) <= free]
        if found is None:
            assert not room
        else:
            assert found.prefixlen == length
            assert number_of(found.network_address) in room
            taken.append(found)


def test_the_smallest_room_is_used_first() -> None:
    whole = [extent(IPv4Network("10.0.0.0/24"))]
    taken = [extent(IPv4Network(block)) for block in ("10.0.0.0/26", "10.0.0.96/27")]
    assert cut(whole, taken, 28) == IPv4Network("10.0.0.64/28")


def test_the_whole_of_ipv4_can_be_a_prefix() -> None:
    assert cut([extent(IPv4Network("0.0.0.0/0"))], [], 8) == IPv4Network("0.0.0.0/8")


def test_blocks_of_both_families_never_meet() -> None:
    whole: list[Block] = [
        IPv4Network("0.0.0.0/0"),
        IPv6Network("::/96"),
        IPv6Network("2001:db8::/63"),
    ]
    assert compacted(reversed(whole)) == tuple(whole)
    spans = [extent(block) for block in whole]
    assert clash(Claim(*span, str(n)) for n, span in enumerate(spans)) is None
    assert [block for span in gaps(spans, [spans[0]]) for block in blocks_of(span)] == whole[1:]
    assert cut(spans[2:], [extent(IPv6Network("2001:db8::/64"))], 64) == IPv6Network(
        "2001:db8:0:1::/64"
    )


class Counted(Claim):
    """A claim that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: object) -> bool:
        Counted.compared += 1
        return tuple.__lt__(self, other)  # type: ignore[operator]


claims = st.builds(
    lambda block, owner: Claim(*extent(block), owner), blocks(), st.sampled_from("abc")
)


@given(st.lists(claims, max_size=12))
def test_claims_clash_where_two_owners_have_an_address(found: list[Claim]) -> None:
    expected = any(
        one.owner != other.owner and one.first <= other.last and other.first <= one.last
        for one, other in combinations(found, 2)
    )
    pair = clash(found)
    assert (pair is not None) == expected
    if pair is not None:
        one, other = pair
        assert one.owner != other.owner
        assert one.first <= other.last
        assert other.first <= one.last


def test_claims_are_compared_as_often_as_sorting_compares_them() -> None:
    Counted.compared = 0
    assert clash(Counted(n * 5 % 4099, n * 5 % 4099, str(n % 2)) for n in range(4096)) is None
    assert Counted.compared < 4096 * 12
