"""Whether the host takes part in IPv6 on a bridge that the agent made.

VMs of other hosts reach a bridge's link-local address by the wire, past the guards of their taps.
So IPv6 is off there, unless the operator has an IPv6 address on the bridge, or brings one with its
interface.

Source: disable_ipv6 in Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

from contextlib import suppress
from socket import AF_INET6

from lessor.agent.drivers.sysctls import ROOT, sysctl_path
from lessor.agent.host.inet import LINK_SCOPE, addresses
from lessor.agent.host.netlink import Link


def is_wanted(*devices: Link | None) -> bool:
    """Tell whether any of the devices has an IPv6 address that is more than link-local."""
    return any(
        address.scope < LINK_SCOPE
        for device in devices
        if device is not None
        for address in addresses(device.index, AF_INET6)
    )


def switch(bridge: Link, *, on: bool) -> None:
    """Let the host take part in IPv6 on a bridge or not. A kernel without IPv6 is fine."""
    name = bridge.name.replace(".", "/")
    with suppress(FileNotFoundError):
        sysctl_path(ROOT, f"net.ipv6.conf.{name}.disable_ipv6").write_text(f"{int(not on)}\n")
