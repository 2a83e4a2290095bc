"""Keeps frames of VMs from the host's own stack where OVS switches in userspace.

There OVS only gets a copy of what arrives on a device; the kernel goes on with the frame, so a VM
would reach the host itself, and answers come twice. An nftables chain on the device's ingress,
which runs after the copy is made, drops it. With the kernel's datapath such a chain would take the
frame from OVS.

Ours are the chains of table `netdev lessor`.
"""

from __future__ import annotations

import re
from collections.abc import Collection

TABLE = "netdev lessor"
_CHAIN = re.compile(r'hook ingress devices?[ ={]+"([^"]+)" *}? priority .*; policy drop;')


def changes(add: Collection[str], remove: Collection[str]) -> str:
    """Return what `nft -f -` is given: a chain more for each device of `add`.

    `remove` are devices that have a chain now.
    """
    lines = [f"add table {TABLE}"]
    for device in sorted(add):
        hook = f'type filter hook ingress device "{device}" priority 0 ; policy drop ;'
        lines.append(f"add chain {TABLE} {_chain(device)} {{ {hook} }}")
    lines += [f"delete chain {TABLE} {_chain(device)}" for device in sorted(remove)]
    return "\n".join((*lines, ""))


def devices(listing: str) -> set[str]:
    """Return the devices that have such a chain, of what `nft list table` printed.

    Not of `nft -j`: version 1.0.6 leaves out the device there.
    """
    return set(_CHAIN.findall(listing))


def _chain(device: str) -> str:
    return "in-" + re.sub(r"[^A-Za-z0-9_.-]", "_", device)
