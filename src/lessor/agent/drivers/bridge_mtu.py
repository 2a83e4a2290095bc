"""The MTU of a bridge that VMs share: its interface's, not the smallest of its ports'.

A bridge takes the MTU of its smallest port, and a host sends and forwards no larger packet by it:
one VM of a network with a small MTU would cost those of all others. Once its MTU was set to another
than it had, the kernel leaves it alone; to the same does not count.

Source: br_mtu_auto_adjust (net/bridge/br_if.c), netif_set_mtu_ext (net/core/dev.c), Linux 4.17.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyroute2 import IPRoute

from lessor.agent.host.netlink import Link


def wanted(bridge: Link, interface: Link | None, ports: Iterable[Link]) -> int:
    """Return the MTU of a bridge of ours: its interface's, or at least its largest port's."""
    if interface is not None:
        return interface.mtu
    return max([bridge.mtu, *(port.mtu for port in ports)])


def pin(ip: IPRoute, bridge: Link) -> None:
    """Let a bridge keep the MTU that it has, whichever ports come. For a moment it has another."""
    for mtu in (bridge.mtu ^ 1, bridge.mtu):  # one more where it is even, and never out of range
        ip.link("set", index=bridge.index, mtu=mtu)
