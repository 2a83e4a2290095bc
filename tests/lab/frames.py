"""Frames on a wire of the lab: all that pass, read as ARP or DHCP where they are."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from lessor.lab.capture import ETH_P_ALL, SO_TIMESTAMPNS, TIMESPEC
from lessor.lab.demo.dora import DhcpMessage, dhcp_message
from lessor.lab.netns import in_netns

ETH_P_ARP = b"\x08\x06"
BROADCAST = b"\xff" * 6
ARP = struct.Struct("!HHBBH6s4s6s4s")  # RFC 826
REQUEST, REPLY = 1, 2


@dataclass(frozen=True)
class Arp:
    operation: int
    sender_mac: str
    sender: IPv4Address
    target: IPv4Address


@dataclass(frozen=True)
class Frame:
    at: float  # seconds since 1970, when the kernel passed it
    content: bytes

    @property
    def arp(self) -> Arp | None:
        if self.content[12:14] != ETH_P_ARP or len(self.content) < 14 + ARP.size:
            return None
        _, _, _, _, operation, mac, sender, _, target = ARP.unpack_from(self.content, 14)
        return Arp(operation, mac.hex(":"), IPv4Address(sender), IPv4Address(target))

    @property
    def dhcp(self) -> DhcpMessage | None:
        return dhcp_message(_as_from_a_client(self.content), self.at)


def _as_from_a_client(frame: bytes) -> bytes:
    """dhcp_release sends to port 67 from any port, where a client has port 68."""
    ports = 14 + (frame[14] & 0x0F) * 4 if len(frame) > 14 else 0
    to_server = frame[ports + 2 : ports + 4] == (67).to_bytes(2)
    return frame[:ports] + (68).to_bytes(2) + frame[ports + 2 :] if to_server else frame


class Wire:
    """Listens on a device of a network namespace and keeps what it heard; it can send, too."""

    def __init__(self, netns: Path, device: str) -> None:
        self._socket = in_netns(netns, lambda: _open(device))
        self._frames: list[Frame] = []

    @property
    def frames(self) -> list[Frame]:
        """All frames so far, in order."""
        while (frame := self._next()) is not None:
            self._frames.append(frame)
        return self._frames

    @property
    def arps(self) -> list[Arp]:
        return [arp for frame in self.frames if (arp := frame.arp)]

    @property
    def dhcp(self) -> list[DhcpMessage]:
        return [message for frame in self.frames if (message := frame.dhcp)]

    def ask_who_has(self, target: IPv4Address, sender: IPv4Address, mac: str) -> None:
        """Broadcast an ARP request."""
        source = bytes.fromhex(mac.replace(":", ""))
        question = ARP.pack(
            1, 0x0800, 6, 4, REQUEST, source, sender.packed, bytes(6), target.packed
        )
        self._socket.send(BROADCAST + source + ETH_P_ARP + question)

    def close(self) -> None:
        self._socket.close()

    def _next(self) -> Frame | None:
        while True:
            try:
                content, extra, _, _ = self._socket.recvmsg(2048, socket.CMSG_SPACE(TIMESPEC.size))
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                continue  # said once when the device goes down
            seconds, nanoseconds = TIMESPEC.unpack(extra[0][2])
            return Frame(seconds + nanoseconds / 1e9, content)


@contextmanager
def listening(netns: Path, device: str) -> Iterator[Wire]:
    wire = Wire(netns, device)
    try:
        yield wire
    finally:
        wire.close()


def _open(device: str) -> socket.socket:
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
    try:
        listener.bind((device, ETH_P_ALL))
    except OSError:
        listener.close()
        raise
    return listener
