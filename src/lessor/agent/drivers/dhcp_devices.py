"""Keeps the DHCP ports of overlay networks: a veth, its inner end in the network's namespace.

Ours is what is in a namespace of ours (its name is the mark); the outer end, in the host, carries
the alias `lessor-dhcp:<namespace>/<inner end>`. Not `lessor:`, which is what taps carry.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface
from itertools import takewhile
from pathlib import Path
from socket import AF_INET
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from lessor.agent.drivers.namespaces import names
from lessor.agent.inet import Route, addresses, routes
from lessor.agent.netlink import OUR_PROTO, Link, link, links
from lessor.agent.offload import set_tx_checksum, tx_checksum
from lessor.core.diff import Changes
from lessor.core.state import DhcpDevice
from lessor.errors import Conflict, LessorError, Pending
from lessor.netns import FOLDER, inside

MARK = "lessor-dhcp:"
AMISS = 0  # MTU that is shown of a device that isn't as it should be
ONLINK = 4  # RTNH_F_ONLINK: the gateway may be outside the device's own blocks (B6)
NOWHERE = IPv4Address(0)  # shown as the gateway where there is more than one


class DhcpDeviceDriver:
    """Makes and removes DHCP ports.

    Args:
        ip: an open socket of the host's own namespace.
    """

    def __init__(self, ip: IPRoute) -> None:
        self._ip = ip

    def observe(self) -> dict[str, DhcpDevice]:
        """Return our DHCP ports, by the name of the inner end."""
        outer = {d.alias: d for d in links(self._ip).values() if d.alias.startswith(MARK)}
        sealed = {alias: d for alias, d in outer.items() if _has_no_ipv6(d.name)}
        found = {}
        for alias, device in outer.items():
            namespace, _, name = alias.removeprefix(MARK).partition("/")
            found[name] = DhcpDevice(name, device.name, namespace, "", AMISS, ())
        for namespace in names():
            with contextlib.suppress(OSError), _socket(namespace) as there:
                for device in links(there).values():
                    if device.name != "lo":
                        mark = f"{MARK}{namespace}/{device.name}"
                        shown = _shown(there, device, namespace, sealed.get(mark))
                        found[device.name] = shown
        return found

    def apply(self, changes: Changes[DhcpDevice]) -> None:
        """Make every change that can be made, then raise one group of those that could not."""
        failures: list[Exception] = []
        for device in changes.delete:
            failures += _tried(self._remove, device)
        for device in changes.create + changes.replace:
            failures += _tried(self._ensure, device)
        if failures:
            raise ExceptionGroup(f"{len(failures)} DHCP ports are not as wanted", failures)

    def _ensure(self, wanted: DhcpDevice) -> None:
        if not (FOLDER / wanted.namespace).exists():
            raise Pending(f"{wanted.name} waits for namespace {wanted.namespace}", key=wanted.name)
        with _socket(wanted.namespace) as there:
            inner = self._pair(wanted, there)
            _set_up_inner(wanted, there, inner)
        self._set_up_outer(wanted)

    # --- the pair

    def _pair(self, wanted: DhcpDevice, there: IPRoute) -> Link:
        """Return the inner end, made if it isn't there or belongs to something else."""
        inner, outer = link(there, wanted.name), link(self._ip, wanted.outer)
        if inner and outer and self._peer(wanted.outer) == inner.index:
            return inner
        if outer and not outer.alias.startswith(MARK):
            raise Conflict(
                f"{wanted.outer}, the host's end of {wanted.name}, can't be made: there is a "
                f"device of this name that isn't ours; rename or remove it"
            )
        for socket, present in ((self._ip, outer), (there, inner)):
            if present:
                with contextlib.suppress(NetlinkError):  # it went with its other end
                    socket.link("del", index=present.index)
        return self._make(wanted, there)

    def _peer(self, outer: str) -> Any:
        return self._ip.link("get", ifname=outer)[0].get_attr("IFLA_LINK")

    def _make(self, wanted: DhcpDevice, there: IPRoute) -> Link:
        namespace = os.open(FOLDER / wanted.namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            peer = {"ifname": wanted.name, "address": wanted.mac, "net_ns_fd": namespace}
            self._ip.link("add", ifname=wanted.outer, kind="veth", peer=peer)
        finally:
            os.close(namespace)
        made = link(there, wanted.name)
        if made is None:
            raise LessorError(f"{wanted.name} was removed as soon as it was made; it is made again")
        return made

    # --- its ends

    def _set_up_outer(self, wanted: DhcpDevice) -> None:
        outer = link(self._ip, wanted.outer)
        if outer is None:
            raise LessorError(f"{wanted.outer} was removed as soon as it was made")
        alias = f"{MARK}{wanted.namespace}/{wanted.name}"
        if (outer.alias, outer.mtu) != (alias, wanted.mtu):
            self._ip.link("set", index=outer.index, ifalias=alias, mtu=wanted.mtu)
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            _no_ipv6(wanted.outer).write_text("1\n")
        if not outer.up:
            self._ip.link("set", index=outer.index, state="up")

    def _remove(self, former: DhcpDevice) -> None:
        """Remove both ends, by whichever is there."""
        outer = link(self._ip, former.outer) if former.outer else None
        if outer and outer.alias.startswith(MARK):
            self._ip.link("del", index=outer.index)
        elif (FOLDER / former.namespace).exists():
            with _socket(former.namespace) as there:
                inner = link(there, former.name)
                if inner:
                    there.link("del", index=inner.index)


# --- inside


def _shown(there: IPRoute, device: Link, namespace: str, outer: Link | None) -> DhcpDevice:
    present = addresses(there, device.index, AF_INET)
    ready = (
        outer is not None
        and (outer.up, outer.mtu) == (True, device.mtu)
        and device.up
        and not tx_checksum(device.name)
    )
    return DhcpDevice(
        name=device.name,
        outer=outer.name if outer else "",
        namespace=namespace,
        mac=device.mac,
        mtu=device.mtu if ready else AMISS,
        addresses=tuple(IPv4Interface(f"{a.local}/{a.prefixlen}") for a in present),
        gateway=_gateway(_defaults(there)),
    )


def _set_up_inner(wanted: DhcpDevice, there: IPRoute, inner: Link) -> None:
    """Bring it up with its MAC and without offload; then its addresses, then its route."""
    if inner.mac != wanted.mac:
        there.link("set", index=inner.index, address=wanted.mac)
    if inner.mtu != wanted.mtu:
        there.link("set", index=inner.index, mtu=wanted.mtu)
    if tx_checksum(wanted.name):
        set_tx_checksum(wanted.name, on=False)
    if not inner.up:
        there.link("set", index=inner.index, state="up")
    _set_addresses(wanted, there, inner.index)
    _set_route(wanted, there, inner.index)


def _set_addresses(wanted: DhcpDevice, there: IPRoute, device: int) -> None:
    """Give it exactly these, in this order: what follows a wrong one is put there anew."""
    present = [IPv4Interface(f"{a.local}/{a.prefixlen}") for a in addresses(there, device, AF_INET)]
    pairs = zip(present, wanted.addresses, strict=False)
    same = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    for wrong in reversed(present[same:]):
        _address(there, "del", device, wrong)
    for missing in wanted.addresses[same:]:
        _address(there, "add", device, missing)


def _address(there: IPRoute, order: str, device: int, interface: IPv4Interface) -> None:
    net = interface.network
    how = {"broadcast": str(net.broadcast_address)} if net.prefixlen < 31 else {}  # noqa: PLR2004 - RFC 3021
    proto = {"proto": OUR_PROTO} if order == "add" else {}
    there.addr(
        order, index=device, address=str(interface.ip), prefixlen=net.prefixlen, **how, **proto
    )


def _set_route(wanted: DhcpDevice, there: IPRoute, device: int) -> None:
    """Have this default route and no other."""
    present = _defaults(there)
    if wanted.gateway and _gateway(present) == wanted.gateway:
        return
    for route in present:
        there.route("del", **_key(route))
    if wanted.gateway:
        near = any(wanted.gateway in address.network for address in wanted.addresses)
        there.route(
            "add",
            dst="default",
            gateway=str(wanted.gateway),
            oif=device,
            proto=OUR_PROTO,
            flags=0 if near else ONLINK,
        )


def _defaults(there: IPRoute) -> list[Route]:
    found = (route for route in routes(there) if route.header["family"] == AF_INET)
    return [route for route in found if route.header["dst_len"] == 0]


def _gateway(defaults: list[Route]) -> IPv4Address | None:
    if not defaults:
        return None
    via = defaults[0].attributes.get("RTA_GATEWAY")
    return IPv4Address(via) if len(defaults) == 1 and via else NOWHERE


def _key(route: Route) -> dict[str, Any]:
    """Return what tells the kernel which default route is meant."""
    named = {"RTA_OIF": "oif", "RTA_GATEWAY": "gateway", "RTA_PRIORITY": "priority"}
    told = {word: route.attributes[a] for a, word in named.items() if a in route.attributes}
    return {"dst": "default", "table": route.attributes["RTA_TABLE"], **told}


@contextmanager
def _socket(namespace: str) -> Iterator[IPRoute]:
    """Be in a namespace, with a socket of it. What needs the host's must have one already."""
    with inside(namespace), IPRoute() as there:
        yield there


# --- the host has no address at the outer end


def _no_ipv6(device: str) -> Path:
    """Return the setting of a device of the namespace that this thread is in."""
    return Path("/proc/sys/net/ipv6/conf", device, "disable_ipv6")


def _has_no_ipv6(device: str) -> bool:
    try:
        return _no_ipv6(device).read_text().strip() == "1"
    except OSError:
        return True


def _tried(step: Callable[[DhcpDevice], None], device: DhcpDevice) -> list[Exception]:
    try:
        step(device)
    except LessorError as error:
        return [error]
    except (NetlinkError, OSError) as error:
        return [LessorError(f"{device.name} in {device.namespace}: {error}")]
    return []
