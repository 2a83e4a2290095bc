"""Listens to taps, for a moment, for frames whose source is not the port's.

The kernel hands over only those, and no frame to the VM: see `lessor.core.diagnosis.spoofs`.

Source: packet(7).
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from selectors import EVENT_READ, DefaultSelector

from lessor.core.diagnosis.drops import PortHere
from lessor.core.diagnosis.spoofs import HEAD, offence, spoof_filter
from lessor.core.offences import Offence

LISTEN_S = 2.0
MOST_TAPS = 8  # at once
MOST_FRAMES = 64  # of a tap
ALL = 3  # ETH_P_ALL, linux/if_ether.h
SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_STEP = 8  # bytes of an instruction


def listen(
    ports: Mapping[str, PortHere], names: Mapping[str, str], seconds: float = LISTEN_S
) -> Iterator[Offence]:
    """Yield the first offence of each tap.

    Args:
        ports: ports by tap; of more than MOST_TAPS the others are left for another time.
        names: of devices by tap, where they differ.
        seconds: for how long.
    """
    with DefaultSelector() as selector:
        opened = []
        for tap in sorted(ports)[:MOST_TAPS]:
            heard = _opened(names.get(tap, tap), ports[tap])
            if heard:
                opened.append(heard)
                selector.register(heard, EVENT_READ, tap)
        try:
            yield from _heard(selector, ports, time.monotonic() + seconds)
        finally:
            for one in opened:
                one.close()


def _heard(
    selector: DefaultSelector, ports: Mapping[str, PortHere], until: float
) -> Iterator[Offence]:
    while selector.get_map() and (left := until - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            sock, tap = key.fileobj, key.data
            assert isinstance(sock, socket.socket)
            found = _first(sock, tap, ports[tap])
            if found:
                yield found
                selector.unregister(sock)


def _first(sock: socket.socket, tap: str, port: PortHere) -> Offence | None:
    for _ in range(MOST_FRAMES):
        try:
            frame = sock.recv(HEAD)
        except OSError:  # no more, or the tap has gone
            return None
        found = offence(tap, frame, port.security.macs, port.security.sources)
        if found:
            return found
    return None


def _opened(device: str, port: PortHere) -> socket.socket | None:
    """Return a socket that gets frames of foreign sources only; None: there is no such device."""
    security = port.security
    program = spoof_filter(security.macs, security.sources) if security.is_enforced else None
    if program is None:
        return None
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        steps = ctypes.create_string_buffer(program, len(program))
        head = struct.pack("HP", len(program) // _STEP, ctypes.addressof(steps))
        made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)
        made.bind((device, ALL))
    except OSError:
        made.close()
        return None
    return made
