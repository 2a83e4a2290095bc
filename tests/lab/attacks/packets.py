"""Packets with headers that no operating system would send."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from tests.agent.drivers.frames import checksum, ether

IPV4, IPV6 = 0x0800, 0x86DD
UDP, ICMPV6 = 17, 58
MORE = 0x2000  # more fragments follow


@dataclass(frozen=True, slots=True)
class Link:
    """Source and destination MAC."""

    source: str
    destination: str

    def frame(self, kind: int, payload: bytes) -> bytes:
        return ether(self.source, self.destination, kind, payload)

    def ipv4(self, *packet: bytes) -> bytes:
        return self.frame(IPV4, b"".join(packet))


def ipv4(
    ends: Sequence[str], data: bytes, protocol: int = UDP, *, part: int = 0, options: bytes = b""
) -> bytes:
    """Return a packet, or a fragment: `part` is its offset in 8 bytes, with MORE."""
    words = 5 + len(options) // 4
    head = struct.pack(
        "!BBHHHBBH", 0x40 | words, 0, words * 4 + len(data), 77, part, 64, protocol, 0
    )
    head += IPv4Address(ends[0]).packed + IPv4Address(ends[1]).packed + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + data


def udp(ports: Sequence[int], payload: bytes) -> bytes:
    """Return a datagram without a checksum, which IPv4 allows."""
    return struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload


def fragments(ends: Sequence[str], data: bytes, size: int) -> Iterator[bytes]:
    """Return the packets of a datagram cut into pieces of `size` bytes, a multiple of 8."""
    for start in range(0, len(data), size):
        more = MORE if start + size < len(data) else 0
        yield ipv4(ends, data[start : start + size], part=start // 8 | more)


def ipv6(ends: Sequence[str], data: bytes, next_header: int) -> bytes:
    addresses = IPv6Address(ends[0]).packed + IPv6Address(ends[1]).packed
    return struct.pack("!IHBB", 6 << 28, len(data), next_header, 255) + addresses + data


def icmpv6(kind: int, body: bytes) -> bytes:
    """Return a message; its checksum is left out, since it is looked for on the wire."""
    return struct.pack("!BBHI", kind, 0, 0, 0) + body


def link_local(mac: str) -> str:
    """Return the address that a machine gives itself (RFC 4291, appendix A)."""
    parts = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([parts[0] ^ 2]) + parts[1:3] + b"\xff\xfe" + parts[3:]
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + identifier))


def dhcp(operation: int, kind: int, client: str, *, xid: int, name: bytes = b"") -> bytes:
    """Return a DHCP message: operation 1 asks, 2 answers; `kind` is option 53 (RFC 2132).

    `name` (sname) lies in the first 200 bytes, so in the first fragment as well.
    """
    hardware = bytes.fromhex(client.replace(":", "")).ljust(16, b"\0")
    head = struct.pack("!BBBBIHH", operation, 1, 6, 0, xid, 0, 0x8000) + bytes(16) + hardware
    fields = name.ljust(64, b"\0") + bytes(128)
    return head + fields + b"\x63\x82\x53\x63" + bytes((53, 1, kind, 255))
