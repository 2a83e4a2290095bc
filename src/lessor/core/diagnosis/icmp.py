"""Echo requests and their answers, of a given size: they show what a path carries.

Source: RFC 792 (ICMP), RFC 4443 section 4 (ICMPv6), RFC 1071 (checksum).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from lessor.net.address import Address

HEADERS = {4: 20 + 8, 6: 40 + 8}  # bytes of IP and ICMP before an echo's data
REQUEST = {4: 8, 6: 128}
ANSWER = {4: 0, 6: 129}
MOST_NAMED = 5  # hosts in one sentence
_HEAD = struct.Struct("!BBHHH")


def echo(version: int, identifier: int, sequence: int, size: int) -> bytes:
    """Return an echo request that makes an IP packet of `size` bytes.

    ICMPv6 needs the addresses for its checksum: the kernel fills it in.
    """
    data = bytes(max(0, size - HEADERS[version]))
    head = _HEAD.pack(REQUEST[version], 0, 0, identifier, sequence)
    if version == 4:  # noqa: PLR2004 - IPv4
        head = _HEAD.pack(REQUEST[version], 0, _checksum(head + data), identifier, sequence)
    return head + data


def answered(version: int, packet: bytes, identifier: int) -> int | None:
    """Return the sequence number that an answer to us has; None: it is another packet.

    Args:
        version: of IP.
        packet: as a raw socket gives it: with the IP header for IPv4, without it for IPv6.
        identifier: ours.
    """
    if version == 4:  # noqa: PLR2004 - as above
        packet = packet[(packet[0] & 15) * 4 :] if packet else b""
    if len(packet) < _HEAD.size:
        return None
    kind, _, _, known, sequence = _HEAD.unpack_from(packet)
    return sequence if kind == ANSWER[version] and known == identifier else None


def narrow_paths(ends: Sequence[tuple[str, Address]], size: int, count: int) -> str:
    """Return the problem of paths whose MTU is too low for their networks.

    Args:
        ends: the hosts that they lead to, with their tunnel ends, in order.
        size: of the packets that tunnels need, in bytes.
        count: of all paths of this host.
    """
    need = f"packets of {size} bytes, which tunnels need: large packets of VMs are lost there"
    lower = "or lower that of the overlay networks"
    if len(ends) == count > 1:
        own = f"raise the MTU of this host's own cable and NIC, {lower}"
        return f"the paths to all {count} hosts don't carry {need}; {own}"
    named = ", ".join(f"{host} ({end})" for host, end in ends[:MOST_NAMED])
    more = f" and {len(ends) - MOST_NAMED} more" if len(ends) > MOST_NAMED else ""
    paths = "path to host" if len(ends) == 1 else "paths to hosts"
    do = "doesn't" if len(ends) == 1 else "don't"
    raise_ = f"raise the MTU of the network between the hosts, {lower}"
    return f"the {paths} {named}{more} {do} carry {need}; {raise_}"


def _checksum(packet: bytes) -> int:
    even = packet + bytes(len(packet) % 2)
    total = sum(int.from_bytes(even[at : at + 2]) for at in range(0, len(even), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
