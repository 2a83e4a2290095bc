"""Manages the taps, the host's ends of ports, on Linux bridges.

Ours carry an alias (IFLA_IFALIAS): `lessor:<port id>` is one that a hypervisor made and we took,
`lessor:<port id>:managed` one that we made. A tap that its hypervisor deletes is not made again by
us. One without a Linux bridge is for an OVS bridge: it is set up here, and joined by `ovs_ports`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pyroute2 import IPRoute

from lessor.agent.drivers import bridge_mtu
from lessor.agent.drivers.bridges import MARK as BRIDGE_MARK
from lessor.agent.drivers.sysctls import ROOT, sysctl_path
from lessor.agent.host.netlink import Devices, Link, explained, link, links
from lessor.agent.host.tun import new_tap
from lessor.core.diff import Changes, Unsound
from lessor.core.state import Tap
from lessor.core.vmport import tap_mac
from lessor.errors import Conflict, LessorError, Pending
from lessor.steps import each

MARK, MANAGED = "lessor:", ":managed"

# The group 01:80:c2:00:00:0e goes past all bridge hooks to the host's own stack, unless it is
# forwarded: a VM could send the host anything in it (net/bridge/br_input.c, br_handle_frame).
LLDP = 0x4000


class TapDriver:
    """Makes or takes taps, joins them to bridges, and releases or removes them.

    Args:
        ip: an open socket.
        sysctls: where the kernel shows its settings.
        devices: reads the host's devices; drivers of one thread may share it.
        guarded: returns whether a tap is in the rules in force; none joins a bridge before.
    """

    def __init__(
        self,
        ip: IPRoute,
        sysctls: Path = ROOT,
        *,
        devices: Devices | None = None,
        guarded: Callable[[str], bool] = bool,
    ) -> None:
        self._ip = ip
        self._devices = devices or Devices()
        self._sysctls = sysctls
        self._guarded = guarded

    def observe(self) -> dict[str, Tap | Unsound[Tap]]:
        """Return the taps that carry our mark, by name."""
        devices = self._devices.links()
        bridges = {d.index: d.name for d in devices.values() if d.kind == "bridge"}
        return {
            name: self._shown(device, bridges)
            for name, device in devices.items()
            if device.alias.startswith(MARK)
        }

    def apply(self, changes: Changes[Tap]) -> None:
        """Apply every change; raise one group of the failures."""
        steps = [partial(_explained, self._ensure, tap) for tap in changes.create + changes.replace]
        steps += [partial(_explained, self._let_go, tap) for tap in changes.delete]
        each(steps, "taps")

    def _shown(self, device: Link, bridges: Mapping[int, str]) -> Tap | Unsound[Tap]:
        port_id = device.alias.removeprefix(MARK).removesuffix(MANAGED)
        bridge = bridges.get(device.master or 0, "")
        managed = device.alias.endswith(MANAGED)
        tap = Tap(device.name, port_id, bridge, device.mtu, managed, device.up)
        if device.ipv6:
            return Unsound(tap, f"the host takes part in IPv6 on {device.name}")
        if bridge and not _is_set_up(device):
            return Unsound(tap, f"{device.name} is not set up as a port of {bridge}")
        return tap

    # --- making it

    def _ensure(self, wanted: Tap) -> None:
        bridge = self._bridge(wanted)
        device = link(wanted.name)
        if device is not None:
            self._set_up(wanted, device, bridge)
        elif wanted.managed:
            with new_tap(wanted.name):
                made = self._named(wanted.name)
                self._ip.link("set", index=made.index, address=tap_mac(wanted.port_id))
                self._set_up(wanted, made, bridge)
        else:
            raise Pending(
                f"the hypervisor has not made {wanted.name} of port {wanted.port_id} yet",
                key=wanted.name,
            )

    def _bridge(self, wanted: Tap) -> Link | None:
        """Return the desired bridge of a tap; None: it has none."""
        if not wanted.bridge:
            return None
        bridge = link(wanted.bridge)
        if bridge is None or bridge.kind != "bridge":
            raise Pending(
                f"{wanted.name} of port {wanted.port_id} waits for bridge {wanted.bridge}, which "
                f"is not on this host",
                key=wanted.name,
            )
        if not self._guarded(wanted.name):
            raise Pending(
                f"{wanted.name} of port {wanted.port_id} waits for its rules in table bridge "
                "lessor",
                key=wanted.name,
            )
        return bridge

    def _set_up(self, wanted: Tap, device: Link, bridge: Link | None) -> None:
        """Set up a tap; it comes up last, so that nothing passes before the rest is in sync."""
        index = device.index
        if bridge and device.master not in (None, bridge.index):
            self._check_holder(wanted, device)
        if bridge and wanted.mtu < bridge.mtu:
            self._keep_mtu(wanted, device, bridge)
        if device.alias != _alias(wanted):
            self._ip.link("set", index=index, ifalias=_alias(wanted))
        if device.mtu != wanted.mtu:
            self._ip.link("set", index=index, mtu=wanted.mtu)
        self._forbid_ipv6(wanted.name)
        if device.up and not wanted.up:
            self._ip.link("set", index=index, state="down")
        if bridge:
            self._join(device, bridge)
        elif self._holder_kind(device) == "bridge":
            self._ip.link("set", index=index, master=0)
        if wanted.up and not device.up:
            self._ip.link("set", index=index, state="up")

    def _keep_mtu(self, wanted: Tap, device: Link, bridge: Link) -> None:
        """Keep an operator's bridge from taking the MTU of a tap; ours have theirs pinned."""
        settled = device.master == bridge.index and device.mtu == wanted.mtu
        if not settled and bridge.alias != BRIDGE_MARK:
            bridge_mtu.pin(self._ip, bridge)

    def _join(self, device: Link, bridge: Link) -> None:
        if device.master != bridge.index:
            self._ip.link("set", index=device.index, master=bridge.index)
        if device.master != bridge.index or not _is_set_up(device):
            self._ip.brport("set", index=device.index, mode=1, group_fwd_mask=LLDP)

    def _holder_kind(self, device: Link) -> str:
        return next((d.kind for d in links().values() if d.index == device.master), "")

    def _check_holder(self, wanted: Tap, device: Link) -> None:
        """Refuse a tap that another kind of switch has; one on another Linux bridge is moved.

        Its name says which port it is of, and a hypervisor may have a default bridge.
        """
        holder = next((d for d in links().values() if d.index == device.master), None)
        if holder is not None and holder.kind != "bridge":
            raise Conflict(
                f"{wanted.name} of port {wanted.port_id} can't join {wanted.bridge}: it belongs to "
                f"{holder.name}, which is no Linux bridge but {holder.kind}; take it out there"
            )

    def _named(self, name: str) -> Link:
        found = link(name)
        if found is None:
            raise LessorError(f"{name} was removed as soon as it was made; it is made again")
        return found

    # --- the host has no address there: the VM could reach it past all rules for IPv4

    def _ipv6(self, name: str) -> Path:
        # a dot in a device's name is a slash in a sysctl's
        device = name.replace(".", "/")
        return sysctl_path(self._sysctls, f"net.ipv6.conf.{device}.disable_ipv6")

    def _forbid_ipv6(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._ipv6(name).write_text("1\n")

    # --- releasing it

    def _let_go(self, former: Tap) -> None:
        device = link(former.name)
        if device is None or not device.alias.startswith(MARK):
            return
        if device.alias.endswith(MANAGED) and device.persistent:
            self._ip.link("del", index=device.index)
            return
        if device.master is not None:
            self._ip.link("set", index=device.index, master=0)
        # the mark goes last: after a crash it is still ours to release
        self._ip.link("set", index=device.index, ifalias="")


def _is_set_up(port: Link) -> bool:
    return port.hairpin and port.group_fwd_mask == LLDP


def _alias(tap: Tap) -> str:
    return f"{MARK}{tap.port_id}{MANAGED if tap.managed else ''}"


def _explained(step: Callable[[Tap], None], tap: Tap) -> None:
    with explained(f"{tap.name} of port {tap.port_id}", key=tap.name):
        step(tap)
