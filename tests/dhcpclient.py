"""A DHCP client of a few lines on a raw socket: any MAC, any message, each with its time."""

from __future__ import annotations

import errno
import random
import socket
import struct
import time
from dataclasses import dataclass
from ipaddress import IPv4Address

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE = range(1, 8)
ASKED = bytes((1, 3, 6, 12, 15, 26, 28, 42, 51, 54, 121, 249))  # options we ask for
ANY, ALL = IPv4Address("0.0.0.0"), IPv4Address("255.255.255.255")
COOKIE = b"\x63\x82\x53\x63"
ETH_IP, ETH_ARP = 0x0800, 0x0806


@dataclass(frozen=True)
class Reply:
    """What a server answered, and after how many seconds."""

    kind: int
    address: IPv4Address
    server: IPv4Address
    server_mac: bytes
    options: dict[int, bytes]
    took_s: float

    def addresses(self, option: int) -> list[str]:
        """Return an option that is a list of addresses."""
        raw = self.options[option]
        return [str(IPv4Address(raw[at : at + 4])) for at in range(0, len(raw), 4)]


class DhcpClient:
    """One client on an interface of the present network namespace.

    Args:
        interface: where it sends and listens.
        mac: its own; the interface may have another one.
        client_id: sent as option 61.
        hostname: sent as option 12.
        speaks_for: the MAC in its messages, if it isn't its own.
        asks: the options that it asks for.
    """

    def __init__(
        self,
        interface: str,
        mac: str,
        *,
        client_id: bytes = b"",
        hostname: str = "",
        speaks_for: str = "",
        asks: bytes = ASKED,
    ) -> None:
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._client = bytes.fromhex((speaks_for or mac).replace(":", ""))
        self._own = {61: client_id, 12: hostname.encode(), 55: asks}
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind((interface, 0))
        self.lease: Reply | None = None

    def close(self) -> None:
        """Give the socket back; the server still has the lease."""
        self._socket.close()

    def discover(self, timeout_s: float = 2.0) -> Reply | None:
        """Ask who has an address for us."""
        return self._ask({53: bytes([DISCOVER])}, timeout_s)

    def acquire(self, timeout_s: float = 2.0) -> Reply | None:
        """DISCOVER and REQUEST; None: silence. A NAK is returned as it came."""
        offer = self.discover(timeout_s)
        if offer is None:
            return None
        chosen = {50: offer.address.packed, 54: offer.server.packed}
        return self._keep(self._ask({53: bytes([REQUEST]), **chosen}, timeout_s))

    def renew(self, timeout_s: float = 2.0) -> Reply | None:
        """Renew as at T1: unicast to our server."""
        assert self.lease
        return self._keep(self._ask({53: bytes([REQUEST])}, timeout_s, to=self.lease))

    def rebind(self, address: str, timeout_s: float = 2.0) -> Reply | None:
        """Renew as at T2: broadcast, from an address we have."""
        return self._keep(self._ask({53: bytes([REQUEST])}, timeout_s, ciaddr=IPv4Address(address)))

    def reboot(self, address: str, timeout_s: float = 2.0) -> Reply | None:
        """Ask for an address we had before (INIT-REBOOT)."""
        wanted = {53: bytes([REQUEST]), 50: IPv4Address(address).packed}
        return self._keep(self._ask(wanted, timeout_s))

    def give_up(self, kind: int, lease: Reply) -> None:
        """Say DECLINE or RELEASE of a lease; there is no answer."""
        told = {53: bytes([kind]), 50: lease.address.packed, 54: lease.server.packed}
        told = {key: value for key, value in told.items() if kind == DECLINE or key != 50}
        if kind == DECLINE:
            self._ask(told, 0.0)
        else:
            self._ask(told, 0.0, to=lease)

    def _keep(self, reply: Reply | None) -> Reply | None:
        if reply and reply.kind == ACK:
            self.lease = reply
        return reply

    def _ask(
        self,
        options: dict[int, bytes],
        timeout_s: float,
        *,
        to: Reply | None = None,
        ciaddr: IPv4Address = ANY,
    ) -> Reply | None:
        xid = random.getrandbits(32)
        sent = {**options, **{key: value for key, value in self._own.items() if value}}
        source = to.address if to else ciaddr
        dhcp = self._bootp(xid, source, sent)
        destination, mac = (to.server, to.server_mac) if to else (ALL, b"\xff" * 6)
        started = time.monotonic()
        self._send(_frame(self._mac, mac, source, destination, dhcp))
        while (left := started + timeout_s - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                frame = self._socket.recv(2048)
            except TimeoutError:
                return None
            self._answer_arp(frame, source)
            reply = _reply(frame, xid, self._client, started)
            if reply:
                return reply
        return None

    def _bootp(self, xid: int, ciaddr: IPv4Address, options: dict[int, bytes]) -> bytes:
        fixed = struct.pack(
            "!BBBBIHH4s12x16s192x",
            1,
            1,
            6,
            0,
            xid,
            0,
            0,
            ciaddr.packed,
            self._client.ljust(16, b"\0"),
        )
        coded = b"".join(bytes([key, len(value)]) + value for key, value in options.items())
        return fixed + COOKIE + coded + b"\xff"

    def _answer_arp(self, frame: bytes, address: IPv4Address) -> bool:
        """Answer ARP with our MAC, so that unicast answers arrive; False: no request for it."""
        if struct.unpack("!H", frame[12:14])[0] != ETH_ARP or frame[38:42] != address.packed:
            return False
        asker = frame[22:32]  # MAC and address
        header = struct.pack("!6s6sHHHBBH", asker[:6], self._mac, ETH_ARP, 1, ETH_IP, 6, 4, 2)
        self._send(header + self._mac + address.packed + asker)
        return True

    def _send(self, frame: bytes) -> None:
        """Send a frame, which may be lost: the other end of a veth may be down, or go down now."""
        try:
            self._socket.send(frame)
        except OSError as error:
            # veth(4) drops what its peer does not take, and packet(7) tells that as ENOBUFS. A
            # client on a wire would have heard nothing.
            if error.errno != errno.ENOBUFS:
                raise


def _frame(
    mac: bytes, to_mac: bytes, source: IPv4Address, to: IPv4Address, payload: bytes
) -> bytes:
    udp = struct.pack("!HHHH", 68, 67, 8 + len(payload), 0) + payload
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source.packed, to.packed
    )
    header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
    return to_mac + mac + struct.pack("!H", ETH_IP) + header + udp


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def _reply(frame: bytes, xid: int, mac: bytes, started: float) -> Reply | None:
    if struct.unpack("!H", frame[12:14])[0] != ETH_IP or frame[23] != 17 or len(frame) < 282:
        return None
    if struct.unpack("!HH", frame[34:38]) != (67, 68):
        return None
    dhcp = frame[42:]
    if dhcp[0] != 2 or struct.unpack("!I", dhcp[4:8])[0] != xid or dhcp[28:34] != mac:
        return None
    options = _options(dhcp[240:])
    return Reply(
        kind=options[53][0],
        address=IPv4Address(dhcp[16:20]),
        server=IPv4Address(options[54]),
        server_mac=frame[6:12],
        options=options,
        took_s=time.monotonic() - started,
    )


def _options(raw: bytes) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    at = 0
    while at < len(raw) and raw[at] != 255:
        if raw[at] == 0:
            at += 1
            continue
        key, length = raw[at], raw[at + 1]
        options[key] = options.get(key, b"") + raw[at + 2 : at + 2 + length]
        at += 2 + length
    return options
