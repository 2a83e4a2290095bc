"""Manages the DHCP ports of overlay networks: a veth, its inner end in the network's namespace.

Ours is what is in a namespace of ours (its name is the mark); the outer end, in the host, carries
the alias `lessor-dhcp:<namespace>/<inner end>`. Not `lessor:`, which is what taps carry.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, takewhile
from pathlib import Path

from lessor.agent.drivers.namespaces import names
from lessor.agent.host.netdump import DefaultRoute, Device, NetDump
from lessor.agent.host.netlink import OUR_PROTO, explained
from lessor.agent.host.offload import set_tx_checksum, tx_checksum
from lessor.agent.host.run import Run
from lessor.core.diff import Changes, Unsound
from lessor.core.state import DhcpDevice
from lessor.errors import CommandError, Conflict, LessorError, Pending
from lessor.net.address import Address
from lessor.netns import FOLDER, inside
from lessor.steps import tried

MARK = "lessor-dhcp:"


class DhcpDeviceDriver:
    """Makes and removes DHCP ports.

    Args:
        run: runs ip(8), in the host's own namespace.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def observe(self) -> dict[str, DhcpDevice | Unsound[DhcpDevice]]:
        """Return our DHCP ports, by the name of the inner end."""
        marked = {d.alias: d for d in _devices().values() if d.alias.startswith(MARK)}
        sealed = {alias: d for alias, d in marked.items() if _has_no_ipv6(d.name)}
        found: dict[str, DhcpDevice | Unsound[DhcpDevice]] = {}
        for alias, outer in marked.items():
            namespace, _, name = alias.removeprefix(MARK).partition("/")
            alone = DhcpDevice(name, outer.name, namespace, "", outer.mtu, ())
            found[name] = Unsound(alone, f"{name} is not in {namespace}; {outer.name} is left")
        for namespace in names():
            with contextlib.suppress(OSError), inside(namespace), NetDump() as there:
                routes = there.default_routes()
                for inner in there.devices().values():
                    if inner.name != "lo":
                        end = sealed.get(f"{MARK}{namespace}/{inner.name}")
                        found[inner.name] = _shown(namespace, inner, end, routes)
        return found

    def apply(self, changes: Changes[DhcpDevice]) -> None:
        """Apply every change; raise one group of the failures."""
        wanted = changes.create + changes.replace
        removed = self._in_host(self._removal, changes.delete)
        made = self._in_host(self._making, wanted)
        set_up = [_tried(self._set_up, device) for device in wanted if not made[device.name]]
        failures = list(chain(*removed.values(), *made.values(), *set_up))
        if failures:
            raise ExceptionGroup(f"{len(failures)} DHCP ports failed", failures)

    # --- the pair

    def _in_host(
        self,
        plan: Callable[[DhcpDevice, Mapping[str, Device]], list[str]],
        devices: Sequence[DhcpDevice],
    ) -> dict[str, list[Exception]]:
        """Do what is planned for each, all with one process; if that fails, each by itself.

        Returns:
            the failures of each device, by its name.
        """
        host, lines = _devices(), list[str]()
        failures = {
            one.name: _tried(lambda device: lines.extend(plan(device, host)), one)
            for one in devices
        }
        try:
            self._batch(lines)
        except CommandError:
            for one in devices:
                if not failures[one.name]:
                    alone = _tried(lambda device: self._batch(plan(device, _devices())), one)
                    failures[one.name] = alone
        return failures

    def _making(self, wanted: DhcpDevice, host: Mapping[str, Device]) -> list[str]:
        """Return what makes the pair, if it isn't there, and sets up the host's end."""
        if not (FOLDER / wanted.namespace).exists():
            raise Pending(f"{wanted.name} waits for namespace {wanted.namespace}", key=wanted.name)
        inner, outer = _inner(wanted), host.get(wanted.outer)
        mark = f"{MARK}{wanted.namespace}/{wanted.name}"
        finish = f"link set dev {wanted.outer} alias {mark} mtu {wanted.mtu} up"
        if inner and outer and (inner.peer, outer.peer) == (outer.index, inner.index):
            right = (outer.alias, outer.mtu, outer.up) == (mark, wanted.mtu, True)
            return [] if right else [finish]
        if outer and not outer.alias.startswith(MARK):
            raise Conflict(
                f"{wanted.outer}, the host's end of {wanted.name}, can't be made: there is a "
                f"device of this name that isn't ours; rename or remove it"
            )
        if inner:
            self._batch([f"link del dev {wanted.name}"], "-n", wanted.namespace)
        peer = f"peer name {wanted.name} address {wanted.mac} netns {wanted.namespace}"
        return [
            *([f"link del dev {wanted.outer}"] if outer else []),
            f"link add name {wanted.outer} type veth {peer}",
            finish,
        ]

    def _removal(self, former: DhcpDevice, host: Mapping[str, Device]) -> list[str]:
        """Return what removes both ends, by whichever is known as ours."""
        outer = host.get(former.outer)
        if outer and outer.alias.startswith(MARK):
            return [f"link del dev {outer.name}"]
        if (FOLDER / former.namespace).exists() and _inner(former):
            self._batch([f"link del dev {former.name}"], "-n", former.namespace)
        return []

    # --- its ends

    def _set_up(self, wanted: DhcpDevice) -> None:
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            _no_ipv6(wanted.outer).write_text("1\n")
        with inside(wanted.namespace), NetDump() as there:
            inner, routes = there.devices().get(wanted.name), there.default_routes()
            if inner is None:
                raise LessorError(f"{wanted.name} was removed as soon as it was made")
            if tx_checksum(wanted.name):
                set_tx_checksum(wanted.name, on=False)
        self._batch(_setting_up(wanted, inner, routes), "-n", wanted.namespace)

    def _batch(self, lines: Sequence[str], *options: str) -> None:
        if lines:
            self._run("ip", *options, "-batch", "-", stdin="\n".join((*lines, "")))


