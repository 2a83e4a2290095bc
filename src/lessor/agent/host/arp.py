"""Gratuitous ARP: tells the neighbours of an address who has it now."""

from __future__ import annotations

import contextlib
import socket
import struct
from ipaddress import IPv4Address

ETHERTYPE_ARP, ETHERTYPE_IPV4 = 0x0806, 0x0800
ETHERNET = 1  # hardware type, RFC 826
REQUEST, REPLY = 1, 2
BROADCAST = b"\xff" * 6


def announcement(mac: bytes, address: IPv4Address, operation: int) -> bytes:
    """Return the Ethernet frame in which `mac` tells everybody that it has `address`.

    Sender and target are the same address. Source: RFC 826; RFC 5227 section 2.3; arping(8) -A
    (reply) and -U (request).
    """
    head = struct.pack("!6s6sH", BROADCAST, mac, ETHERTYPE_ARP)
    kind = struct.pack("!HHBBH", ETHERNET, ETHERTYPE_IPV4, len(mac), 4, operation)
    target = mac if operation == REPLY else bytes(6)
    return head + kind + mac + address.packed + target + address.packed


def announce(device: str, mac: str, address: IPv4Address, count: int) -> None:
    """Send `count` announcements, each as request and as reply: some listen to one kind only.

    They are sent at once, since whoever waits for the address doesn't wait for seconds. A failure
    is no error (A13): the neighbours find out by themselves, later.
    """
    source = bytes.fromhex(mac.replace(":", ""))
    with contextlib.suppress(OSError), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((device, 0))
        for _ in range(count):
            wire.send(announcement(source, address, REQUEST))
            wire.send(announcement(source, address, REPLY))
