"""Options in a message of limited size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.core.dhcp.message import NO_FILE, NO_SNAME, option
from lessor.core.dhcp.place import Placed, cut, place

HEAD, TAIL = b"\x35\1\2", b"\xff"
EMPTY = Placed(HEAD, NO_FILE, NO_SNAME)


def unit(code: int, size: int) -> bytes:
    return option(code, bytes(size - 2))


def test_what_fits_goes_into_the_options_field() -> None:
    placed = place([unit(3, 6), unit(6, 6)], TAIL, 16, EMPTY)
    assert placed == Placed(HEAD + unit(3, 6) + unit(6, 6) + TAIL, NO_FILE, NO_SNAME)


@pytest.mark.parametrize(
    ("sizes", "overload"),
    [
        pytest.param([127], 1, id="file"),
        pytest.param([127, 63], 3, id="file-and-sname"),
        pytest.param([10, 128], None, id="too-long-for-either"),
    ],
)
def test_what_has_no_room_goes_on_in_the_header(sizes: list[int], overload: int | None) -> None:
    units = [unit(224 + at, size) for at, size in enumerate(sizes)]
    placed = place(units, TAIL, 17, EMPTY)
    code = option(52, bytes([overload])) if overload else b""
    assert placed.options == HEAD + (units[0] if sizes[0] == 10 else b"") + code + TAIL
    assert placed.left_out == (overload is None)


def test_sname_alone_is_overload_2() -> None:
    named = EMPTY._replace(file=b"boot".ljust(128, b"\0"))
    placed = place([unit(224, 63)], TAIL, 10, named)
    assert placed.options == HEAD + b"\x34\1\2" + TAIL
    assert placed.sname == unit(224, 63) + b"\xff"
    assert placed.file == named.file


def test_a_field_in_use_is_taken_if_an_option_says_the_same() -> None:
    named = EMPTY._replace(file=b"boot".ljust(128, b"\0"), sname=b"host".ljust(64, b"\0"))
    units = [unit(67, 20), unit(66, 20)]
    placed = place(units, TAIL, 10, named)
    assert placed.file == (units[0] + units[1] + b"\xff").ljust(128, b"\0")
    assert placed.sname == named.sname


def test_bootp_has_what_fits() -> None:
    assert cut([unit(3, 30), unit(6, 40), unit(1, 6)], 60) == unit(3, 30) + unit(1, 6) + b"\xff"


SIZES = st.lists(st.integers(2, 257), max_size=12)


@given(SIZES, st.integers(10, 1200))
def test_no_option_is_torn_and_none_is_lost_unsaid(sizes: list[int], room: int) -> None:
    units = [unit(200 + at, size) for at, size in enumerate(sizes)]
    placed = place(units, TAIL, room, EMPTY)
    assert len(placed.options) <= room
    assert (len(placed.file), len(placed.sname)) == (128, 64)
    everything = placed.options + placed.file + placed.sname
    found = [one for one in units if one in everything]
    assert (len(found) < len(units)) == placed.left_out
