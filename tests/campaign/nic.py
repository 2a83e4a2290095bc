"""A VM's network card with a DHCP client that answers ARP for its address, as a VM does."""

from __future__ import annotations

import random
import struct
import time
from ipaddress import IPv4Address

from tests.dhcpclient import ALL, ETH_ARP, RELEASE, DhcpClient, _frame

ARP = struct.Struct("!HHBBH6s4s6s4s")  # RFC 826
REQUEST, REPLY = 1, 2
BROADCAST = b"\xff" * 6


class Nic(DhcpClient):
    """On eth0 of the present network namespace.

    Attributes:
        answered: when it answered ARP for its address, in seconds of `time.monotonic`.
    """

    def __init__(self, mac: str) -> None:
        super().__init__("eth0", mac)
        self.answered: list[float] = []

    @property
    def address(self) -> IPv4Address | None:
        return self.lease.address if self.lease else None

    def release(self) -> None:
        """Give the lease back; there is no answer to that."""
        assert self.lease
        options = {53: bytes([RELEASE]), 54: self.lease.server.packed}
        message = self._bootp(random.getrandbits(32), self.lease.address, options)
        frame = _frame(
            self._mac, self.lease.server_mac, self.lease.address, self.lease.server, message
        )
        self._socket.send(frame)
        self.lease = None

    def idle(self, seconds: float) -> None:
        """Do nothing but answer ARP."""
        self._listen(seconds)

    def who_has(self, target: str, seconds: float) -> tuple[str, ...]:
        """Ask for an address; return the MACs that answered."""
        wanted, own = IPv4Address(target).packed, (self.address or ALL).packed
        header = BROADCAST + self._mac + ETH_ARP.to_bytes(2)
        question = ARP.pack(1, 0x0800, 6, 4, REQUEST, self._mac, own, bytes(6), wanted)
        self._socket.send(header + question)
        seen = self._listen(seconds)
        macs = (
            mac
            for operation, mac, sender in seen
            if operation == REPLY and sender == wanted and mac != self._mac
        )
        return tuple(mac.hex(":") for mac in dict.fromkeys(macs))

    def _answer_arp(self, frame: bytes, address: IPv4Address) -> bool:
        answered = super()._answer_arp(frame, address)
        if answered:
            self.answered.append(time.monotonic())
        return answered

    def _listen(self, seconds: float) -> list[tuple[int, bytes, bytes]]:
        seen = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                frame = self._socket.recv(2048)
            except TimeoutError:
                break
            if frame[12:14] != ETH_ARP.to_bytes(2) or len(frame) < 14 + ARP.size:
                continue
            _, _, _, _, operation, mac, sender, _, _ = ARP.unpack_from(frame, 14)
            seen.append((operation, mac, sender))
            if self.address and operation == REQUEST and mac != self._mac:
                self._answer_arp(frame, self.address)
        return seen
