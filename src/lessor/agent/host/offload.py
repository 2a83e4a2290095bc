"""Transmit checksum offload of a device.

With it on, a packet between a server and a VM on one host leaves with its checksum still to be
computed, and a DHCP client that reads raw packets drops it (LP 1029430, 1244589).
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct

SIOCETHTOOL = 0x8946  # linux/sockios.h
GET_TX_CHECKSUM, SET_TX_CHECKSUM = 0x16, 0x17  # ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM; linux/ethtool.h


def tx_checksum(device: str) -> bool:
    """Return whether the device (or what is behind it) computes checksums.

    Raises:
        OSError: there is no such device; EOPNOTSUPP: it has no such setting.
    """
    return bool(_ethtool(device, GET_TX_CHECKSUM, 0))


def set_tx_checksum(device: str, *, on: bool) -> None:
    """Switch transmit checksum offload.

    Raises:
        OSError: as for `tx_checksum`.
    """
    _ethtool(device, SET_TX_CHECKSUM, int(on))


def _ethtool(device: str, command: int, value: int) -> int:
    data = array.array("I", [command, value])  # struct ethtool_value
    request = struct.pack("16sP16x", device.encode(), data.buffer_info()[0])  # struct ifreq
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        fcntl.ioctl(control, SIOCETHTOOL, request)
    return data[1]
