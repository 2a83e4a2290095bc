"""Network devices as the kernel tells them: pyroute2's messages parsed once, into `Link`.

Everything here takes an open `IPRoute`. It is a blocking socket with an event loop of its own, so
it must not be used in a thread that runs an asyncio loop, and best always in the same thread.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

UP = 0x1  # IFF_UP, linux/if.h
OUR_PROTO = 76  # IFA_PROTO of our addresses and RTPROT of our routes
DUMP_TRIES = 10


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. `forward_delay` (1/100 s) and `stp` are a bridge's, `hairpin` a port's."""

    index: int
    name: str
    kind: str = ""  # "bridge", "veth", "tun" ...; "" is hardware
    mac: str = ""
    mtu: int = 0
    up: bool = False
    alias: str = ""
    master: int | None = None  # index of what it is enslaved to
    stp: bool = False
    forward_delay: int = 0
    hairpin: bool = False
    group_fwd_mask: int = 0  # a bridge port's: link-local groups that are treated like any other
    persistent: bool = False  # a tun or tap that outlives whoever has it open


def links(ip: IPRoute) -> dict[str, Link]:
    """Return all network devices, by name."""
    found = (_link(message) for message in dump(ip.get_links))
    return {link.name: link for link in found}


def link(ip: IPRoute, name: str) -> Link | None:
    """Return one network device, or None if there is none of that name."""
    try:
        return _link(ip.link("get", ifname=name)[0])
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise


def ports_of(bridge: Link, devices: Iterable[Link]) -> list[Link]:
    """Return what is enslaved to a bridge, by name."""
    return sorted((p for p in devices if p.master == bridge.index), key=lambda port: port.name)


def dump(ask: Callable[[], Iterable[Any]]) -> list[Any]:
    """Return a kernel table whole, asking again if it changed while it was read.

    Source: NLM_F_DUMP_INTR, netlink(7).
    """
    for _ in range(DUMP_TRIES - 1):
        try:
            return list(ask())
        except NetlinkDumpInterrupted:
            continue
    return list(ask())


def _link(message: Any) -> Link:
    info = _nested(message, "IFLA_LINKINFO")
    data, slave = _nested(info, "IFLA_INFO_DATA"), _nested(info, "IFLA_INFO_SLAVE_DATA")
    bridged = info is not None and info.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge"
    kind = (info.get_attr("IFLA_INFO_KIND") if info is not None else "") or ""
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind,
        mac=message.get_attr("IFLA_ADDRESS") or "",
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=bool(message["flags"] & UP),
        alias=message.get_attr("IFLA_IFALIAS") or "",
        master=message.get_attr("IFLA_MASTER"),
        stp=kind == "bridge" and bool(_number(data, "IFLA_BR_STP_STATE")),
        forward_delay=_number(data, "IFLA_BR_FORWARD_DELAY") if kind == "bridge" else 0,
        hairpin=bridged and bool(_number(slave, "IFLA_BRPORT_MODE")),
        group_fwd_mask=_number(slave, "IFLA_BRPORT_GROUP_FWD_MASK") if bridged else 0,
        persistent=kind == "tun" and bool(_number(data, "IFLA_TUN_PERSIST")),
    )


def _nested(message: Any, name: str) -> Any:
    inner = None if message is None else message.get_attr(name)
    return inner if hasattr(inner, "get_attr") else None


def _number(message: Any, name: str) -> int:
    return 0 if message is None else message.get_attr(name) or 0
