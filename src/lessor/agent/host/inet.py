"""Addresses and routes of a device, with all their properties, to move or restore them.

They are plain data: what is written to a journal and read again is equal.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass, replace
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE
from pyroute2.netlink import NLM_F_REQUEST as REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_DELADDR, RTM_DELROUTE, RTM_NEWADDR, RTM_NEWROUTE

from lessor.agent.host import netdump
from lessor.agent.host.netdump import Head, NetDump, attributes, number, text
from lessor.agent.host.netlink import OUR_PROTO, dump

GLOBAL, LINK_SCOPE = 0, 253  # RT_SCOPE_UNIVERSE, RT_SCOPE_LINK
FOREVER = 2**32 - 1
TABLE_LOCAL = 255
KERNEL, ROUTER_ADVERTISEMENT = 2, 9  # RTPROT_KERNEL, RTPROT_RA
KERNEL_RA = 2  # IFAPROT_KERNEL_RA
TEMPORARY = (
    0x01  # IFA_F_TEMPORARY; of IPv4 the same bit is IFA_F_SECONDARY, the kernel's own business
)
NO_PREFIX_ROUTE = 0x200  # IFA_F_NOPREFIXROUTE
NODAD = 0x02  # the address is ours already: IPv6 needn't ask whether somebody has it
KEPT_FLAGS = NO_PREFIX_ROUTE | 0x10 | 0x100 | 0x400  # and HOMEADDRESS MANAGETEMPADDR MCAUTOJOIN
ONLINK = 0x4  # RTNH_F_ONLINK; the other flags of a next hop are the kernel's to set
LABEL_SIZE = 15  # IFNAMSIZ - 1
KEPT_ATTRIBUTES = (
    "RTA_DST", "RTA_SRC", "RTA_GATEWAY", "RTA_VIA", "RTA_PREFSRC", "RTA_PRIORITY", "RTA_METRICS",
    "RTA_MULTIPATH", "RTA_FLOW", "RTA_ENCAP_TYPE", "RTA_ENCAP", "RTA_PREF", "RTA_OIF", "RTA_TABLE",
)  # fmt: skip
HEADER = ("family", "dst_len", "src_len", "tos", "proto", "scope", "type")
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST = 1, 2, 3, 4
IFA_CACHEINFO, IFA_FLAGS, IFA_RT_PRIORITY, IFA_PROTO = 6, 8, 9, 11
_TIMES = struct.Struct("=II")  # of ifa_cacheinfo: preferred, valid
RTA_CACHEINFO = 12
_Attributes = list[tuple[int, bytes]]
Surroundings = tuple[list[tuple[Head, _Attributes]], list[tuple[bytes, _Attributes]]]
GONE = (errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENODEV)


@dataclass(frozen=True, slots=True)
class HostAddress:
    """An address on a device. Lifetimes are seconds from when it was read."""

    device: int
    family: int
    local: str
    peer: str
    prefixlen: int
    scope: int = GLOBAL
    flags: int = 0
    label: str = ""
    broadcast: str = ""
    valid: int = FOREVER
    preferred: int = FOREVER
    proto: int = 0
    priority: int = 0  # metric of its prefix route

    @property
    def ours(self) -> bool:
        """Whether it carries our mark."""
        return self.proto == OUR_PROTO

    def is_same(self, other: HostAddress) -> bool:
        """Tell whether the kernel takes both for one address, on whatever device."""
        return (self.local, self.peer, self.prefixlen) == (other.local, other.peer, other.prefixlen)

    def moved(self, device: int, names: tuple[str, str]) -> HostAddress:
        """Return it on another device; `names` are the former device's name and the new one's."""
        label = self.label
        if label == names[0] or label.startswith(f"{names[0]}:"):
            label = (names[1] + label[len(names[0]) :])[:LABEL_SIZE]
        return replace(self, device=device, label=label)


@dataclass(frozen=True, slots=True)
class Route:
    """A route, as the kernel's header fields and attributes (rtnetlink(7))."""

    header: dict[str, int]
    attributes: dict[str, Any]
    position: int = 0  # in the kernel's table: of equals, the first one counts

    @property
    def slot(self) -> tuple[Any, ...]:
        """What equals compete for: family, table, destination, TOS and metric."""
        header, attributes = self.header, self.attributes
        return (
            header["family"],
            attributes.get("RTA_TABLE"),
            attributes.get("RTA_DST"),
            header["dst_len"],
            header["tos"],
            attributes.get("RTA_PRIORITY", 0),
        )

    def uses(self, device: int) -> bool:
        """Tell whether it leads out of `device`, alone or among others."""
        hops = self.attributes.get("RTA_MULTIPATH", ())
        return self.attributes.get("RTA_OIF") == device or any(h["oif"] == device for h in hops)

    def moved(self, device: int, to: int) -> Route:
        """Return it with another device in place of `device`."""
        attributes = dict(self.attributes)
        if attributes.get("RTA_OIF") == device:
            attributes["RTA_OIF"] = to
        if "RTA_MULTIPATH" in attributes:
            attributes["RTA_MULTIPATH"] = [
                {**hop, "oif": to if hop["oif"] == device else hop["oif"]}
                for hop in attributes["RTA_MULTIPATH"]
            ]
        return replace(self, attributes=attributes)

    def is_same(self, other: Route) -> bool:
        """Tell whether both say the same, wherever they stand."""
        return self.header == other.header and self.attributes == other.attributes


