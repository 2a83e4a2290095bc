"""Addresses by a part of their text, against all of them written out."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lessor.net.parts import having

BLOCKS = [
    IPv4Address(text).packed[:3]
    for text in ("10.64.0.0", "10.64.1.0", "10.64.9.0", "192.168.1.0", "255.255.255.0")
]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([part], id=part or "nothing")
        for part in (
            *("", ".", "..", "1", "9", "64", "255", "0.9", ".0.9", "64.0.99", "10.64.0.9"),
            *("168.1.", ".1.1", "4.1.2", "5.255", "300", "0_9", "a", "10.64.0.9.", "%"),
        )
    ]
    + [pytest.param(["64.1", "0.77", "0.77"], id="several"), pytest.param([], id="none")],
)
def test_what_has_a_part_is_what_is_written_with_it(parts: list[str]) -> None:
    found = having(parts, BLOCKS)
    every = [IPv4Address(block + bytes((octet,))) for block in BLOCKS for octet in range(256)]
    having_one = {
        one
        for one in every
        if one.packed in found.single
        or any(first <= one.packed <= last for first, last in found.ranges)
    }
    assert having_one == {one for one in every if any(part in str(one) for part in parts)}
    assert found.single == sorted(set(found.single))


def test_blocks_that_follow_one_another_are_one_range() -> None:
    found = having(["10.64."], BLOCKS)
    assert found.single == []
    assert found.ranges == [
        (IPv4Address("10.64.0.0").packed, IPv4Address("10.64.1.255").packed),
        (IPv4Address("10.64.9.0").packed, IPv4Address("10.64.9.255").packed),
    ]
