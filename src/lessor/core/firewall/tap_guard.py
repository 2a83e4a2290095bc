"""Protects the taps: what a VM may send and be sent, as nftables table `bridge lessor`.

Rules know taps by name, so they stand before a tap exists: its first frame is checked. There is
the same number of rules for one tap and for a thousand; the taps are elements of sets.

From a guarded tap come only frames of its own MACs: ARP with its own MAC and addresses, IPv4 from
its own addresses (or a DHCP client's 0.0.0.0); never IPv6, never a DHCP server's answer, and no
more DHCP requests than a client needs. To it go only frames for its own MACs, no IPv6, and DHCP
answers only of its own servers. The host's own stack hears VMs on IPv4 alone, and frames that come
from a tap carry `VM_MARK`, by which `table inet lessor` knows them (INPUT).

A port of our bridges that is neither a tap nor a wire here is closed in both directions: one that
was just plugged, or whose Lessor port is deleted.

Kernels without bridge meta and bridge conntrack can't tell a frame's bridge: rules go by port.

Source: semantics.md A12.3, A19, B15.3, B18; nft(8).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import chain

from lessor.core.firewall.apart import joined_pairs
from lessor.core.firewall.dhcp_limit import BURST, RATE
from lessor.core.firewall.drop_sets import SETS
from lessor.core.firewall.nft_script import NftChain, NftSet, nft_table, quoted
from lessor.core.firewall.tap_guard_rules import (
    CLIENT,
    COUNTERS,
    QUOTED,
    SERVER_ID,
    TABLE,
    chains,
    client,
    request_limit,
)
from lessor.core.state import Gateway, Ruleset, VmRange
from lessor.core.vmport import PortSecurity
from lessor.model import METADATA_ADDRESS
from lessor.net.address import Block, collapsed, text_of

NAME = f"nft {TABLE}"
SINGLE = 32  # bits of the prefix of one address


@dataclass(frozen=True, slots=True)
class Others:
    """What the bridge table depends on beside taps and gateways."""

    # force_snat_range. What a network with an external gateway sends there, or to the metadata
    # address, is taken off the bridge into the host's stack (A11.3).
    lifted: Sequence[Block] = ()
    # Ports of our bridges that are no taps: their interfaces, and those that an operator names.
    wires: Collection[str] = ()
    ranges: Sequence[VmRange] = ()  # subnets on our bridges
    joined: Sequence[Block] = ()  # joined_cidr
    base_mac: str = ""  # that MACs of ports begin as; "": not known


NO_OTHERS = Others()


def guard_ruleset(
    guards: Iterable[PortSecurity], gateways: Iterable[Gateway], others: Others = NO_OTHERS
) -> Ruleset:
    """Return the bridge table of a host.

    Args:
        guards: one for each tap of the host, also where port security is off.
        gateways: ranges whose shared address must not be seen across the wire.
        others: what else there is.
    """
    taps, ranges = tuple(guards), tuple(gateways)
    guarded = tuple(guard for guard in taps if guard.is_enforced)
    apart = _groups(taps)
    wires = {*others.wires, *(g.interface for g in ranges if g.interface)}
    sets = (
        *_tap_sets(taps, guarded),
        *_member_sets(taps, wires),
        _origins(taps, wires),
        *_wire_sets(taps, ranges),
        *_lift_sets(taps, ranges, others.lifted),
        *_network_sets(others.ranges, others.joined),
        _group_map(apart),
        _vm_macs(others.base_mac),
        *SETS,
    )
    rate = f"rate over {RATE}/second burst {BURST} packets"
    limits = {request_limit(guard.tap): rate for guard in taps}
    rules = (*chains(apart=bool(apart)), *_group_chains(apart))
    return Ruleset(NAME, nft_table(TABLE, COUNTERS, sets, rules, limits))


def _tap_sets(taps: Sequence[PortSecurity], guarded: Sequence[PortSecurity]) -> Iterator[NftSet]:
    yield NftSet("taps", "ifname", [quoted(g.tap) for g in taps])
    yield NftSet("guarded", "ifname", [quoted(g.tap) for g in guarded])
    yield NftSet("open", "ifname", [quoted(g.tap) for g in taps if not g.is_enforced])
    yield NftSet("hairpins", "ifname . ifname", [_pair(g.tap, quoted(g.tap)) for g in taps])
    yield NftSet("macs", "ifname . ether_addr", [_pair(g.tap, m) for g in guarded for m in g.macs])
    clients = [_pair(g.tap, client(m)) for g in guarded for m in g.macs]
    yield NftSet("clients", f"iifname . {CLIENT}", clients)
    spans = [span for guard in guarded for span in _spans(guard)]
    # A hash for single addresses: an interval set is far slower to fill (1.5 s for 2,000 again).
    kind = "ifname . ether_addr . ipv4_addr"
    single = [text for text, block in spans if block.prefixlen == block.max_prefixlen]
    yield NftSet("addresses", kind, single)
    blocks = [text for text, block in spans if block.prefixlen < block.max_prefixlen]
    yield NftSet("blocks", kind, blocks, interval=True)
    quotable = [
        _pair(g.tap, f"{int(block.network_address):#010x}")
        for g in guarded
        for block in {block for _, block in g.sources}
        if block.prefixlen == 32  # noqa: PLR2004 - bits
    ]
    yield NftSet("quotable", f"iifname . {QUOTED}", quotable)
    # What has blocks of addresses may route for them.
    wide = [
        quoted(g.tap) for g in guarded if any(b.prefixlen < b.max_prefixlen for _, b in g.sources)
    ]
    yield NftSet("may_route", "ifname", wide)
    servers = [_pair(g.tap, str(server)) for g in guarded for server in g.dhcp_servers]
    yield NftSet("dhcp_servers", "ifname . ipv4_addr", servers)
    ids = {g.tap: [f"{int(server):#010x}" for server in g.dhcp_servers] for g in guarded}
    pairs = [_pair(tap, one) for tap, many in ids.items() for one in many]
    yield NftSet("dhcp_server_ids", f"oifname . {SERVER_ID}", pairs)
    yield NftSet("server_ids", SERVER_ID, chain.from_iterable(ids.values()))
    limits = [f"{quoted(g.tap)} : {quoted(request_limit(g.tap))}" for g in taps]
    yield NftSet("limits", "ifname : limit", limits)


def _member_sets(taps: Sequence[PortSecurity], wires: Collection[str]) -> Iterator[NftSet]:
    yield NftSet("wires", "ifname", map(quoted, wires))
    yield NftSet("members", "ifname", map(quoted, {*wires, *(g.tap for g in taps)}))


def _origins(taps: Sequence[PortSecurity], wires: Collection[str]) -> NftSet:
    """Return where a frame goes first, by the port that it came in at: one look for all ports."""
    chains_of = dict.fromkeys(wires, "from_wire")
    chains_of |= {guard.tap: "from_guarded" if guard.is_enforced else "from_open" for guard in taps}
    jumps = [f"{quoted(port)} : goto {chain}" for port, chain in chains_of.items()]
    return NftSet("origins", "ifname : verdict", jumps)


def _spans(guard: PortSecurity) -> Iterator[tuple[str, Block]]:
    for mac in guard.macs:
        blocks = [block for own, block in guard.sources if own == mac]
        for block in collapsed(blocks) if len(blocks) > 1 else blocks:
            yield _pair(guard.tap, f"{mac} . {text_of(block)}"), block


def _wire_sets(taps: Sequence[PortSecurity], gateways: Sequence[Gateway]) -> Iterator[NftSet]:
    """What stays on this host: multi_host DHCP, and ARP for a shared address.

    By tap, MAC and server, never by wire alone: another network on it may have its DHCP server on
    another host.
    """
    wires = {g.bridge: g.interface for g in gateways if g.interface}
    local = [(wires[g.bridge], g) for g in taps if g.local_dhcp and g.bridge in wires]
    shared = [_pair(g.interface, str(g.address)) for g in gateways if g.isolated and g.interface]
    servers = [_pair(wire, str(server)) for wire, g in local for server in g.dhcp_servers]
    yield NftSet("isolated", "ifname . ipv4_addr", shared)
    yield NftSet("local_servers", "ifname . ipv4_addr", shared + servers)
    yield NftSet("local_taps", "ifname . ifname", [_pair(g.tap, quoted(w)) for w, g in local])
    macs = [_pair(wire, mac) for wire, g in local for mac in g.macs]
    yield NftSet("local_macs", "ifname . ether_addr", macs)


def _lift_sets(
    taps: Sequence[PortSecurity], gateways: Sequence[Gateway], lifted: Sequence[Block]
) -> Iterator[NftSet]:
    external = [gateway for gateway in gateways if gateway.external]
    inside = [f"{g.cidr} . {g.cidr}" for g in external]
    yield NftSet("inside", "ipv4_addr . ipv4_addr", inside, interval=True)
    targets = collapsed((*lifted, ip_network(METADATA_ADDRESS)))
    ports = {
        (port, gateway.cidr)
        for gateway in external
        for port in (gateway.interface, *(g.tap for g in taps if g.bridge == gateway.bridge))
        if port
    }
    lifts = [_pair(port, f"{cidr} . {target}") for port, cidr in ports for target in targets]
    yield NftSet("lifts", "ifname . ipv4_addr . ipv4_addr", lifts, interval=True)


def _network_sets(ranges: Sequence[VmRange], joined: Sequence[Block]) -> Iterator[NftSet]:
    blocks = collapsed(one.cidr for one in ranges)
    yield NftSet("ranges", "ipv4_addr", map(str, blocks), interval=True)
    pairs = [f"{source} . {to}" for source, to in joined_pairs(ranges, joined)]
    yield NftSet("joined", "ipv4_addr . ipv4_addr", pairs, interval=True)
    yield NftSet("routers", "ipv4_addr", [str(r) for one in ranges for r in one.routers])


def _vm_macs(base: str) -> NftSet:
    """Return the MACs that the server makes: three octets of base_mac, or four."""
    octets = base.split(":")
    kept = octets[: 3 + (octets[3:4] != ["00"])]
    first, last = (":".join([*kept, *[fill] * (6 - len(kept))]) for fill in ("00", "ff"))
    blocks = [f"{first}-{last}"] if base else []
    return NftSet("vm_macs", "ether_addr", blocks, interval=True)


def _groups(taps: Sequence[PortSecurity]) -> dict[str, list[str]]:
    """Return the taps of each group by its chain; none of a bridge that has one group alone."""
    bridges: dict[str, dict[str, list[str]]] = {}
    for guard in taps:
        bridges.setdefault(guard.bridge, {}).setdefault(_chain(guard), []).append(guard.tap)
    several = (groups for groups in bridges.values() if len(groups) > 1)
    return {name: sorted(taps) for groups in several for name, taps in groups.items()}


def _chain(guard: PortSecurity) -> str:
    return "of_" + re.sub(r"[^0-9A-Za-z.-]", "_", f"{guard.bridge}_{guard.group}")


def _group_map(apart: dict[str, list[str]]) -> NftSet:
    jumps = [f"{quoted(tap)} : jump {name}" for name, taps in apart.items() for tap in taps]
    return NftSet("groups", "ifname : verdict", jumps)


def _group_chains(apart: dict[str, list[str]]) -> Iterator[NftChain]:
    for name, taps in sorted(apart.items()):
        mine = ", ".join(map(quoted, taps))
        drop = "counter name between_networks drop"
        yield NftChain(name, (f"oifname @taps oifname != {{ {mine} }} {drop}",))


def _pair(interface: str | None, rest: str) -> str:
    return f"{quoted(interface or '')} . {rest}"
