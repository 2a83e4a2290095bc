"""Moves addresses and routes from one device to another, in an order that loses none.

The kernel lets an address be on two devices at once. So it is first added to the new one, then each
route is replaced in its place, and only when all that has worked is anything removed. Killed in
between, everything is still on one device or the other, and doing it again completes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from lessor.agent.host.inet import (
    HostAddress,
    Route,
    add_address,
    addresses,
    delete_address,
    delete_route,
    is_movable,
    movable_routes,
    put_route,
    routes,
)
from lessor.agent.host.netlink import Link
from lessor.errors import LessorError


@dataclass(frozen=True, slots=True)
class Belongings:
    """Addresses and routes of a device that move with it when it joins a bridge."""

    addresses: tuple[HostAddress, ...] = ()
    routes: tuple[Route, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.addresses or self.routes)

    def of(self, family: int) -> Belongings:
        """Return those of IPv4 or of IPv6."""
        return Belongings(
            tuple(a for a in self.addresses if a.family == family),
            tuple(r for r in self.routes if r.header["family"] == family),
        )

    def moved(self, source: Link, target: Link) -> Belongings:
        """Return them as they look on another device."""
        names = (source.name, target.name)
        return Belongings(
            tuple(a.moved(target.index, names) for a in self.addresses),
            tuple(r.moved(source.index, target.index) for r in self.routes),
        )


def belongings(ip: IPRoute, device: Link) -> Belongings:
    """Return what would move with `device`."""
    present = addresses(device.index)
    return Belongings(
        tuple(address for address in present if is_movable(address)),
        tuple(movable_routes(routes(ip), device.index, present)),
    )


def read_belongings(note: dict[str, Any]) -> Belongings:
    """Read what a journal has of belongings (`asdict`)."""
    return Belongings(
        tuple(HostAddress(**address) for address in note["addresses"]),
        tuple(Route(**route) for route in note["routes"]),
    )


def move(ip: IPRoute, wanted: Belongings, source: Link, target: Link) -> None:
    """Put `wanted` (as it looks on `target`) there and take it off `source`.

    IPv4 and IPv6 don't depend on each other: one that fails doesn't hold up the other.

    Raises:
        ExceptionGroup: of the errors; of a family with one, nothing was taken off.
    """
    failures: list[Exception] = []
    for family in (AF_INET, AF_INET6):
        of_family = wanted.of(family)
        failed = put(ip, of_family, source)
        failures += failed or _take_off(ip, of_family.moved(target, source))
    if failures:
        raise ExceptionGroup(f"not all could move from {source.name} to {target.name}", failures)


def put(ip: IPRoute, wanted: Belongings, source: Link | None = None) -> list[Exception]:
    """Add what is missing of `wanted`, routes in the place of `source`'s; return what failed.

    An address that fails ends it: the one after it would take its rank as primary of a subnet.
    """
    failures: list[Exception] = []
    for address in wanted.addresses:
        try:
            add_address(ip, address)
        except NetlinkError as error:
            return [LessorError(f"address {address.local}/{address.prefixlen}: {error}")]
    # routes to the link come before those via a gateway on it: larger scopes are nearer
    for route in sorted(wanted.routes, key=lambda r: (-r.header["scope"], r.position)):
        try:
            _put_route(ip, route, source)
        except NetlinkError as error:
            to = f"{route.attributes.get('RTA_DST', 'default')}/{route.header['dst_len']}"
            failures.append(LessorError(f"route {to}: {error}"))
    return failures


def _put_route(ip: IPRoute, route: Route, source: Link | None) -> None:
    equals = [other for other in routes(ip) if other.slot == route.slot]
    if any(other.is_same(route) for other in equals):
        return
    # of equals the kernel replaces the first one, which may be somebody else's
    instead = bool(equals) and source is not None and equals[0].uses(source.index)
    put_route(ip, route, instead=instead)


def _take_off(ip: IPRoute, moved: Belongings) -> list[Exception]:
    failures: list[Exception] = []
    # secondary addresses are listed last, and the kernel removes them with their primary
    for address in reversed(moved.addresses):
        try:
            delete_address(ip, address)
        except NetlinkError as error:
            failures.append(LessorError(f"address {address.local} stays behind: {error}"))
    present = routes(ip)
    for route in moved.routes:
        if any(other.is_same(route) for other in present):
            try:
                delete_route(ip, route)
            except NetlinkError as error:
                failures.append(LessorError(f"route {route.slot} stays behind: {error}"))
    return failures
