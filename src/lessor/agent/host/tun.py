"""Makes persistent taps, the devices a hypervisor opens as a VM's NIC.

Source: Documentation/networking/tuntap.rst of the Linux kernel.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEVICE = Path("/dev/net/tun")
SET_DEVICE, SET_PERSISTENT = 0x400454CA, 0x400454CB  # TUNSETIFF, TUNSETPERSIST
TAP, NO_PACKET_INFO, VNET_HEADER = 0x2, 0x1000, 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR


@contextmanager
def new_tap(name: str) -> Iterator[None]:
    """Make a tap that lasts if the body succeeds: QEMU and libvirt can open it, one queue.

    Until then it lives by an open file only: killed within the body, the kernel removes it, and no
    tap is ever left half made.

    Raises:
        OSError: there is a device of that name in use, or no /dev/net/tun.
    """
    request = struct.pack("16sH22x", name.encode(), TAP | NO_PACKET_INFO | VNET_HEADER)
    opened = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(opened, SET_DEVICE, request)
        yield
        fcntl.ioctl(opened, SET_PERSISTENT, 1)
    finally:
        os.close(opened)
