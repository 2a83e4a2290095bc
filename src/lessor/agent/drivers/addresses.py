"""Manages our IPv4 addresses on the host's devices.

Ours carry IFA_PROTO 76 (Linux 5.18 or newer keeps it). An operator's own address counts as present
but is never removed. Reordering or removing one of ours may make the kernel drop others; they are
noted in a journal before, and restored with all their properties.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from ipaddress import IPv4Address, ip_interface
from pathlib import Path
from socket import AF_INET

from pyroute2 import IPRoute

from lessor.agent.host.arp import announce
from lessor.agent.host.inet import (
    GLOBAL,
    LINK_SCOPE,
    HostAddress,
    Route,
    add_address,
    addresses,
    delete_address,
    movable_routes,
    routes,
)
from lessor.agent.host.journal import Journal
from lessor.agent.host.move import Belongings, put, read_belongings
from lessor.agent.host.netlink import OUR_PROTO, Devices, Link, explained, link
from lessor.core.diff import Changes, Unsound
from lessor.core.state import DeviceAddress
from lessor.errors import LessorError, Pending
from lessor.net.address import Block, Interface
from lessor.steps import each

POINT_TO_POINT = 31  # from this prefix length on there is no broadcast address (RFC 3021)


class AddressDriver:
    """Adds, orders and removes addresses.

    Args:
        ip: an open socket.
        journal: file for what is being reordered, in the agent's state folder.
        announce_count: gratuitous ARPs after an address was added.
        devices: reads the host's devices; drivers of one thread may share it.
    """

    def __init__(
        self,
        ip: IPRoute,
        journal: Path,
        announce_count: int = 0,
        *,
        devices: Devices | None = None,
    ) -> None:
        self._ip = ip
        self._devices = devices or Devices()
        self._journal = Journal(journal)
        self._announce_count = announce_count
        self._theirs: set[str] = set()  # keys of wanted addresses that are an operator's
        self._unordered: set[str] = set()  # keys of addresses that may have any position

    def observe(self) -> dict[str, DeviceAddress | Unsound[DeviceAddress]]:
        """Return our addresses, and an operator's that we wanted, by "device address/prefix".

        A device whose addresses were being reordered when the agent ended has one more entry,
        which is never desired: so there is a difference, and the next apply() restores them.
        """
        names = {device.index: device.name for device in self._devices.links().values()}
        found: dict[str, DeviceAddress | Unsound[DeviceAddress]] = {
            f"{name} (being reordered)": Unsound(
                address, f"the addresses of {name} were being reordered when the agent ended"
            )
            for name, address in self._noted().items()
        }
        behind: set[int] = set()  # devices of which an operator's address was seen
        for address in addresses(family=AF_INET):
            name = names.get(address.device, "")
            key = _key(name, address)
            if self._is_served(name, address):
                first = address.scope == GLOBAL and address.device not in behind
                first = first and key not in self._unordered
                found[key] = DeviceAddress(name, _interface(address), first)
            elif address.scope < LINK_SCOPE:
                behind.add(address.device)
        return found

    def recall(self, wanted: Mapping[str, DeviceAddress]) -> None:
        """Take the desired addresses of an agent, in another process."""
        names = {device.index: device.name for device in self._devices.links().values()}
        present = addresses(family=AF_INET)
        keys = {_key(names.get(a.device, ""), a) for a in present if not a.ours}
        self._theirs |= keys & wanted.keys()
        self._unordered |= {key for key, address in wanted.items() if not address.first}

    def apply(self, changes: Changes[DeviceAddress]) -> None:
        """Apply every change; raise one group of the failures."""
        noted = self._noted()
        steps = [partial(self._complete, name) for name in noted]
        steps += [partial(self._ensure, address) for address in changes.create + changes.replace]
        theirs = set(noted.values())  # restored, not deleted
        steps += [partial(self._remove, one) for one in changes.delete if one not in theirs]
        each(steps, "addresses")

    def _is_served(self, device: str, address: HostAddress) -> bool:
        return address.ours or _key(device, address) in self._theirs

    def _on(self, device: Link) -> list[HostAddress]:
        return addresses(device.index, AF_INET)

    # --- making it

    def _ensure(self, wanted: DeviceAddress) -> None:
        with explained(f"addresses of {wanted.key}"):
            self._put(wanted)

    def _put(self, wanted: DeviceAddress) -> None:
        key = wanted.key
        device = link(wanted.device)
        if device is None:
            raise Pending(f"{wanted.device} is not on this host, so {key} waits", key=key)
        self._finish(device.name)
        self._unordered.discard(key)
        if not wanted.first:
            self._unordered.add(key)
        added = add_address(self._ip, _ours(device, wanted.interface))
        present = self._on(device)
        mine = next((a for a in present if _key(device.name, a) == key), None)
        if mine is None:
            raise LessorError(f"{key} was removed as soon as it was added; it is added again")
        if not mine.ours:
            self._theirs.add(key)
        if wanted.first:
            self._bring_first(device, present, mine)
        address = wanted.interface.ip
        if added and device.name != "lo" and isinstance(address, IPv4Address):  # by ARP
            announce(device.name, device.mac, address, self._announce_count)

    def _is_foreign(self, device: Link, address: HostAddress) -> bool:
        return address.scope < LINK_SCOPE and not self._is_served(device.name, address)

    def _bring_first(self, device: Link, present: list[HostAddress], mine: HostAddress) -> None:
        ahead = [a for a in present[: present.index(mine)] if self._is_foreign(device, a)]
        if ahead:
            self._reorder(device, present, ahead)

    def _reorder(self, device: Link, present: list[HostAddress], ahead: list[HostAddress]) -> None:
        """Bring our addresses before all others: each of those is removed and added at the end.

        One after the other, ours in between: so a device is never without an address, which would
        make the kernel drop all its routes, and each is missing for microseconds only.
        """
        served = [a for a in present if self._is_served(device.name, a)]
        subnets = {_interface(address).network for address in served}
        self._note(device, present)
        # those that take one of ours with them first: it comes back at the end of the row
        for address in sorted(ahead, key=lambda a: _interface(a).network not in subnets):
            delete_address(self._ip, address)
            for one_of_ours in served:  # those in the subnet of the removed one went with it
                add_address(self._ip, one_of_ours)
            add_address(self._ip, address)
        self._put_back(device.name)

    # --- removing it

    def _remove(self, former: DeviceAddress) -> None:
        with explained(f"addresses of {former.key}"):
            self._take(former)

    def _take(self, former: DeviceAddress) -> None:
        key = former.key
        self._theirs.discard(key)
        self._unordered.discard(key)
        device = link(former.device)
        if device is None:
            return
        self._finish(device.name)
        present = self._on(device)
        mine = next((a for a in present if a.ours and _key(device.name, a) == key), None)
        if mine is None:
            return
        # with the first address of a subnet the kernel removes all others of that subnet
        others = any(not a.ours for a in present)
        if others:
            self._note(device, present)
        delete_address(self._ip, mine)
        for one_of_ours in present:
            if one_of_ours.ours and one_of_ours != mine:
                add_address(self._ip, one_of_ours)
        if others:
            self._put_back(device.name)
            self._keep_first(device)

    def _keep_first(self, device: Link) -> None:
        """Bring those of ours that went with a removed one, and came back last, to the front."""
        present = self._on(device)
        ours = [a for a in present if a.ours and a.scope == GLOBAL]
        leading = [a for a in ours if _key(device.name, a) not in self._unordered]
        if leading:
            self._bring_first(device, present, leading[-1])

    # --- what the kernel would drop

    def _noted(self) -> dict[str, DeviceAddress]:
        """Return the first address that is still to be restored of each device, by its name."""
        notes = {name: read_belongings(note) for name, note in self._journal.read().items()}
        return {
            name: DeviceAddress(name, _interface(one.addresses[0])) for name, one in notes.items()
        }

    def _note(self, device: Link, present: list[HostAddress]) -> None:
        """Note all addresses that are not marked as ours, in the desired order."""
        theirs = [a for a in present if not a.ours]
        theirs.sort(key=lambda a: not self._is_served(device.name, a))
        sources = {a.local for a in theirs}
        found = routes(self._ip)
        kept = movable_routes(found, device.index, present)
        kept += [r for r in found if r not in kept and _is_elsewhere(r, device.index, sources)]
        self._journal.note(device.name, asdict(Belongings(tuple(theirs), tuple(kept))))

    def _complete(self, name: str) -> None:
        with explained(f"addresses of {name}"):
            self._finish(name)

    def _finish(self, name: str) -> None:
        """Restore what an earlier reordering had to leave; a new note would hide it."""
        if name in self._journal.read():
            self._put_back(name)

    def _put_back(self, name: str) -> None:
        note = self._journal.read()[name]
        device = link(name)
        noted = read_belongings(note)
        if device and all(address.device == device.index for address in noted.addresses):
            failures = put(self._ip, noted)
            if failures:
                raise ExceptionGroup(f"not all could be restored on {name}", failures)
        self._journal.clear(name)


def vm_addresses_on(device: str, networks: Iterable[Block]) -> list[Interface]:
    """Return the addresses of a device that lie in one of the networks, ours or not.

    A compute host must have none on its VMs' network (A6.3).
    """
    found = link(device)
    present = addresses(found.index, AF_INET) if found else []
    blocks = tuple(networks)
    interfaces = [_interface(address) for address in present]
    return [i for i in interfaces if any(i.ip in block for block in blocks)]


def _is_elsewhere(route: Route, device: int, sources: set[str]) -> bool:
    """Tell whether a route of another device has one of the addresses as its source."""
    return route.attributes.get("RTA_PREFSRC") in sources and not route.uses(device)


def _ours(device: Link, interface: Interface) -> HostAddress:
    local = str(interface.ip)
    net = interface.network
    at_lo = device.name == "lo" or interface.ip.is_link_local
    return HostAddress(
        device=device.index,
        family=AF_INET,
        local=local,
        peer=local,
        prefixlen=net.prefixlen,
        scope=LINK_SCOPE if at_lo else GLOBAL,
        label=device.name,
        broadcast=str(net.broadcast_address) if net.prefixlen < POINT_TO_POINT else "",
        proto=OUR_PROTO,
    )


def _interface(address: HostAddress) -> Interface:
    return ip_interface((address.local, address.prefixlen))


def _key(device: str, address: HostAddress) -> str:
    return f"{device} {_interface(address)}"
