"""Echo requests that show what a path carries."""

from __future__ import annotations

import pytest

from lessor.core.diagnosis.icmp import answered, echo

IP_HEADER = bytes([0x45]) + bytes(19)


@pytest.mark.parametrize(("version", "size"), [(4, 64), (4, 1500), (4, 1501), (6, 64), (6, 1500)])
def test_a_request_makes_an_ip_packet_of_the_size_asked_for(version: int, size: int) -> None:
    header = {4: 20, 6: 40}[version]
    assert header + len(echo(version, 7, 1, size)) == size


def test_the_checksum_of_a_whole_request_is_zero() -> None:
    """RFC 1071: the sum over all of it, checksum and all, is all ones."""
    packet = echo(4, 0xBEEF, 3, 99) + b"\0"
    total = sum(int.from_bytes(packet[at : at + 2]) for at in range(0, len(packet), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_an_answer_of_ours_is_known_by_its_number() -> None:
    head = bytes([0, 0, 0, 0, 0xBE, 0xEF, 0, 5])
    assert answered(4, IP_HEADER + head, 0xBEEF) == 5
    assert answered(6, bytes([129]) + head[1:], 0xBEEF) == 5


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(IP_HEADER + bytes([0, 0, 0, 0, 1, 1, 0, 5]), id="another-process"),
        pytest.param(IP_HEADER + bytes([8, 0, 0, 0, 0xBE, 0xEF, 0, 5]), id="our-own-request"),
        pytest.param(IP_HEADER + b"\0", id="cut-short"),
        pytest.param(b"", id="empty"),
    ],
)
def test_any_other_packet_is_none(packet: bytes) -> None:
    assert answered(4, packet, 0xBEEF) is None