def addresses(device: int | None = None, family: int = 0) -> list[HostAddress]:
    """Return the addresses of a device (None: of all) in the kernel's order."""
    with NetDump() as dump:
        return [_address(head, given) for head, given in dump.addresses(device or 0, family)]


def surroundings() -> Surroundings:
    """Return what tells whether any address or route was changed, lifetimes aside.

    It costs far less than to read them.
    """
    with NetDump() as dump:
        given = [
            (head, sorted((k, v) for k, v in given.items() if k != IFA_CACHEINFO))
            for head, given in dump.addresses(0, 0)
        ]
        ways = [
            (
                body[: netdump.ROUTE_SIZE],
                sorted((k, v) for k, v in given.items() if k != RTA_CACHEINFO),
            )
            for body in dump.routes()
            for given in (attributes(body, netdump.ROUTE_SIZE),)
        ]
    return given, ways


def routes(ip: IPRoute) -> list[Route]:
    """Return all routes but those that the kernel keeps for its own addresses (table local)."""
    found = dump(ip.get_routes)
    parsed = (_route(message, position) for position, message in enumerate(found))
    return [route for route in parsed if route.attributes.get("RTA_TABLE") != TABLE_LOCAL]


def is_movable(address: HostAddress) -> bool:
    """Tell whether an address goes along when its device joins a bridge.

    Not ours, not bound to the link, and of IPv6 none that a router made the kernel take: the bridge
    gets those by itself.
    """
    if address.ours or address.scope >= LINK_SCOPE:
        return False
    if address.family == AF_INET6:
        return not address.flags & TEMPORARY and address.proto != KERNEL_RA
    return address.family == AF_INET


def movable_routes(found: list[Route], device: int, present: list[HostAddress]) -> list[Route]:
    """Return the routes of a device that don't come and go with its addresses, and aren't ours."""
    automatic = {a.local for a in present if not a.flags & NO_PREFIX_ROUTE}
    return [r for r in found if r.uses(device) and not _stays(r, automatic)]


def _stays(route: Route, automatic: set[str]) -> bool:
    proto = route.header["proto"]
    if route.header["family"] == AF_INET6:
        return proto in (KERNEL, ROUTER_ADVERTISEMENT, OUR_PROTO)
    prefix = proto == KERNEL and route.attributes.get("RTA_PREFSRC") in automatic
    return prefix or proto == OUR_PROTO or route.header["family"] != AF_INET


def add_address(ip: IPRoute, address: HostAddress) -> bool:
    """Add an address and return True; False if the device has it already."""
    flags = REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
    try:
        ip.addr((RTM_NEWADDR, flags), **_address_fields(address))
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            return False
        raise
    return True


