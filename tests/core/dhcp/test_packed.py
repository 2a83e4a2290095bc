"""A row as bytes is the same row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.core.dhcp.message import NO_FILE, NO_SNAME
from lessor.core.dhcp.packed import LAYOUT, pack, unpack
from lessor.core.dhcp.rows import ready
from lessor.core.dhcp.table import Row
from lessor.errors import Invalid
from tests.core.dhcp.client import RANGE, reservation

ADDRESSES = st.binary(min_size=4, max_size=4)
ROWS = st.builds(
    Row,
    address=ADDRESSES,
    server=ADDRESSES,
    siaddr=ADDRESSES,
    sname=st.one_of(st.just(NO_SNAME), st.binary(min_size=64, max_size=64)),
    file=st.one_of(st.just(NO_FILE), st.binary(min_size=128, max_size=128)),
    block=st.binary(max_size=600),
    asked=st.binary(max_size=6),
    lease_time=st.integers(0, 2**32 - 1),
    mtu=st.integers(68, 65_535),
    first=ADDRESSES,
    last=ADDRESSES,
)


@given(ROWS)
def test_a_row_comes_back_as_it_was(row: Row) -> None:
    assert unpack(pack(row), {}) == row


@given(ROWS, st.data())
def test_a_row_that_is_cut_is_refused_or_another_one(row: Row, data: st.DataObject) -> None:
    packed = pack(row)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    try:
        assert unpack(cut, {}).asked != row.asked
    except Invalid:
        assert len(cut) <= len(packed) - len(row.asked)


def test_what_rows_have_in_common_is_in_memory_once() -> None:
    shared: dict[bytes, bytes] = {}
    one, other = (unpack(pack(ready(reservation(n), RANGE, 60)[0]), shared) for n in (1, 2))
    for name in ("server", "siaddr", "sname", "file", "first", "last"):
        assert getattr(one, name) is getattr(other, name)


@pytest.mark.parametrize(("number", "packed"), [(1, "0a1400650a1400020a1400020a140000")])
def test_the_layout_has_a_number(number: int, packed: str) -> None:
    """Rows lie on disks: a change of their form, or of this test, raises the number."""
    assert number == LAYOUT
    assert pack(ready(reservation(1), RANGE, 60)[0]).hex().startswith(packed)
