"""Offloads that a VM's NIC must not use on Open vSwitch's userspace datapath (netdev).

ovs-vswitchd reads taps through packet sockets and neither completes checksums nor segments. Packets
that a guest leaves unfinished go out unfinished, and every TCP connection hangs. QEMU offers the
offloads whenever it opens a tap, so they must be disabled in the NIC's own options.

Source: virtio 1.2, section 5.1.3; libvirt, domain XML, "Setting NIC driver-specific options".
"""

from __future__ import annotations

NETDEV = "netdev"
QEMU = "csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ufo=off,guest_ecn=off"
_CUT = ("tso4", "tso6", "ecn", "ufo")
LIBVIRT = {  # element of <driver>: its attributes
    "host": dict.fromkeys(("csum", "gso", *_CUT), "off"),
    "guest": dict.fromkeys(("csum", *_CUT), "off"),
}
