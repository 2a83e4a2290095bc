"""The sockets of a server: one hears and answers, another keeps the kernel from refusing.

Frames are read from the interface (AF_PACKET), since a client without an address is answered by
its MAC. A filter in the kernel passes what may be a request and nothing else. The kernel would
answer requests that are unicast with ICMP "port unreachable", if no UDP socket had the port.

Source: packet(7), socket(7), udp(7); linux/filter.h (offsets of SKF_AD_*).
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from lessor.core.dhcp.message import SERVER_PORT
from lessor.dhcpd.messages import Device
from lessor.netns import inside

IPV4 = 0x0800
RECEIVED = 4 << 20  # bytes that wait: 2,000 requests of a boot storm; used only if they are there
_SOL_PACKET, _IGNORE_OUTGOING = 263, 23
_SO_MARK, _SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 36, 26, 33
_UDP = 17

_LOAD_BYTE, _LOAD_HALF, _LOAD_WORD, _AND = 0x30, 0x28, 0x20, 0x54
_JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY, _RETURN = 0x15, 0x25, 0x45, 0x06
_PACKET_TYPE, _MARK = 0xFFFFF004, 0xFFFFF014  # SKF_AD_OFF + SKF_AD_PKTTYPE, SKF_AD_MARK
_MULTICAST = 2  # PACKET_*: what is greater is another host's, or ours
_ALL = 0xFFFF
_FILTER = struct.Struct("HBBI")  # struct sock_filter


class _Step(NamedTuple):
    """An instruction of a filter; `yes`, `no`: how many are skipped by a jump."""

    code: int
    operand: int
    yes: int = 0
    no: int = 0


_DROP = _Step(_RETURN, 0)


class Sockets(NamedTuple):
    """The sockets of one server. `packet` gives frames and sends them; `silent` is never read."""

    packet: socket.socket
    silent: socket.socket

    def close(self) -> None:
        """Close both."""
        self.packet.close()
        self.silent.close()


def open_sockets(device: Device) -> Sockets:
    """Open the sockets of a server in the namespace of its interface.

    Raises:
        OSError: there is no such interface or namespace, or this process lacks the rights.
    """
    with inside(device.namespace):
        packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # hears nothing until bound
        try:
            _prepare(packet, device)
            packet.bind((device.interface, IPV4))
            return Sockets(packet, _silent(device.interface))
        except OSError:
            packet.close()
            raise


def _prepare(packet: socket.socket, device: Device) -> None:
    packet.setblocking(False)
    packet.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
    if device.mark:
        packet.setsockopt(socket.SOL_SOCKET, _SO_MARK, device.mark)
    try:
        packet.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVED)
    except PermissionError:
        packet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED)
    _attach(packet, _requests(device))


def _silent(interface: str) -> socket.socket:
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        _attach(silent, [_DROP])
        silent.bind(("", SERVER_PORT))
    except OSError:
        silent.close()
        raise
    return silent


def _requests(device: Device) -> list[_Step]:
    """Return the filter: for us, marked if that is asked for, IPv4, UDP, whole, to port 67."""
    marked = [
        _Step(_LOAD_WORD, _MARK),
        _Step(_AND, device.mark),
        _Step(_JUMP_EQUAL, device.mark, 1),
    ]
    checks = [
        [_Step(_LOAD_WORD, _PACKET_TYPE), _Step(_JUMP_GREATER, _MULTICAST, 0, 1)],
        *([marked] if device.marked else []),
        [_Step(_LOAD_HALF, 12), _Step(_JUMP_EQUAL, IPV4, 1)],
        [_Step(_LOAD_BYTE, 14), _Step(_JUMP_EQUAL, 0x45, 1)],  # a header without options
        [_Step(_LOAD_BYTE, 23), _Step(_JUMP_EQUAL, _UDP, 1)],
        [_Step(_LOAD_HALF, 20), _Step(_JUMP_ANY, 0x3FFF, 0, 1)],
        [_Step(_LOAD_HALF, 36), _Step(_JUMP_EQUAL, SERVER_PORT, 1)],
    ]
    return [step for check in checks for step in (*check, _DROP)] + [_Step(_RETURN, _ALL)]


def _attach(sock: socket.socket, program: Sequence[_Step]) -> None:
    """Attach a classic BPF program."""
    code = b"".join(_FILTER.pack(one.code, one.yes, one.no, one.operand) for one in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = struct.pack("HP", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def attached(packet: socket.socket, interface: str) -> bytes | None:
    """Return the MAC of the interface that a socket is bound to; None: that one has gone.

    A socket stays bound to the interface that it was opened on, not to a later one of that name.
    """
    with suppress(OSError):
        name, _, _, _, mac = packet.getsockname()
        if name == interface:
            return bytes(mac)
    return None
