"""Frames by hand, and namespaces to send them in."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Self

_libc = ctypes.CDLL(None, use_errno=True)
NEW_NET = 0x40000000  # CLONE_NEWNET
ALL, IPV4 = 0x0003, 0x0800  # ETH_P_ALL, ETH_P_IP
BROADCAST = "ff:ff:ff:ff:ff:ff"


class Namespace:
    """A network namespace; `with ns: ...` is in it, as far as this thread goes."""

    def __init__(self) -> None:
        former = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _checked(_libc.unshare(NEW_NET))
        self.file = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._former: list[int] = []
        _checked(_libc.setns(former, NEW_NET))
        os.close(former)

    def __enter__(self) -> Self:
        self._former.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        _checked(_libc.setns(self.file, NEW_NET))
        return self

    def __exit__(self, *_: object) -> None:
        former = self._former.pop()
        _checked(_libc.setns(former, NEW_NET))
        os.close(former)

    def run(self, *argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        """Run a program inside; as lessor.agent.host.run.run."""
        from lessor.agent.host.run import run  # noqa: PLC0415 - only those who run need it

        with self:
            return run(*argv, stdin=stdin, timeout_s=timeout_s)

    def ip(self, *lines: str) -> None:
        """Run lines of ip(8) in one batch."""
        self.run("ip", "-batch", "-", stdin="\n".join((*lines, "")))

    def move(self, link: str, into: Namespace) -> None:
        """Give a link to another namespace."""
        path = f"/proc/{os.getpid()}/fd/{into.file}"
        with self:
            subprocess.run(["ip", "link", "set", link, "netns", path], check=True)

    def set(self, name: str, value: str) -> None:
        """Write a sysctl."""
        with self:
            (Path("/proc/sys") / name.replace(".", "/")).write_text(value)

    def close(self) -> None:
        """Let it go: it ends with its last socket."""
        os.close(self.file)


@contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    made = [Namespace() for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.close()


def packet_socket(namespace: Namespace, device: str, protocol: int = ALL) -> socket.socket:
    """A socket that sends and hears frames on a device."""
    with namespace:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        opened.bind((device, protocol))
    opened.setblocking(False)
    return opened


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ether(source: str, destination: str, kind: int, payload: bytes) -> bytes:
    return mac(destination) + mac(source) + struct.pack("!H", kind) + payload


def arp(
    source: str,
    sender: str,
    target: str,
    *,
    sha: str = "",
    operation: int = 1,
    plen: int = 4,
    to: str = BROADCAST,
    kind: int = 0x0806,
) -> bytes:
    """An ARP (or by `kind` another) packet; its sender MAC is the frame's unless told."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, plen, operation)
    body = mac(sha or source) + IPv4Address(sender).packed + bytes(6) + IPv4Address(target).packed
    return ether(source, to, kind, head + body)


def headed(frame: bytes, *, first: int | None = None, length: int | None = None) -> bytes:
    """Return an untagged frame of IPv4 with another first byte, or length, of its header."""
    packet = bytearray(frame[14:])
    packet[0] = packet[0] if first is None else first
    packet[2:4] = packet[2:4] if length is None else struct.pack("!H", length)
    packet[10:12] = bytes(2)
    packet[10:12] = struct.pack("!H", checksum(bytes(packet[:20])))
    return frame[:14] + bytes(packet)


def udp(
    source: str,
    ends: tuple[str, str],
    ports: tuple[int, int],
    payload: bytes = b"",
    *,
    to: str = BROADCAST,
    offset: int = 0,
    more: bool = False,
) -> bytes:
    """A UDP datagram, or a fragment of one: `offset` in bytes, then without a UDP header."""
    data = payload
    if not offset:
        data = struct.pack("!HHHH", *ports, 8 + len(payload) + 64 * more, 0) + payload
    return ether(source, to, IPV4, ipv4(ends, 17, data, offset=offset, more=more))


def ipv4(
    ends: tuple[str, str], protocol: int, data: bytes, *, offset: int = 0, more: bool = False
) -> bytes:
    """An IPv4 packet, or a fragment of one: `offset` in bytes."""
    fragment = offset // 8 | (0x2000 if more else 0)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 7, fragment, 64, protocol, 0)
    head += IPv4Address(ends[0]).packed + IPv4Address(ends[1]).packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + data


def icmp_error(about: tuple[str, str], ports: tuple[int, int]) -> bytes:
    """Return "port unreachable" about a UDP datagram between two ends."""
    quoted = ipv4(about, 17, struct.pack("!HHHH", *ports, 16, 0) + bytes(8))
    return icmp_about(quoted, (3, 3))


def icmp_about(packet: bytes, kind: tuple[int, int], *, mtu: int = 0) -> bytes:
    """Return an ICMP error, of a type and a code, about a packet."""
    body = struct.pack("!BBHI", *kind, 0, mtu) + packet
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def ipv6(source: str, ends: tuple[str, str], next_header: int, data: bytes) -> bytes:
    addresses = IPv6Address(ends[0]).packed + IPv6Address(ends[1]).packed
    head = struct.pack("!IHBB", 6 << 28, len(data), next_header, 255) + addresses
    return ether(source, "33:33:00:00:00:01", 0x86DD, head + data)


def icmpv6(source: str, ends: tuple[str, str], kind: int, body: bytes = b"") -> bytes:
    return ipv6(source, ends, 58, struct.pack("!BBHI", kind, 0, 0, 0) + body)


def tagged(frame: bytes, vlan: int = 5) -> bytes:
    """The same frame with an 802.1Q tag."""
    return frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
