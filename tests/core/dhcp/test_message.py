"""Frames of DHCP: what is read, what is built, and what is no message."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.core.dhcp.message import (
    BROADCAST_FLAG,
    Malformed,
    Message,
    build,
    option,
    parse,
    split,
)
from tests.core.dhcp.client import request

CLIENT = bytes.fromhex("fa163e000001")
DISCOVER = request(1, {55: b"\1\3\6\x0f\x1a\x1c\x33\x3a\x3b\x79"}, mac=CLIENT, secs=b"\0\0")
# As a client sent it: 342 octets, checksums by the sender
RECORDED = bytes.fromhex(
    "fffffffffffffa163e0000010800" "4500014800000000401179a600000000ffffffff" "0044004301349fd3"
    "010106001122334400000000" + "00" * 16 + "fa163e000001" + "00" * 202 +
    "63825363" "350101" "370a0103060f1a1c333a3b79" "ff" + "00" * 44
)  # fmt: skip


def unsummed(frame: bytes) -> bytes:
    return frame[:40] + b"\0\0" + frame[42:]


def test_a_recorded_discover_is_read_and_built() -> None:
    assert parse(RECORDED) == DISCOVER
    assert build(DISCOVER) == RECORDED


ADDRESS = st.binary(min_size=4, max_size=4)
MAC = st.binary(min_size=6, max_size=6)
BYTE = st.integers(0, 255)
PORT = st.integers(0, 65535)
SIZES = {50: 4, 52: 1, 53: 1, 54: 4, 57: 2, 118: 4}
CODE = st.integers(1, 254).filter(lambda code: code not in SIZES)
OPTIONS = st.builds(
    lambda free, sized: free | sized,
    st.dictionaries(CODE, st.binary(max_size=600), max_size=6),
    st.fixed_dictionaries(
        {},
        optional={
            code: st.binary(min_size=size, max_size=size)
            for code, size in SIZES.items()
            if code != 52  # moves the end of the options
        },
    ),
)
MESSAGES = st.builds(
    Message,
    target=MAC,
    sender=MAC,
    source=ADDRESS,
    destination=ADDRESS,
    source_port=PORT,
    destination_port=PORT,
    op=BYTE,
    htype=BYTE,
    hlen=BYTE,
    hops=BYTE,
    xid=ADDRESS,
    secs=st.binary(min_size=2, max_size=2),
    flags=PORT,
    ciaddr=ADDRESS,
    yiaddr=ADDRESS,
    siaddr=ADDRESS,
    giaddr=ADDRESS,
    chaddr=st.binary(min_size=16, max_size=16),
    sname=st.binary(min_size=64, max_size=64),
    file=st.binary(min_size=128, max_size=128),
    options=OPTIONS,
)


@given(MESSAGES)
def test_what_is_built_is_read_again(message: Message) -> None:
    frame = build(message)
    assert parse(frame) == message
    assert len(frame) >= 14 + 20 + 8 + 300


@given(MESSAGES)
def test_checksums_are_those_of_a_slow_reading(message: Message) -> None:
    frame = build(message)
    udp = frame[34:]
    pseudo = frame[26:34] + struct.pack(">HH", 17, len(udp))
    assert slow_sum(frame[14:34]) == 0xFFFF
    assert slow_sum(pseudo + udp) == 0xFFFF
    assert frame[40:42] != b"\0\0"  # that means: there is none


def test_a_checksum_of_zero_is_sent_as_all_ones() -> None:
    checksum = build(DISCOVER._replace(xid=bytes(4)))[40:42]
    frame = build(DISCOVER._replace(xid=b"\0\0" + checksum))  # what lacked to all ones
    assert frame[40:42] == b"\xff\xff"
    assert isinstance(parse(frame), Message)


def slow_sum(data: bytes) -> int:
    """Add 16-bit words with the carry added back (RFC 1071, 1)."""
    total = 0
    for (word,) in struct.iter_unpack(">H", data + b"\0" * (len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=700))
def test_no_octets_raise(octets: bytes) -> None:
    assert isinstance(parse(octets), Message | Malformed)


@given(MESSAGES, st.lists(st.tuples(st.integers(0, 2000), BYTE), min_size=1, max_size=12), BYTE)
def test_no_mutated_frame_raises(
    message: Message, changes: list[tuple[int, int]], cut: int
) -> None:
    frame = bytearray(build(message))
    for at, value in changes:
        frame[at % len(frame)] = value
    for octets in (bytes(frame), bytes(frame[: len(frame) - cut])):
        assert isinstance(parse(octets), Message | Malformed)


@dataclass(frozen=True)
class Case:
    """A change to a frame, and what is then said of it."""

    at: int
    octets: str
    defect: Malformed


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(12, "86dd", Malformed.NOT_UDP), id="ipv6"),
        pytest.param(Case(12, "8100", Malformed.NOT_UDP), id="vlan-tag"),
        pytest.param(Case(14, "46", Malformed.NOT_UDP), id="options-of-ipv4"),
        pytest.param(Case(23, "06", Malformed.NOT_UDP), id="tcp"),
        pytest.param(Case(20, "2000", Malformed.NOT_UDP), id="more-fragments"),
        pytest.param(Case(20, "0010", Malformed.NOT_UDP), id="a-later-fragment"),
        pytest.param(Case(16, "ffff", Malformed.LENGTH), id="longer-than-the-frame"),
        pytest.param(Case(38, "0135", Malformed.LENGTH), id="udp-longer-than-ipv4"),
        pytest.param(Case(38, "0010", Malformed.LENGTH), id="udp-too-short"),
        pytest.param(Case(24, "0000", Malformed.CHECKSUM), id="checksum-of-ipv4"),
        pytest.param(Case(40, "1234", Malformed.CHECKSUM), id="checksum-of-udp"),
        pytest.param(Case(70, "fb", Malformed.CHECKSUM), id="an-octet-lost-on-the-way"),
    ],
)
def test_a_broken_frame_has_its_defect(case: Case) -> None:
    changed = bytes.fromhex(case.octets)
    assert parse(RECORDED[: case.at] + changed + RECORDED[case.at + len(changed) :]) is case.defect


def test_a_short_frame_is_none() -> None:
    assert parse(RECORDED[:281]) is Malformed.SHORT


def test_a_missing_checksum_is_taken() -> None:
    assert parse(unsummed(RECORDED)) == DISCOVER


def test_a_checksum_that_the_guest_left_to_its_device_is_taken() -> None:
    pseudo = RECORDED[26:34] + struct.pack(">HH", 17, len(RECORDED) - 34)
    begun = struct.pack(">H", slow_sum(pseudo))
    assert parse(RECORDED[:40] + begun + RECORDED[42:]) == DISCOVER


@pytest.mark.parametrize(
    ("octets", "options"),
    [
        pytest.param("350101", {53: b"\1"}, id="no-end"),
        pytest.param("00003501 0100ff", {53: b"\1"}, id="padding"),
        pytest.param("ff350101", {}, id="nothing-counts-after-the-end"),
        pytest.param("3702 0103 350101 3702 0679ff", {55: b"\1\3\6\x79", 53: b"\1"}, id="split"),
        pytest.param("3d00ff", {61: b""}, id="empty"),
        pytest.param("370a01", Malformed.OPTIONS, id="fewer-octets-than-said"),
        pytest.param("35", Malformed.OPTIONS, id="no-length"),
        pytest.param("35020101ff", Malformed.SIZE, id="type-of-two-octets"),
        pytest.param("350101 350103ff", Malformed.SIZE, id="type-twice"),
        pytest.param("3600ff", Malformed.SIZE, id="empty-server-id"),
    ],
)
def test_options_are_read(octets: str, options: dict[int, bytes] | Malformed) -> None:
    field = bytes.fromhex(octets)
    # the options field ends with the octets: what runs past them runs past the message
    frame = build(DISCOVER)[:282] + field
    length = len(frame) - 34
    frame = frame[:38] + struct.pack(">H", length) + b"\0\0" + frame[42:]
    head = frame[14:16] + struct.pack(">H", length + 20) + frame[18:24]
    total = slow_sum(head + frame[26:34]) ^ 0xFFFF
    found = parse(frame[:14] + head + struct.pack(">H", total) + frame[26:])
    assert (found.options if isinstance(found, Message) else found) == options


@pytest.mark.parametrize(
    ("overload", "found"),
    [
        pytest.param(b"\1", b"ab", id="file"),
        pytest.param(b"\2", b"ac", id="sname"),
        pytest.param(b"\3", b"abc", id="file-before-sname"),
        pytest.param(b"\0", b"a", id="neither"),
    ],
)
def test_overloaded_fields_go_on_with_the_options(overload: bytes, found: bytes) -> None:
    message = DISCOVER._replace(
        file=b"\x38\1b\xff".ljust(128, b"\0"),
        sname=b"\x38\1c\xff".ljust(64, b"\0"),
        options={52: overload, 56: b"a"},
    )
    read = parse(build(message))
    assert isinstance(read, Message)
    assert read.options[56] == found


def test_an_overloaded_field_without_end_ends_with_itself() -> None:
    message = DISCOVER._replace(options={52: b"\1"}, file=b"\x38\x7e".ljust(128, b"x"))
    read = parse(build(message))
    assert isinstance(read, Message)
    assert read.options[56] == b"x" * 126
    longer = message._replace(file=b"\x38\x7f".ljust(128, b"x"))
    assert parse(build(longer)) is Malformed.OPTIONS


def test_bootp_has_no_cookie_and_no_options() -> None:
    found = parse(rest_with_cookie(b"\0\0\0\0"))
    assert isinstance(found, Message)
    assert found.options == {}
    assert parse(rest_with_cookie(b"\1\2\3\4")) is Malformed.COOKIE


def rest_with_cookie(cookie: bytes) -> bytes:
    frame = unsummed(RECORDED)
    return frame[:278] + cookie + frame[282:]


@given(st.dictionaries(st.integers(1, 254), st.binary(max_size=700), max_size=8))
def test_a_block_is_split_into_its_options(options: dict[int, bytes]) -> None:
    pieces = [option(code, value) for code, value in options.items()]
    assert split(b"".join(pieces)) == pieces


def test_a_long_option_is_sent_in_pieces() -> None:
    assert option(17, bytes(600)) == b"\x11\xff" + bytes(255) + b"\x11\xff" + bytes(
        255
    ) + b"\x11\x5a" + bytes(90)


def test_flags_are_a_number() -> None:
    found = parse(build(DISCOVER._replace(flags=BROADCAST_FLAG)))
    assert isinstance(found, Message)
    assert found.flags & BROADCAST_FLAG