# --- inside


def _shown(
    namespace: str, inner: Device, outer: Device | None, routes: Sequence[DefaultRoute]
) -> DhcpDevice | Unsound[DhcpDevice]:
    found = DhcpDevice(
        name=inner.name,
        outer=outer.name if outer else "",
        namespace=namespace,
        mac=inner.mac,
        mtu=inner.mtu,
        addresses=inner.addresses,
        gateway=routes[0].gateway if routes else None,
    )
    why = _fault(inner, outer, routes)
    return Unsound(found, why) if why else found


def _fault(inner: Device, outer: Device | None, routes: Sequence[DefaultRoute]) -> str:
    """Return what is wrong with a pair; "": nothing."""
    if outer is None or inner.peer != outer.index:
        return f"{inner.name} has no end in the host that is marked as ours"
    if outer.mtu != inner.mtu:
        return f"{outer.name} has MTU {outer.mtu}, and {inner.name} {inner.mtu}"
    if not (inner.up and outer.up):
        return f"{inner.name if outer.up else outer.name} is down"
    if tx_checksum(inner.name):
        return f"{inner.name} has its transmit offload on"
    if routes and not _is_only(routes, inner):
        return f"the namespace of {inner.name} has other default routes than by a gateway there"
    return ""


def _is_only(routes: Sequence[DefaultRoute], inner: Device) -> bool:
    """Tell whether a gateway at the inner end is the only default route."""
    only = routes[0]
    return len(routes) == 1 and only.device == inner.index and bool(only.gateway)


def _setting_up(wanted: DhcpDevice, inner: Device, routes: Sequence[DefaultRoute]) -> list[str]:
    """Return what gives the inner end its MAC, exactly its addresses in their order, its route."""
    name = wanted.name
    lines = []
    if (inner.mac, inner.mtu, inner.up) != (wanted.mac, wanted.mtu, True):
        lines.append(f"link set dev {name} address {wanted.mac} mtu {wanted.mtu} up")
    pairs = zip(inner.addresses, wanted.addresses, strict=False)
    same = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    wrong = inner.addresses[same:]
    lines += [f"addr del {address} dev {name}" for address in reversed(wrong)]
    lines += [f"addr add {address} brd + dev {name}" for address in wanted.addresses[same:]]
    if wrong or not _has_gateway(routes, inner, wanted.gateway):
        lines += ["route flush exact 0.0.0.0/0", *_route(wanted)]
    return lines


def _has_gateway(routes: Sequence[DefaultRoute], inner: Device, gateway: Address | None) -> bool:
    if gateway is None or not routes:
        return gateway is None and not routes
    return _is_only(routes, inner) and routes[0].gateway == gateway


def _route(wanted: DhcpDevice) -> Iterable[str]:
    """Yield what adds the default route; its gateway may be outside the device's blocks (B6)."""
    if wanted.gateway:
        near = any(wanted.gateway in address.network for address in wanted.addresses)
        via = f"via {wanted.gateway} dev {wanted.name} proto {OUR_PROTO}"
        yield f"route add default {via}{'' if near else ' onlink'}"


def _inner(device: DhcpDevice) -> Device | None:
    with inside(device.namespace):
        return _devices().get(device.name)


def _devices() -> dict[str, Device]:
    with NetDump() as here:
        return here.devices()


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
    def explaining() -> None:
        with explained(f"{device.name} in {device.namespace}"):
            step(device)

    return tried(explaining)
