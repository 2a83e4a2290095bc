"""Manages the Linux bridges of flat networks.

Ours carry the alias (IFLA_IFALIAS) `lessor`. A bridge of a desired name without it is an
operator's: its ports and addresses stay, it gets at most the desired interface and settings, and it
is never deleted. An operator's addresses on one of ours are remembered, and restored if that bridge
is deleted by hand.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pyroute2 import IPRoute

from lessor.agent.drivers import bridge_ipv6, bridge_mtu
from lessor.agent.drivers.operator_addresses import OperatorAddresses
from lessor.agent.drivers.uplink import Uplink
from lessor.agent.host.inet import Surroundings, addresses, is_movable, surroundings
from lessor.agent.host.journal import Journal
from lessor.agent.host.netlink import Devices, Link, explained, link, links, ports_of
from lessor.agent.host.offload import set_tx_checksum, tx_checksum
from lessor.core.diff import Changes, Unsound
from lessor.core.state import Bridge
from lessor.errors import Conflict, LessorError, Pending
from lessor.settings import FlatMapping
from lessor.steps import each

MARK = "lessor"
NEW = "lessor-new"  # a bridge has this name until it has its mark and its settings


class _Inputs(NamedTuple):
    """What the observation of a bridge depends on: equal inputs need no second look."""

    bridge: Link
    interface: Link | None
    wanted: Bridge | None
    around: Surroundings
    mtu: int  # that it should have


class BridgeDriver:
    """Makes bridges, joins their interfaces, and removes both.

    Args:
        ip: an open socket.
        reachable: returns whether the server answers this host; called before and after a move.
        journal: file for what is being moved, in the agent's state folder; beside it a file for
            what is on our bridges.
        mappings: the bridges that settings name. They are shown although they may be an
            operator's, with the interface that they should have.
        patience_s: how long the server may take to answer again after a move.
        devices: reads the host's devices; drivers of one thread may share it.
    """

    def __init__(
        self,
        ip: IPRoute,
        reachable: Callable[[], bool],
        journal: Path,
        mappings: Iterable[FlatMapping] = (),
        patience_s: float = 5.0,
        *,
        devices: Devices | None = None,
    ) -> None:
        self._ip = ip
        self._devices = devices or Devices()
        self._seen: dict[str, tuple[_Inputs, str | None, str]] = {}
        self._uplink = Uplink(ip, reachable, Journal(journal), patience_s)
        self._operators = OperatorAddresses(ip, Journal(journal.with_name(f"held-{journal.name}")))
        # what was wanted of each: says which bridges of an operator's to show, and which port to
        # take for the interface
        self._wanted = {m.bridge: Bridge(m.bridge, m.interface) for m in mappings}

    def observe(self) -> dict[str, Bridge | Unsound[Bridge]]:
        """Return our bridges, and an operator's of a desired name, by name."""
        around = surroundings()
        devices = self._devices.links()
        return {
            name: self._shown(device, devices, around)
            for name, device in devices.items()
            if device.kind == "bridge" and (_is_ours(device) or name in self._wanted)
        }

    def recall(self, wanted: Mapping[str, Bridge]) -> None:
        """Take the desired bridges of an agent, in another process."""
        self._wanted |= wanted

    def verify(self) -> None:
        """Look at what is on each bridge at the next `observe()`, even if nothing seems changed."""
        self._seen.clear()

    def apply(self, changes: Changes[Bridge]) -> None:
        """Apply every change; raise one group of the failures."""
        self._seen.clear()
        steps = [partial(_explained, self._ensure, one) for one in changes.create + changes.replace]
        steps += [partial(_explained, self._remove, one) for one in changes.delete]
        each(steps, "bridges")

    # --- what is there

    def _shown(
        self, device: Link, devices: dict[str, Link], around: Surroundings
    ) -> Bridge | Unsound[Bridge]:
        wanted = self._wanted.get(device.name)
        port = self._interface(device, devices)
        inputs = _Inputs(device, port, wanted, around, _mtu(device, port, devices.values()))
        known = self._seen.get(device.name)
        if known is None or known[0] != inputs:
            known = (inputs, *self._inspected(inputs))
            self._seen[device.name] = known
        _, interface, why = known
        offload = tx_checksum(device.name) or (
            not _is_ours(device) and wanted is not None and wanted.tx_checksum
        )
        bridge = Bridge(device.name, interface, tx_checksum=offload)
        return Unsound(bridge, why) if why else bridge

    def _inspected(self, inputs: _Inputs) -> tuple[str | None, str]:
        """Return its settled interface, and what is wrong; note an operator's addresses."""
        device, port = inputs.bridge, inputs.interface
        ours = _is_ours(device)
        settled = port is not None and self._uplink.is_settled(device, port)
        why = "" if device.up else f"bridge {device.name} is down"
        if ours:
            why = why or self._fault(device, port, inputs.mtu)
            if not why:
                self._operators.note(device)
        return port.name if port and settled else None, why

    def _fault(self, device: Link, interface: Link | None, mtu: int) -> str:
        """Return what is wrong with a bridge of ours; "": nothing."""
        name = device.name
        if device.stp or device.forward_delay:
            return f"bridge {name} has STP on, or a forward delay"
        if interface and interface.mac != device.mac:
            return f"bridge {name} has MAC {device.mac}, not {interface.mac} of {interface.name}"
        if device.mtu != mtu:
            return f"bridge {name} has MTU {device.mtu}, not {mtu}"
        if device.ipv6 != self._wants_ipv6(device, interface):
            return f"bridge {name} has IPv6 {'on' if device.ipv6 else 'off'}"
        if not self._operators.is_whole(device):
            return f"bridge {name} was made again and lacks an operator's addresses and routes"
        return ""

    def _wants_ipv6(self, device: Link, interface: Link | None) -> bool:
        return bridge_ipv6.is_wanted(device, interface) or self._operators.has_ipv6(device.name)

    def _interface(self, bridge: Link, devices: dict[str, Link]) -> Link | None:
        """Return the port that is the bridge's interface: as desired, or the one with its MAC."""
        ports = ports_of(bridge, devices.values())
        wanted = self._wanted.get(bridge.name)
        for port in ports:
            if wanted and port.name == wanted.interface:
                return port
        if not _is_ours(bridge):
            return None
        same = (p for p in ports if p.mac == bridge.mac and not p.alias.startswith(f"{MARK}:"))
        return next(same, None)

    # --- making it

    def _ensure(self, wanted: Bridge) -> None:
        self._wanted[wanted.name] = wanted
        interface = link(wanted.interface) if wanted.interface else None
        device = link(wanted.name) or self._make(wanted.name, interface)
        if device.kind != "bridge":
            raise Conflict(
                f"bridge {wanted.name} can't be made: there is a {device.kind or 'hardware'} "
                f"device of that name; rename it or name another bridge"
            )
        device = self._sized(device, interface)
        self._set_up(device, wanted, interface)
        if _is_ours(device):
            self._operators.restore(device, interface)
        self._connect(wanted, interface)

    def _make(self, name: str, interface: Link | None) -> Link:
        """Make a bridge. Its real name is the last thing it gets, so none is ever unmarked."""
        if link(NEW):
            self._ip.link("del", ifname=NEW)
        mac = interface.mac if interface else _random_mac()
        self._ip.link(
            "add", ifname=NEW, kind="bridge", address=mac, br_stp_state=0, br_forward_delay=0
        )
        new = _present(NEW)
        bridge_mtu.pin(self._ip, new)
        self._ip.link("set", index=new.index, ifalias=MARK)
        self._ip.link("set", index=new.index, ifname=name)
        return _present(name)

    def _sized(self, bridge: Link, interface: Link | None) -> Link:
        """Give a bridge of ours its MTU, and so pin it. An operator's is left to the operator.

        One that had less than IPv6 needs takes part in IPv6 again: that is checked afterwards.
        """
        mtu = _mtu(bridge, interface, links().values())
        if not _is_ours(bridge) or mtu == bridge.mtu:
            return bridge
        self._ip.link("set", index=bridge.index, mtu=mtu)
        return _present(bridge.name)

    def _set_up(self, device: Link, wanted: Bridge, interface: Link | None) -> None:
        index = device.index
        ipv6 = self._wants_ipv6(device, interface)
        if _is_ours(device) and device.ipv6 != ipv6:
            bridge_ipv6.switch(device, on=ipv6)
        if _is_ours(device) and (device.stp or device.forward_delay):
            # one after the other: with STP on, the kernel refuses a delay of 0
            self._ip.link("set", index=index, kind="bridge", br_stp_state=0)
            self._ip.link("set", index=index, kind="bridge", br_forward_delay=0)
        if not device.up:
            self._ip.link("set", index=index, state="up")
        on = tx_checksum(device.name)
        if on != wanted.tx_checksum and (_is_ours(device) or not wanted.tx_checksum):
            set_tx_checksum(device.name, on=wanted.tx_checksum)

    def _connect(self, wanted: Bridge, interface: Link | None) -> None:
        devices = links()
        device = devices[wanted.name]
        former = self._interface(device, devices)
        if former and former.name != wanted.interface:
            self._uplink.leave(device, former)
        if wanted.interface is None:
            return
        if interface is None:
            raise Pending(
                f"flat_interface {wanted.interface} of bridge {wanted.name} is not on this host",
                key=wanted.name,
            )
        _check_free(device, interface, devices.values())
        self._pin_mac(device, interface, devices.values())
        if not self._uplink.is_settled(device, interface):
            self._uplink.join(_present(wanted.name), interface)

    def _pin_mac(self, bridge: Link, interface: Link, devices: Iterable[Link]) -> None:
        """Fix the bridge's MAC, or it would become that of a VM's tap (LP 1488686).

        An operator's bridge keeps the MAC it has, unless the interface is its first port.
        """
        joined = interface.master == bridge.index
        if _is_ours(bridge):
            mac = interface.mac if bridge.mac != interface.mac else None
        elif joined:
            mac = None
        else:
            mac = bridge.mac if ports_of(bridge, devices) else interface.mac
        if mac is not None:
            self._ip.link("set", index=bridge.index, address=mac)

    # --- removing it

    def _remove(self, former: Bridge) -> None:
        devices = links()
        device = devices.get(former.name)
        if device is None or not _is_ours(device):
            self._wanted.pop(former.name, None)
            return
        interface = self._interface(device, devices)
        others = [p.name for p in ports_of(device, devices.values()) if p != interface]
        if others:
            raise Pending(
                f"bridge {device.name} is no longer needed but still has {', '.join(others)}; "
                f"it is removed when they are gone",
                key=device.name,
            )
        if interface:
            self._uplink.leave(device, interface)
        else:
            self._check_bare(device)
        self._operators.forget(device.name)
        self._ip.link("del", index=device.index)
        self._wanted.pop(former.name, None)

    def _check_bare(self, device: Link) -> None:
        foreign = [a.local for a in addresses(device.index) if is_movable(a)]
        if foreign:
            raise Pending(
                f"bridge {device.name} is no longer needed but has {', '.join(foreign)}, which is "
                f"not ours and has no interface to go to; remove it from the bridge",
                key=device.name,
            )


