"""Captures DHCP messages on a device, plain or inside VXLAN, with their source and destination.

The kernel stamps each frame when it passes (SO_TIMESTAMPNS), so frames may be read later. Lost
frames are counted and reported: an incomplete capture proves nothing.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

from lessor.errors import Unavailable
from lessor.lab.demo.dora import DISCOVER, DhcpMessage, dhcp_message
from lessor.lab.netns import in_netns

ETH_P_ALL = 3  # only this shows outgoing frames too; packet(7)
ETH_P_IP = b"\x08\x00"
SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33  # socket(7); Python has no names for them
SOL_PACKET, PACKET_STATISTICS = 263, 6  # packet(7)
TIMESPEC = struct.Struct("@qq")
BUFFER = 16 << 20  # bytes; the kernel counts about 1 KiB for a small frame
VXLAN_PORT = 4789
VXLAN_FLAGS, VXLAN_LENGTH = 0x08, 8  # the VNI is valid; RFC 7348 section 5
IPV4_LENGTH = 20  # bytes of the shortest header
LONGEST = 9300  # bytes of a frame
LEAST_RETRY_S = 0.5  # from a client's DISCOVER to its next; RFC 2131 section 4.1 says seconds


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The outer header of a frame in a VXLAN tunnel."""

    source: IPv4Address
    destination: IPv4Address
    vni: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """A DHCP message on a device. The MACs are those of its frame, inside a tunnel."""

    message: DhcpMessage
    source: str
    destination: str
    tunnel: Tunnel | None = None
    outgoing: bool = False  # sent by this namespace, not received


def sighting(frame: bytes, at: float, *, outgoing: bool = False) -> Sighting | None:
    """Parse an Ethernet frame; None if it has no DHCP message.

    Source: RFC 7348 section 5; see also `dhcp_message`.
    """
    tunnel, inner = _unwrapped(frame)
    message = dhcp_message(inner, at)
    if message is None:
        return None
    return Sighting(message, inner[6:12].hex(":"), inner[:6].hex(":"), tunnel, outgoing)


def _unwrapped(frame: bytes) -> tuple[Tunnel | None, bytes]:
    """Remove outer VXLAN headers, if there are any."""
    ip = frame[14:]
    if len(ip) < IPV4_LENGTH or frame[12:14] != ETH_P_IP or ip[9] != socket.IPPROTO_UDP:
        return None, frame
    udp = ip[(ip[0] & 0x0F) * 4 :]
    vxlan = udp[8:]
    if len(vxlan) < VXLAN_LENGTH or struct.unpack_from("!H", udp, 2)[0] != VXLAN_PORT:
        return None, frame
    if not vxlan[0] & VXLAN_FLAGS:
        return None, frame
    source, destination = IPv4Address(ip[12:16]), IPv4Address(ip[16:20])
    return Tunnel(source, destination, int.from_bytes(vxlan[4:7])), vxlan[VXLAN_LENGTH:]


class Capture:
    """Captures on a device of a network namespace, from its creation. Also a context manager."""

    def __init__(self, netns: Path, device: str) -> None:
        self.device = device
        self._socket = in_netns(netns, lambda: _open(device))

    def sightings(self) -> list[Sighting]:
        """Return the messages since the last call, in order.

        Raises:
            Unavailable: frames were lost, so the capture is incomplete.
        """
        found: list[Sighting] = []
        while True:
            try:
                frame, extra, _, address = self._socket.recvmsg(
                    LONGEST, socket.CMSG_SPACE(TIMESPEC.size)
                )
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                continue  # reported once while the device is down; the capture continues after it
            seconds, nanoseconds = TIMESPEC.unpack(extra[0][2])
            outgoing = address[2] == socket.PACKET_OUTGOING
            seen = sighting(frame, seconds + nanoseconds / 1e9, outgoing=outgoing)
            if seen:
                found.append(seen)
        self._check_lost()
        return found

    def messages(self) -> list[DhcpMessage]:
        """Return the DHCP messages since the last call, in order."""
        return [seen.message for seen in self.sightings()]

    def _check_lost(self) -> None:
        statistics = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        _, lost = struct.unpack("II", statistics)
        if lost:
            raise Unavailable(f"capture on {self.device}: {lost} frames were lost; read it earlier")

    def close(self) -> None:
        """Stop the capture."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def discover_copies(seen: list[Sighting], mac: str) -> list[Sighting]:
    """Return the copies of this MAC's first DISCOVER that a host sent into tunnels.

    A client retries with the same xid, but not within half a second.
    """
    sent = [
        one
        for one in seen
        if one.tunnel and one.outgoing and (one.message.type, one.message.mac) == (DISCOVER, mac)
    ]
    return [one for one in sent if one.message.at < sent[0].message.at + LEAST_RETRY_S]


def _open(device: str) -> socket.socket:
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    listener.bind((device, ETH_P_ALL))
    return listener
