"""Which blocks of addresses a subnet can't have, which of hosts' own stand in its way, and VTEPs.

Pure rules: the server asks them when a subnet is made, each agent once more before it serves one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from lessor.model import HostBlock
from lessor.net.address import Address, Block, is_within, text_of

# Source: the IANA IPv4 Special-Purpose Address Registry (RFC 6890).
_SPECIAL = (
    (IPv4Network("0.0.0.0/8"), "addresses of no host (RFC 791)"),
    (IPv4Network("127.0.0.0/8"), "loopback addresses (RFC 1122)"),
    (IPv4Network("169.254.0.0/16"), "link-local addresses (RFC 3927)"),
    (IPv4Network("224.0.0.0/4"), "multicast addresses (RFC 5771)"),
    (IPv4Network("240.0.0.0/4"), "addresses that are not in use (RFC 1112)"),
)


_BROADCAST = IPv4Address("255.255.255.255")  # RFC 919


def is_tunnel_end(address: Address) -> bool:
    """Tell whether the tunnels of a host can end at an address: packets can be sent to it alone.

    They can't at a link-local one of IPv6: Open vSwitch takes no interface with it. An IPv4 address
    is written as one, or two hosts could have the same.
    """
    if getattr(address, "ipv4_mapped", None) is not None:
        return False
    nobody = address.is_multicast or address.is_unspecified or address.is_loopback
    link = address.version == 6 and address.is_link_local  # noqa: PLR2004 - IPv6
    return not nobody and not link and address != _BROADCAST


def special(reserved: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks of which no subnet has a part: see `unfit`."""
    yield from (block for block, _ in _SPECIAL)
    yield from reserved


def unfit(cidr: Block, reserved: Iterable[Block], least_prefixlen: int) -> str:
    """Return why no subnet can have a block, whatever its network; "" if one can.

    Args:
        cidr: the block.
        reserved: blocks that the operator keeps (reserved_cidrs).
        least_prefixlen: the shortest prefix of a subnet (min_subnet_prefixlen).
    """
    if cidr.prefixlen < least_prefixlen:
        return (
            f"its prefix is shorter than /{least_prefixlen} (min_subnet_prefixlen); choose a "
            "smaller block"
        )
    for block, what in _SPECIAL:
        if cidr.overlaps(block):
            return f"{block} are {what}; choose another block"
    for kept in reserved:
        if cidr.overlaps(kept):
            return f"{kept} is reserved (reserved_cidrs); choose another block"
    return ""


def in_the_way(
    cidr: Block,
    blocks: Collection[HostBlock],
    wire: str | None,
    *,
    allowed: Iterable[Block] = (),
    by_project: bool = False,
) -> HostBlock | None:
    """Return a block of a host that a flat subnet would take over; None: there is none.

    The subnet's block becomes a route of its gateway host, to the bridge of its physical network.
    Destinations that a host reaches by that bridge anyway, its LAN there, don't change: an
    administrator may serve them, and also a part of a wider static route. A caller that acts for
    one project may not.

    Args:
        cidr: the subnet's block.
        blocks: of hosts.
        wire: the subnet's physical network.
        allowed: blocks in which the operator lets subnets overlap (allowed_host_cidrs).
        by_project: whether the caller acts for one project only.
    """
    lans = [one.cidr for one in blocks if one.physical_network == wire and one.what == "network"]
    free = () if by_project else (*lans, *allowed)
    for one in blocks:
        if not one.cidr.overlaps(cidr) or any(is_within(one.cidr, lan) for lan in free):
            continue
        wider = one.cidr.prefixlen < cidr.prefixlen
        if one.what == "route" and wider and not by_project:
            continue
        return one
    return None


def described(one: HostBlock) -> str:
    """Return what a block is on its host, in words."""
    if one.what == "network":
        return f"{one.cidr} of {one.detail}"
    return f"the {one.what} {text_of(one.cidr)}" + (f" by {one.detail}" if one.detail else "")
