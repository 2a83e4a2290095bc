"""Network devices as the kernel lists them, parsed once, into `Link`.

They are those of the namespace that the thread is in. What is changed goes through pyroute2's
`IPRoute`: a blocking socket with an event loop of its own, so it must not be used in a thread that
runs an asyncio loop, and best always in the same thread.

Source: linux/if_link.h.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

from lessor.agent.host import netdump
from lessor.agent.host.netdump import UP, LinkMessage, NetDump, attributes, number, parse_link, text
from lessor.errors import LessorError

INFO_KIND, INFO_DATA, INFO_SLAVE_KIND, INFO_SLAVE_DATA = 1, 2, 4, 5  # IFLA_INFO_*
BR_FORWARD_DELAY, BR_STP_STATE = 1, 5  # IFLA_BR_*
BRPORT_MODE, BRPORT_GROUP_FWD_MASK = 4, 31  # IFLA_BRPORT_*
TUN_PERSIST = 6  # IFLA_TUN_*
INET6_CONF, DISABLE_IPV6 = 2, 26  # IFLA_INET6_CONF, DEVCONF_DISABLE_IPV6 (linux/ipv6.h)
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
    persistent: bool = False  # a tun or tap that outlives its user
    ipv6: bool = False  # the host takes part in IPv6 there


def links() -> dict[str, Link]:
    """Return all network devices, by name."""
    return Devices().links()


class Devices:
    """Reads all network devices, and parses only the messages that differ from the last look.

    Most of hundreds of taps are as they were at the last look: to tell that takes 2 us each.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Link] = {}

    def links(self) -> dict[str, Link]:
        """Return all network devices, by name."""
        with NetDump() as dump:
            messages = dump.links()
        known = self._known
        self._known = {body: known.get(body) or _link(parse_link(body)) for body in messages}
        return {one.name: one for one in self._known.values()}


def link(name: str) -> Link | None:
    """Return one network device, or None if there is none of that name."""
    with NetDump() as dump:
        message = dump.link(name)
    return _link(message) if message else None


def ports_of(bridge: Link, devices: Iterable[Link]) -> list[Link]:
    """Return what is enslaved to a bridge, by name."""
    return sorted((p for p in devices if p.master == bridge.index), key=lambda port: port.name)


@contextmanager
def explained(subject: str, *, key: str = "") -> Iterator[None]:
    """Raise a LessorError that names the subject instead of an error of the kernel.

    Args:
        subject: begins the message.
        key: of all LessorErrors that have none, also of those that pass.
    """
    try:
        yield
    except LessorError as error:
        error.key = error.key or key
        raise
    except (NetlinkError, OSError) as error:
        failure = LessorError(f"{subject}: {error}")
        failure.key = key
        raise failure from error


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


def _link(message: LinkMessage) -> Link:
    given = message.attributes
    info = attributes(given.get(netdump.IFLA_LINKINFO, b""))
    kind = text(info.get(INFO_KIND, b""))
    data = attributes(info[INFO_DATA]) if kind in {"bridge", "tun"} and INFO_DATA in info else {}
    bridged = text(info.get(INFO_SLAVE_KIND, b"")) == "bridge"
    port = attributes(info.get(INFO_SLAVE_DATA, b"")) if bridged else {}
    return Link(
        index=message.index,
        name=message.name,
        kind=kind,
        mac=given.get(netdump.IFLA_ADDRESS, b"").hex(":"),
        mtu=number(given.get(netdump.IFLA_MTU)),
        up=bool(message.flags & UP),
        alias=text(given.get(netdump.IFLA_IFALIAS, b"")),
        master=number(given.get(netdump.IFLA_MASTER)) or None,
        stp=kind == "bridge" and bool(number(data.get(BR_STP_STATE))),
        forward_delay=number(data.get(BR_FORWARD_DELAY)) if kind == "bridge" else 0,
        hairpin=bool(number(port.get(BRPORT_MODE))),
        group_fwd_mask=number(port.get(BRPORT_GROUP_FWD_MASK)),
        persistent=kind == "tun" and bool(number(data.get(TUN_PERSIST))),
        ipv6=_has_ipv6(attributes(given.get(netdump.IFLA_AF_SPEC, b""))),
    )


def _has_ipv6(families: dict[int, bytes]) -> bool:
    """Return it from IFLA_AF_SPEC; a kernel or a device without IPv6 lists nothing there."""
    settings = attributes(families.get(socket.AF_INET6, b"")).get(INET6_CONF, b"")
    at = DISABLE_IPV6 * 4
    return bool(settings) and number(settings[at : at + 4]) == 0
