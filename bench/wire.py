"""Where a DHCP client's frames go and its answers come from: a device's raw socket, or a tap."""

from __future__ import annotations

import fcntl
import os
import random
import select
import socket
import struct
import time
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol

from bench import dhcp
from lessor.lab.netns import in_netns

ETH_P_IP = 0x0800
BUFFER = 1 << 20
TUNSETIFF = 0x400454CA
TAP_FLAGS = 0x2 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR: as QEMU opens it
VNET_HEADER = bytes(10)  # "nothing is offloaded"; struct virtio_net_hdr
LONGEST_FRAME = 2048


class Silence(Exception):
    """No answer came in time."""


class Wire(Protocol):
    """Frames go in, frames come out."""

    def fileno(self) -> int:
        """Return what becomes readable when a frame has come."""

    def send(self, frame: bytes) -> None:
        """Send a frame."""

    def receive(self) -> bytes:
        """Return a frame that has come."""

    def close(self) -> None:
        """Give it back."""


class DeviceWire:
    """A raw socket on a device of a network namespace."""

    def __init__(self, netns: Path, device: str) -> None:
        self._socket = in_netns(netns, lambda: _opened(device))

    def fileno(self) -> int:
        """See `Wire`."""
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """See `Wire`."""
        self._socket.send(frame)

    def receive(self) -> bytes:
        """See `Wire`."""
        return self._socket.recv(LONGEST_FRAME)

    def close(self) -> None:
        """See `Wire`."""
        self._socket.close()


class TapWire:
    """A tap, opened as a hypervisor opens it.

    Raises:
        OSError: no such tap in that namespace, or another program has it open.
    """

    def __init__(self, netns: Path, name: str) -> None:
        self._fd = in_netns(netns, lambda: _attached(name))

    def fileno(self) -> int:
        """See `Wire`."""
        return self._fd

    def send(self, frame: bytes) -> None:
        """See `Wire`."""
        os.write(self._fd, VNET_HEADER + frame)

    def receive(self) -> bytes:
        """See `Wire`."""
        return os.read(self._fd, LONGEST_FRAME)[len(VNET_HEADER) :]

    def close(self) -> None:
        """See `Wire`."""
        os.close(self._fd)


def _opened(device: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    opened.bind((device, ETH_P_IP))
    return opened


def _attached(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP_FLAGS))
    except OSError:
        os.close(fd)
        raise
    return fd


def until_offered(
    wire: Wire, mac: str, wanted: IPv4Address, *, again_s: float, within_s: float
) -> int:
    """Send a DISCOVER every `again_s` seconds until an OFFER of the wanted address comes.

    Returns:
        The exchange's xid.

    Raises:
        Silence: none came within `within_s`.
    """
    xid = random.getrandbits(32)
    frame = dhcp.discover(mac, xid)
    end = time.perf_counter() + within_s
    while time.perf_counter() < end:
        wire.send(frame)
        if _heard(wire, xid, dhcp.OFFER, wanted, again_s):
            return xid
    raise Silence(f"DISCOVER of {mac}: no OFFER of {wanted} within {within_s:g} s")


def dora(wire: Wire, mac: str, wanted: IPv4Address, server: IPv4Address) -> float:
    """Go from DISCOVER to ACK, each sent once; return the seconds it took.

    Raises:
        Silence: an answer did not come within a second.
    """
    xid = random.getrandbits(32)
    asked = dhcp.discover(mac, xid)
    taken = dhcp.request(mac, xid, wanted, server)
    started = time.perf_counter()
    for frame, kind in ((asked, dhcp.OFFER), (taken, dhcp.ACK)):
        wire.send(frame)
        if not _heard(wire, xid, kind, wanted, 1.0):
            raise Silence(f"DHCP message of {mac}: answer {kind} did not come within 1 s")
    return time.perf_counter() - started


def until_acked(
    wire: Wire, mac: str, wanted: IPv4Address, server: IPv4Address, *, within_s: float
) -> None:
    """Run DISCOVER to ACK, again if an answer is missing.

    Raises:
        Silence: there was no ACK within `within_s`.
    """
    end = time.perf_counter() + within_s
    while time.perf_counter() < end:
        with suppress(Silence):
            dora(wire, mac, wanted, server)
            return
    dora(wire, mac, wanted, server)


def _heard(wire: Wire, xid: int, kind: int, wanted: IPv4Address, within_s: float) -> bool:
    """Return whether this answer arrives within `within_s`; other frames are ignored."""
    end = time.perf_counter() + within_s
    while (left := end - time.perf_counter()) > 0:
        if not select.select([wire], [], [], left)[0]:
            return False
        if dhcp.answer(wire.receive()) == dhcp.Answer(kind, xid, wanted):
            return True
    return False