def delete_address(ip: IPRoute, address: HostAddress) -> None:
    """Remove an address; none there is fine."""
    attributes = [["IFA_LOCAL", address.local], ["IFA_ADDRESS", address.peer]]
    fields = {"family": address.family, "prefixlen": address.prefixlen, "index": address.device}
    try:
        ip.addr((RTM_DELADDR, REQUEST | NLM_F_ACK), **fields, attrs=attributes)
    except NetlinkError as error:
        if error.code not in GONE:
            raise


def put_route(ip: IPRoute, route: Route, *, instead: bool) -> None:
    """Add a route; `instead`: in the place of the first one of its slot, without a gap."""
    flags = REQUEST | NLM_F_ACK | NLM_F_CREATE | (NLM_F_REPLACE if instead else NLM_F_APPEND)
    try:
        ip.route((RTM_NEWROUTE, flags), **_route_fields(route))
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def delete_route(ip: IPRoute, route: Route) -> None:
    """Remove a route; none there is fine."""
    try:
        ip.route((RTM_DELROUTE, REQUEST | NLM_F_ACK), **_route_fields(route))
    except NetlinkError as error:
        if error.code not in GONE:
            raise


def _address(head: Head, given: dict[int, bytes]) -> HostAddress:
    peer = _text_of(given.get(IFA_ADDRESS))
    preferred, valid = FOREVER, FOREVER
    if IFA_CACHEINFO in given:
        preferred, valid = _TIMES.unpack_from(given[IFA_CACHEINFO])
    return HostAddress(
        device=head.device,
        family=head.family,
        local=_text_of(given.get(IFA_LOCAL)) or peer,
        peer=peer,
        prefixlen=head.prefixlen,
        scope=head.scope,
        flags=number(given[IFA_FLAGS]) if IFA_FLAGS in given else head.flags,
        label=text(given.get(IFA_LABEL, b"")),
        broadcast=_text_of(given.get(IFA_BROADCAST)),
        valid=valid,
        preferred=preferred,
        proto=number(given.get(IFA_PROTO)),
        priority=number(given.get(IFA_RT_PRIORITY)),
    )


def _text_of(address: bytes | None) -> str:
    return str(ip_address(address)) if address else ""


def _address_fields(address: HostAddress) -> dict[str, Any]:
    no_dad = NODAD if address.family == AF_INET6 else 0
    times = {"ifa_preferred": address.preferred, "ifa_valid": address.valid}
    attributes = {
        "IFA_LOCAL": address.local,
        "IFA_ADDRESS": address.peer,
        "IFA_FLAGS": address.flags & KEPT_FLAGS | no_dad,
        "IFA_CACHEINFO": {**times, "cstamp": 0, "tstamp": 0},
        "IFA_LABEL": address.label or None,
        "IFA_BROADCAST": address.broadcast or None,
        "IFA_PROTO": address.proto or None,
        "IFA_RT_PRIORITY": address.priority or None,
    }
    return {
        "family": address.family,
        "prefixlen": address.prefixlen,
        "index": address.device,
        "scope": address.scope,
        "attrs": [[name, value] for name, value in attributes.items() if value is not None],
    }


def _route(message: Any, position: int) -> Route:
    header = {name: message[name] for name in HEADER}
    header["flags"] = message["flags"] & ONLINK
    attributes = {
        name: _plain(value) for name, value in message["attrs"] if name in KEPT_ATTRIBUTES
    }
    return Route(header, attributes, position)


def _plain(value: Any) -> Any:
    """Return an attribute's value as dicts and lists, without what the kernel alone may set."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = ("flags", "hops", "oif", "family", "addr")
    plain = {key: value[key] for key in kept if key in value}
    if "attrs" in value:  # each is a pair that pyroute2 decodes when it is asked for
        plain["attrs"] = [[pair[0], _plain(pair[1])] for pair in value["attrs"]]
    if "flags" in plain:
        plain["flags"] &= ONLINK
    return plain


def _route_fields(route: Route) -> dict[str, Any]:
    return {**route.header, "attrs": [[name, value] for name, value in route.attributes.items()]}
