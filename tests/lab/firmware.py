"""A VM's firmware that boots from the network, on the tap that a hypervisor opens.

What UEFI's PXE sends, as OVMF's does: the broadcast flag, its architecture, and the options that it
asks for. Source: UEFI 2.10 section 24.3, PXE 2.1 section 2.2, RFC 4578.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Self

from lessor.agent.host.tun import DEVICE, NO_PACKET_INFO, SET_DEVICE, TAP, VNET_HEADER
from lessor.lab.netns import in_netns
from tests.dhcpclient import ACK, ALL, ANY, COOKIE, DISCOVER, OFFER, REQUEST, _frame, _options

HEADER = 10  # bytes before each frame: struct virtio_net_hdr
BROADCAST_FLAG = 0x8000
UEFI_X64 = 7
ASKED = bytes((1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59,
               60, 66, 67, 97, *range(128, 136)))  # fmt: skip


@dataclass(frozen=True)
class Offer:
    """What firmware goes by."""

    kind: int
    address: IPv4Address
    next_server: IPv4Address  # the field siaddr
    server: IPv4Address
    to: tuple[bytes, IPv4Address]  # MAC and address that it was sent to
    options: dict[int, bytes]
    field: bytes  # the field file

    @property
    def file(self) -> str:
        return (self.options.get(67) or self.field).rstrip(b"\0").decode()


class Firmware:
    """The tap of a VM, opened as QEMU does."""

    def __init__(self, netns: Path, tap: str, mac: str) -> None:
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._tap = in_netns(netns, lambda: _open(tap))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._tap)

    def boot(self, timeout_s: float = 10) -> Offer:
        """DISCOVER and REQUEST, all by broadcast; return the ACK."""
        offer = self._ask({53: bytes([DISCOVER])}, OFFER, timeout_s)
        chosen = {50: offer.address.packed, 54: offer.server.packed}
        return self._ask({53: bytes([REQUEST]), **chosen}, ACK, timeout_s)

    def _ask(self, options: dict[int, bytes], kind: int, timeout_s: float) -> Offer:
        """Ask, and again each second, as firmware does."""
        xid = random.getrandbits(32)
        question = _frame(self._mac, b"\xff" * 6, ANY, ALL, self._message(xid, options))
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            with suppress(OSError):  # EIO: the tap is down
                os.write(self._tap, bytes(HEADER) + question)
            if found := self._heard(xid, kind, 1):
                return found
        raise TimeoutError(f"no answer of type {kind} to {self._mac.hex(':')} in {timeout_s} s")

    def _heard(self, xid: int, kind: int, timeout_s: float) -> Offer | None:
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            if not select.select([self._tap], [], [], left)[0]:
                return None
            found = _offer(os.read(self._tap, 4096)[HEADER:], xid)
            if found and found.kind == kind:
                return found
        return None

    def _message(self, xid: int, options: dict[int, bytes]) -> bytes:
        own = {
            55: ASKED,
            57: (1500).to_bytes(2),
            60: b"PXEClient:Arch:00007:UNDI:003016",
            93: UEFI_X64.to_bytes(2),
            94: bytes((1, 3, 16)),
            97: bytes(17),
        }
        fixed = struct.pack(
            "!BBBBIHH16x16s192x", 1, 1, 6, 0, xid, 0, BROADCAST_FLAG, self._mac.ljust(16, b"\0")
        )
        coded = b"".join(bytes([n, len(v)]) + v for n, v in (options | own).items())
        return fixed + COOKIE + coded + b"\xff"


def _offer(frame: bytes, xid: int) -> Offer | None:
    if len(frame) < 282 or frame[12:14] != b"\x08\x00" or frame[34:38] != bytes((0, 67, 0, 68)):
        return None
    dhcp = frame[42:]
    if int.from_bytes(dhcp[4:8]) != xid:
        return None
    options = _options(dhcp[240:])
    return Offer(
        kind=options[53][0],
        address=IPv4Address(dhcp[16:20]),
        next_server=IPv4Address(dhcp[20:24]),
        server=IPv4Address(options[54]),
        to=(frame[:6], IPv4Address(frame[30:34])),
        options=options,
        field=dhcp[108:236],
    )


def _open(name: str) -> int:
    request = struct.pack("16sH22x", name.encode(), TAP | NO_PACKET_INFO | VNET_HEADER)
    opened = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(opened, SET_DEVICE, request)
    except OSError:
        os.close(opened)
        raise
    return opened