def _mtu(bridge: Link, interface: Link | None, devices: Iterable[Link]) -> int:
    ports = () if interface else ports_of(bridge, devices)
    return bridge_mtu.wanted(bridge, interface, ports)


def _is_ours(device: Link) -> bool:
    return device.kind == "bridge" and (device.alias == MARK or device.name == NEW)


def _check_free(bridge: Link, interface: Link, devices: Iterable[Link]) -> None:
    if interface.master in (None, bridge.index):
        return
    holder = next((d for d in devices if d.index == interface.master), None)
    name = holder.name if holder else f"device {interface.master}"
    if holder and _is_ours(holder):
        raise Pending(
            f"{interface.name} of bridge {bridge.name} is still in our bridge {name}",
            key=bridge.name,
            retry_s=1.0,
        )
    raise Conflict(
        f"bridge {bridge.name} can't have {interface.name}: it belongs to {name}, which is not "
        f"ours; take it out (ip link set {interface.name} nomaster) or name another flat_interface"
    )


def _present(name: str) -> Link:
    found = link(name)
    if found is None:
        raise LessorError(
            f"{name} was removed from this host just now; the next pass looks for it again"
        )
    return found


def _random_mac() -> str:
    """Return a MAC for a bridge without an interface: locally administered, for one host only."""
    return ":".join(f"{byte:02x}" for byte in (0x02, *secrets.token_bytes(5)))


def _explained(step: Callable[[Bridge], None], bridge: Bridge) -> None:
    with explained(f"bridge {bridge.name}"):
        step(bridge)
