"""The short way: it answers most requests, and none otherwise than `answer`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.core.dhcp.leases import Leases
from lessor.core.dhcp.message import build
from lessor.core.dhcp.plain import answer_plain
from lessor.core.dhcp.responder import answer
from lessor.core.dhcp.rows import table
from lessor.core.dhcp.table import Table
from tests.core.dhcp.client import (
    ADDRESS,
    DISCOVER,
    MAC,
    NOW,
    REQUEST,
    SERVER,
    SERVER_MAC,
    UNKNOWN,
    ip,
    request,
    reservation,
    server,
)

LISTED = bytes((1, 3, 6, 12, 15, 26, 121, 249))
PLAIN = list(
    map(
        build,
        [
            request(DISCOVER),
            request(
                DISCOVER, {61: b"\x01" + MAC, 12: b"vm", 55: LISTED, 57: b"\x05\xdc", 60: b"udhcp"}
            ),
            request(DISCOVER, flags=0x8000),
            request(DISCOVER, {50: ip("10.20.0.99")}),
            request(REQUEST, {50: ADDRESS, 54: SERVER, 61: b"\xff" * 40, 55: LISTED}),
            request(REQUEST, {50: ADDRESS}),
        ],
    )
)
OTHERS = list(
    map(
        build,
        [
            request(DISCOVER, {80: b""}),
            request(DISCOVER, {118: ip("10.20.0.0")}),
            request(DISCOVER, {82: b"\x01\x02ab"}),
            request(DISCOVER, {52: b"\1"}),
            request(DISCOVER, {57: b"\5"}),
            request(DISCOVER, {50: b"\5"}),
            request(DISCOVER, mac=UNKNOWN),
            request(DISCOVER, flags=0x4000),
            request(REQUEST, {50: ADDRESS, 54: ip("10.20.0.3")}),
            request(REQUEST, {50: ip("10.20.0.3"), 54: SERVER}),
            request(REQUEST, ciaddr=ADDRESS),
            request(REQUEST, ciaddr=ADDRESS, destination=SERVER),
            request(4, {50: ADDRESS, 54: SERVER}),
            request(None),
        ],
    )
)


def made() -> Table:
    return table(server(reservation(1), reservation(3)), SERVER_MAC)


@pytest.mark.parametrize("frame", PLAIN, ids=range(len(PLAIN)))
@pytest.mark.parametrize("held", [False, True], ids=["new", "held"])
def test_a_plain_request_is_answered_alike(frame: bytes, *, held: bool) -> None:
    leases = Leases()
    if held:
        for event in answer(made(), leases, PLAIN[-1], NOW).events:
            leases.record(event)
    outcome = answer_plain(made(), leases, frame, NOW + 1)
    assert outcome is not None
    assert outcome == answer(made(), leases, frame, NOW + 1)


@pytest.mark.parametrize("frame", OTHERS, ids=range(len(OTHERS)))
def test_what_is_not_plain_is_left_alone(frame: bytes) -> None:
    assert answer_plain(made(), Leases(), frame, NOW) is None


@pytest.mark.parametrize(
    ("declined", "plain"), [({ADDRESS: NOW + 1}, False), ({SERVER: NOW + 1, ADDRESS: NOW}, True)]
)
def test_a_declined_address_is_not_plain(declined: dict[bytes, float], *, plain: bool) -> None:
    leases = Leases(declined=declined)
    outcome = answer_plain(made(), leases, PLAIN[0], NOW)
    assert outcome == (answer(made(), leases, PLAIN[0], NOW) if plain else None)


@pytest.mark.parametrize("frame", PLAIN[:2], ids=["without-id", "with-id"])
@pytest.mark.parametrize(("identity", "plain"), [("01:" + MAC.hex(":"), False), ("x", True)])
def test_a_client_known_by_its_identifier_is_not_plain(
    frame: bytes, identity: str, *, plain: bool
) -> None:
    known = table(server(reservation(1), reservation(3, ("client-id", identity))), SERVER_MAC)
    outcome = answer_plain(known, Leases(), frame, NOW)
    expected = answer(known, Leases(), frame, NOW)
    assert outcome == (expected if plain or frame == PLAIN[0] else None)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((("root-path", "x" * 255), ("17", "y" * 255)), id="long"),
        pytest.param((("108", "1800"),), id="only-ipv6"),
    ],
)
def test_a_row_that_takes_more_is_not_plain(options: tuple[tuple[str, str], ...]) -> None:
    rows = table(server(reservation(1, *options)), SERVER_MAC)
    assert answer_plain(rows, Leases(), PLAIN[0], NOW) is None


@given(
    frame=st.sampled_from(PLAIN + OTHERS),
    changes=st.lists(st.tuples(st.integers(0, 330), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 60),
    no_sum=st.booleans(),
)
def test_a_mutated_request_is_answered_alike_or_not(
    frame: bytes, changes: list[tuple[int, int]], cut: int, *, no_sum: bool
) -> None:
    mutated = bytearray(frame[: len(frame) - cut])
    for at, value in changes:
        mutated[at % len(mutated)] = value
    if no_sum:
        mutated[40:42] = b"\0\0"
    outcome = answer_plain(made(), Leases(), bytes(mutated), NOW)
    assert outcome is None or outcome == answer(made(), Leases(), bytes(mutated), NOW)
