"""Finds in frames that a VM sends what its port may not send with, and has the kernel do so.

The filter is a program of the kernel's classic BPF: it runs for each frame of a tap while somebody
listens there, and lets through only those with another MAC or IPv4 address than the port's.

Source: Documentation/networking/filter.rst of Linux; linux/filter.h (SKF_AD_PKTTYPE); RFC 826.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network

from lessor.core.offences import Offence, Reason
from lessor.core.vmport import Sources
from lessor.net.address import Block

LONGEST = 200  # MACs and blocks of a port that a filter is made of
HEAD = 64  # bytes of a frame that are looked at

_LD_WORD, _LD_HALF, _LD_BYTE = 0x20, 0x28, 0x30
_AND, _EQUAL, _JUMP, _RETURN = 0x54, 0x15, 0x05, 0x06
_PKTTYPE, _OUTGOING = 0xFFFFF004, 4
_IPV4, _ARP = 0x0800, 0x0806
_IPV4_SOURCE, _ARP_SENDER = 26, 28  # bytes from the start of the frame
_TAKE, _LEAVE = (_RETURN, 0, 0, HEAD), (_RETURN, 0, 0, 0)

Instruction = tuple[int, int, int, int]


def spoof_filter(macs: Sequence[str], sources: Sources) -> bytes | None:
    """Return a filter that takes what isn't the port's; None: that would be too long.

    Args:
        macs: the MACs that a port may send with.
        sources: (MAC, block) pairs; a block is taken with each of its MACs.
    """
    if len(macs) + len(sources) > LONGEST:
        return None
    by_kind = [*_typed(sources)]
    own = [step for mac in macs for step in _mac_steps(mac)]
    program: list[Instruction] = [(_LD_BYTE, 0, 0, _PKTTYPE), (_EQUAL, 0, 1, _OUTGOING), _LEAVE]
    for at in range(0, len(own), 5):
        left = len(own) - at - 5
        program += [*own[at : at + 4], (_JUMP, 0, 0, left + 1)]  # over the rest, and _TAKE
    program += [_TAKE, *by_kind]
    return b"".join(struct.pack("=HBBI", *one) for one in program)


def _mac_steps(mac: str) -> Iterator[Instruction]:
    """Compare the frame's source; the fifth instruction is a jump that the caller makes."""
    high, low = struct.unpack("!IH", bytes.fromhex(mac.replace(":", "")))
    yield (_LD_WORD, 0, 0, 6)
    yield (_EQUAL, 0, 3, high)
    yield (_LD_HALF, 0, 0, 10)
    yield (_EQUAL, 0, 1, low)
    yield (_JUMP, 0, 0, 0)


def _typed(sources: Sources) -> Iterator[Instruction]:
    blocks = dict.fromkeys(block for _, block in sources)
    senders = [list(_source_steps(at, blocks)) for at in (_IPV4_SOURCE, _ARP_SENDER)]
    yield (_LD_HALF, 0, 0, 12)
    yield (_EQUAL, 0, 1, _IPV4)
    yield (_JUMP, 0, 0, 3)
    yield (_EQUAL, 0, 1, _ARP)
    yield (_JUMP, 0, 0, 1 + len(senders[0]))
    yield _LEAVE
    yield from senders[0]
    yield from senders[1]


def _source_steps(at: int, blocks: dict[Block, None]) -> Iterator[Instruction]:
    for block in (*blocks, IPv4Network(0)):  # 0.0.0.0: whoever has no address yet
        yield (_LD_WORD, 0, 0, at)
        yield (_AND, 0, 0, int(block.netmask))
        yield (_EQUAL, 0, 1, int(block.network_address))
        yield _LEAVE
    yield _TAKE


def offence(tap: str, frame: bytes, macs: Sequence[str], sources: Sources) -> Offence | None:
    """Return what is wrong with the source of a frame; None: nothing, or it is too short."""
    if len(frame) < _ARP_SENDER + 4:
        return None
    mac, kind = frame[6:12].hex(":"), int.from_bytes(frame[12:14], "big")
    if mac not in macs:
        return Offence(tap, Reason.MAC, mac)
    at = {_IPV4: _IPV4_SOURCE, _ARP: _ARP_SENDER}.get(kind)
    if at is None:
        return None
    if kind == _ARP:
        mac = frame[22:28].hex(":")
    address = IPv4Address(frame[at : at + 4])
    if any(address in block for own, block in sources if own == mac):
        return None
    return Offence(tap, Reason.SOURCE, mac, str(address))
