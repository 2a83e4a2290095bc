"""Protects the taps: what a VM may send and be sent, as nftables table `bridge lessor`.

Rules know taps by name, so they stand before a tap exists: its first frame is checked. There is
the same number of rules for one tap and for a thousand; the taps are elements of sets.

From a guarded tap come only frames of its own MACs: ARP that tells its own MAC and addresses, IPv4
from its own addresses (or a DHCP client's 0.0.0.0), IPv6 from link-local ones; never a DHCP
server's answer, never a router advertisement; and no more DHCP requests than a client has need of. To it go only frames for its own MACs, and DHCP
answers only of its own servers. The host's own stack hears VMs on IPv4 alone, and frames that come
from a tap carry `VM_MARK`, by which `table inet lessor` knows them (INPUT).

Kernels without bridge meta and bridge conntrack can't tell a frame's bridge: rules go by port.

Source: semantics.md A12.3, A19, B15.3, B18; nft(8).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses

from lessor.core.dhcp_limit import BURST, RATE
from lessor.core.guard_rules import (
    CHAINS,
    COUNTERS,
    TABLE,
    flood_counter,
    request_limit,
    rogue_counter,
)
from lessor.core.nft_script import NftSet, nft_table, quoted
from lessor.core.state import Gateway, Guard, Ruleset
from lessor.model import METADATA_ADDRESS

NAME = f"nft {TABLE}"


@dataclass(frozen=True, slots=True)
class DropCounts:
    """Packets dropped so far: by kind of offence, and by tap what it did to DHCP."""

    kinds: dict[str, int]
    rogue_dhcp: dict[str, int]  # answers that a tap tried to give
    flood_dhcp: dict[str, int]  # requests that were too many


def guard_ruleset(
    guards: Iterable[Guard],
    gateways: Iterable[Gateway],
    lifted: Sequence[IPv4Network] = (),
) -> Ruleset:
    """Return the bridge table of a host.

    Args:
        guards: one for each tap of the host, also where port security is off.
        gateways: ranges whose shared address must not be seen across the wire.
        lifted: force_snat_range. What a network with an external gateway sends there, or to the
            metadata address, is taken off the bridge into the host's stack (A11.3).
    """
    taps, ranges = tuple(guards), tuple(gateways)
    guarded = tuple(guard for guard in taps if guard.macs)
    sets = (*_tap_sets(taps, guarded), *_wire_sets(taps, ranges), *_lift_sets(taps, ranges, lifted))
    counters = (
        *COUNTERS,
        *(rogue_counter(guard.tap) for guard in guarded),
        *(flood_counter(guard.tap) for guard in taps),
    )
    rate = f"rate over {RATE}/second burst {BURST} packets"
    limits = {request_limit(guard.tap): rate for guard in taps}
    return Ruleset(NAME, nft_table(TABLE, counters, sets, CHAINS, limits))


def drop_counters(nft_json: str) -> DropCounts:
    """Read what `nft -j list counters table bridge lessor` prints."""
    rows = json.loads(nft_json)["nftables"]
    packets = {
        row["counter"]["name"]: row["counter"]["packets"] for row in rows if "counter" in row
    }
    return DropCounts(
        kinds={name: packets[name] for name in COUNTERS if name in packets},
        rogue_dhcp=_by_tap(packets, rogue_counter("")),
        flood_dhcp=_by_tap(packets, flood_counter("")),
    )


def _by_tap(packets: dict[str, int], prefix: str) -> dict[str, int]:
    return {n.removeprefix(prefix): c for n, c in packets.items() if n.startswith(prefix)}


def _tap_sets(taps: Sequence[Guard], guarded: Sequence[Guard]) -> Iterator[NftSet]:
    yield NftSet("taps", "ifname", [quoted(g.tap) for g in taps])
    yield NftSet("guarded", "ifname", [quoted(g.tap) for g in guarded])
    yield NftSet("hairpins", "ifname . ifname", [_pair(g.tap, quoted(g.tap)) for g in taps])
    yield NftSet("macs", "ifname . ether_addr", [_pair(g.tap, m) for g in guarded for m in g.macs])
    spans = [span for guard in guarded for span in _spans(guard)]
    # A hash for single addresses: an interval set is far slower to fill (1.5 s for 2,000 again).
    kind = "ifname . ether_addr . ipv4_addr"
    yield NftSet("addresses", kind, [text for text, block in spans if block.prefixlen == 32])  # noqa: PLR2004 - bits
    blocks = [text for text, block in spans if block.prefixlen < 32]  # noqa: PLR2004 - bits
    yield NftSet("blocks", kind, blocks, interval=True)
    servers = [_pair(g.tap, str(server)) for g in guarded for server in g.dhcp_servers]
    yield NftSet("dhcp_servers", "ifname . ipv4_addr", servers)
    rogues = [f"{quoted(g.tap)} : {quoted(rogue_counter(g.tap))}" for g in guarded]
    yield NftSet("rogues", "ifname : counter", rogues)
    floods = [f"{quoted(g.tap)} : {quoted(flood_counter(g.tap))}" for g in taps]
    yield NftSet("floods", "ifname : counter", floods)
    limits = [f"{quoted(g.tap)} : {quoted(request_limit(g.tap))}" for g in taps]
    yield NftSet("limits", "ifname : limit", limits)


def _spans(guard: Guard) -> Iterator[tuple[str, IPv4Network]]:
    for mac in guard.macs:
        blocks = [block for own, block in guard.sources if own == mac]
        for block in collapse_addresses(blocks) if len(blocks) > 1 else blocks:
            address = str(block.network_address) if block.prefixlen == 32 else str(block)  # noqa: PLR2004 - bits
            yield _pair(guard.tap, f"{mac} . {address}"), block


def _wire_sets(taps: Sequence[Guard], gateways: Sequence[Gateway]) -> Iterator[NftSet]:
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
    taps: Sequence[Guard], gateways: Sequence[Gateway], lifted: Sequence[IPv4Network]
) -> Iterator[NftSet]:
    external = [gateway for gateway in gateways if gateway.external]
    inside = [f"{g.cidr} . {g.cidr}" for g in external]
    yield NftSet("inside", "ipv4_addr . ipv4_addr", inside, interval=True)
    targets = list(collapse_addresses((*lifted, IPv4Network(METADATA_ADDRESS))))
    ports = {
        (port, gateway.cidr)
        for gateway in external
        for port in (gateway.interface, *(g.tap for g in taps if g.bridge == gateway.bridge))
        if port
    }
    lifts = [_pair(port, f"{cidr} . {target}") for port, cidr in ports for target in targets]
    yield NftSet("lifts", "ifname . ipv4_addr . ipv4_addr", lifts, interval=True)


def _pair(interface: str | None, rest: str) -> str:
    return f"{quoted(interface or '')} . {rest}"
