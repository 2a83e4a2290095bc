from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest

from lessor.lab.capture import Sighting, Tunnel, discover_copies, sighting
from lessor.lab.demo.dora import DISCOVER, REQUEST, DhcpMessage

MAC, BROADCAST = "fa:16:3e:00:00:01", "ff:ff:ff:ff:ff:ff"
HERE, THERE, THIRD = (IPv4Address(f"203.0.113.{last}") for last in (11, 12, 13))


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ethernet(source: str, destination: str, packet: bytes) -> bytes:
    return raw(destination) + raw(source) + b"\x08\x00" + packet


def udp(ports: tuple[int, int], payload: bytes, ends: tuple[IPv4Address, IPv4Address]) -> bytes:
    datagram = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0)
    return head + ends[0].packed + ends[1].packed + datagram


def discover() -> bytes:
    bootp = struct.pack("!BBBBI", 1, 1, 6, 0, 0xCAFE).ljust(28, b"\0") + raw(MAC)
    bootp = bootp.ljust(236, b"\0") + b"\x63\x82\x53\x63\x35\x01\x01\xff"
    ends = IPv4Address("0.0.0.0"), IPv4Address("255.255.255.255")
    return ethernet(MAC, BROADCAST, udp((68, 67), bootp, ends))


def wrapped(inner: bytes, flags: int = 0x08, port: int = 4789) -> bytes:
    vxlan = struct.pack("!B3x", flags) + (1001).to_bytes(3) + b"\0"
    packet = udp((40000, port), vxlan + inner, (HERE, THERE))
    return ethernet("02:00:cb:00:71:0b", "02:00:cb:00:71:0c", packet)


def test_a_message_in_a_tunnel_tells_tunnel_and_inner_macs() -> None:
    seen = sighting(wrapped(discover()), 3.0, outgoing=True)
    assert seen == Sighting(
        DhcpMessage(3.0, DISCOVER, 0xCAFE, MAC), MAC, BROADCAST, Tunnel(HERE, THERE, 1001), True
    )


def test_a_message_without_a_tunnel_has_none() -> None:
    seen = sighting(discover(), 3.0)
    assert seen == Sighting(DhcpMessage(3.0, DISCOVER, 0xCAFE, MAC), MAC, BROADCAST)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"", id="empty"),
        pytest.param(wrapped(b""), id="nothing-inside"),
        pytest.param(wrapped(discover(), flags=0), id="no-vni"),
        pytest.param(wrapped(discover(), port=4790), id="another-port"),
        pytest.param(wrapped(discover())[:45], id="cut-off"),
    ],
)
def test_another_frame_is_none(frame: bytes) -> None:
    assert sighting(frame, 0) is None


def seen(
    at: float, to: IPv4Address | None, kind: int = DISCOVER, *, outgoing: bool = True
) -> Sighting:
    tunnel = Tunnel(HERE, to, 1001) if to else None
    return Sighting(DhcpMessage(at, kind, 7, MAC), MAC, BROADCAST, tunnel, outgoing)


def test_copies_are_those_of_one_discover_that_left_the_host() -> None:
    first = [seen(1.0, THERE), seen(1.001, THIRD), seen(1.002, THIRD)]
    others = [
        seen(0.5, None),
        seen(0.6, THERE, outgoing=False),
        seen(1.2, THERE, REQUEST),
        seen(2.0, THERE),
        seen(2.1, THIRD),
    ]
    everything = sorted(first + others, key=lambda one: one.message.at)
    assert discover_copies(everything, MAC) == first
    assert discover_copies(everything, "fa:16:3e:00:00:02") == []
