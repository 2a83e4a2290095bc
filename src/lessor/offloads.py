"""What a VM's NIC can't leave to its host on Open vSwitch's userspace datapath (netdev).

ovs-vswitchd reads taps by packet sockets and neither finishes checksums nor cuts segments: what a
guest leaves to the tap goes out as it is, and every TCP connection hangs. QEMU offers it to guests
whenever it opens a tap, so only the NIC's own options keep it from that.

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
