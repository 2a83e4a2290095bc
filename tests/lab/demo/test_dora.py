from __future__ import annotations

import struct

import pytest

from lessor.lab.demo.dora import (
    ACK,
    DISCOVER,
    NAK,
    OFFER,
    REQUEST,
    DhcpMessage,
    dhcp_message,
    dora_ms,
)

MAC, OTHER = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"


def frame(*, options: bytes, ports: tuple[int, int] = (68, 67), protocol: int = 17) -> bytes:
    bootp = struct.pack("!BBBBI", 1, 1, 6, 0, 0xCAFE).ljust(28, b"\0") + bytes.fromhex(
        MAC.replace(":", "")
    )
    bootp = bootp.ljust(236, b"\0") + b"\x63\x82\x53\x63" + options
    udp = struct.pack("!HHHH", *ports, 8 + len(bootp), 0) + bootp
    ip = struct.pack("!BBHHHBBH8x", 0x46, 0, 24 + len(udp), 0, 0, 64, protocol, 0) + b"\0" * 4
    return b"\xff" * 12 + b"\x08\x00" + ip + udp


def test_a_frame_says_type_exchange_and_client() -> None:
    read = dhcp_message(frame(options=b"\x00\x0c\x01x\x35\x01\x05\xff"), 12.5)
    assert read == DhcpMessage(at=12.5, type=ACK, xid=0xCAFE, mac=MAC)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff" * 12 + b"\x08\x06" + b"\0" * 46, id="arp"),
        pytest.param(frame(options=b"\x35\x01\x05", ports=(53, 67)), id="other-ports"),
        pytest.param(frame(options=b"\x35\x01\x05", protocol=6), id="tcp"),
        pytest.param(frame(options=b"\xff\x35\x01\x05"), id="after-the-end"),
        pytest.param(frame(options=b"\x35\x01\x05")[:60], id="cut-off"),
    ],
)
def test_another_frame_is_none(other: bytes) -> None:
    assert dhcp_message(other, 0) is None


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        pytest.param([DISCOVER, OFFER, REQUEST, ACK], 3000, id="first-try"),
        pytest.param([DISCOVER, DISCOVER, OFFER, REQUEST, ACK], 3000, id="first-discover-lost"),
        pytest.param([DISCOVER, OFFER, REQUEST, ACK, DISCOVER, ACK], 3000, id="only-the-first"),
        pytest.param([DISCOVER, OFFER, REQUEST, NAK], None, id="refused"),
        pytest.param([REQUEST, ACK], None, id="renewal"),
        pytest.param([], None, id="silence"),
    ],
)
def test_dora_lasts_from_discover_to_ack(types: list[int], expected: float | None) -> None:
    messages = [DhcpMessage(at, kind, 7, MAC) for at, kind in enumerate(types)]
    assert dora_ms(messages, MAC) == expected


def test_another_clients_exchange_does_not_count() -> None:
    messages = [DhcpMessage(0, DISCOVER, 7, OTHER), DhcpMessage(1, ACK, 7, OTHER)]
    assert dora_ms(messages, MAC) is None
