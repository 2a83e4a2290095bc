"""Puts a filter on dnsmasq's DHCP socket: clients must name their own MAC (decision record 35).

dnsmasq believes the MAC in a message (chaddr), whatever MAC the frame came from. Without the filter
a VM could release the lease of another one, or decline its address, which dnsmasq 2.90 then gives
to no client for ten minutes. The filter accepts a message only if both MACs are equal, so relays
are not served. Messages over loopback come from the host itself: the agent's questions,
dhcp_release(1).

Source: RFC 2131, section 2; pidfd_getfd(2); socket(7), SO_ATTACH_FILTER; linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

from lessor.agent.drivers.dnsmasq.proc import PROC
from lessor.agent.drivers.dnsmasq.process import Process

SYS_PIDFD_GETFD = 438  # on every architecture
SO_ATTACH_FILTER = 26  # asm-generic/socket.h
DHCP_PORT = 67

# BPF_LD|BPF_ABS of 4 and of 2 bytes, BPF_MISC|BPF_TAX
_LOAD_WORD, _LOAD_HALF, _TO_X = 0x20, 0x28, 0x07
_IF_IS, _IF_IS_X, _RETURN = 0x15, 0x1D, 0x06  # BPF_JMP|BPF_JEQ with a number and with X, BPF_RET
_KIND = 0xFFFFF000 + 28  # SKF_AD_OFF + SKF_AD_HATYPE: what the interface is
_FROM = 0xFFE00000 + 6  # SKF_LL_OFF: the frame's source MAC
_CHADDR = 8 + 28  # behind the header of UDP, where the filter begins to count
_LOOPBACK = 772  # ARPHRD_LOOPBACK
_WHOLE = 0xFFFFFFFF
# code, instructions to skip if so and if not, number
FILTER: Sequence[tuple[int, int, int, int]] = (
    (_LOAD_HALF, 0, 0, _KIND),
    (_IF_IS, 8, 0, _LOOPBACK),
    (_LOAD_WORD, 0, 0, _CHADDR),  # a shorter message is dropped
    (_TO_X, 0, 0, 0),
    (_LOAD_WORD, 0, 0, _FROM),
    (_IF_IS_X, 0, 5, 0),
    (_LOAD_HALF, 0, 0, _CHADDR + 4),
    (_TO_X, 0, 0, 0),
    (_LOAD_HALF, 0, 0, _FROM + 4),
    (_IF_IS_X, 0, 1, 0),
    (_RETURN, 0, 0, _WHOLE),
    (_RETURN, 0, 0, 0),
)

_libc = ctypes.CDLL(None, use_errno=True)


def attach_filter(process: Process) -> None:
    """Put the filter on the DHCP socket of a process, in place of one that is there.

    Raises:
        OSError: its sockets can't be reached, or it has none for DHCP.
    """
    code = b"".join(struct.pack("=HBBI", *one) for one in FILTER)
    instructions = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(FILTER), ctypes.addressof(instructions))
    with dhcp_socket(process) as found:
        found.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def dhcp_socket(process: Process) -> socket.socket:
    """Return the socket on which a process receives DHCP requests: another descriptor of it.

    Raises:
        OSError: its sockets can't be reached, or it has none for DHCP.
    """
    for one in _sockets(process):
        if _is_for_dhcp(one):
            return one
        one.close()
    raise OSError(errno.ENOENT, f"dnsmasq {process.pid} has no socket of UDP {DHCP_PORT}")


def _sockets(process: Process) -> Iterator[socket.socket]:
    """Yield its sockets; those of a DNS question may be closed meanwhile."""
    folder = PROC / str(process.pid) / "fd"
    for entry in folder.iterdir():
        try:
            is_socket = str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
        if not is_socket:
            continue
        got = _libc.syscall(SYS_PIDFD_GETFD, process.pidfd, int(entry.name), 0)
        if got < 0 and ctypes.get_errno() == errno.EBADF:
            continue
        if got < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"socket of dnsmasq {process.pid}: {os.strerror(number)}")
        yield socket.socket(fileno=got)


def _is_for_dhcp(one: socket.socket) -> bool:
    is_udp = (one.family, one.type) == (socket.AF_INET, socket.SOCK_DGRAM)
    return is_udp and one.getsockname()[1] == DHCP_PORT
