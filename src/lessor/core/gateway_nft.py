"""The gateway's rules as nftables table `inet lessor`: NAT, forwarding, and who reaches the host.

Nobody else's packets are judged: INPUT concerns what came from a VM, FORWARD the bridges of the
VMs. A drop here is final, an accept is not: another table may still drop (`lessor.core.foreign`).

Source: semantics.md A8.4, A11.3 to A11.5; nft(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses, summarize_address_range

from lessor.core.guard_rules import VM_MARK
from lessor.core.nft_script import NftChain, NftSet, nft_table, quoted
from lessor.core.state import Gateway, Ruleset
from lessor.model import METADATA_ADDRESS

TABLE = "inet lessor"
NAME = f"nft {TABLE}"
COUNTERS = ("host_closed", "forward_closed")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """The settings that gateway rules depend on, by nova.conf's names (A2.3, A2.4)."""

    public_interface: str
    routing_source_ip: IPv4Address
    dmz_cidr: tuple[IPv4Network, ...] = ()
    force_snat_range: tuple[IPv4Network, ...] = ()
    forward_bridge_interface: tuple[str, ...] = ("all",)
    metadata_host: IPv4Address | None = None  # None, or a loopback address: this host answers
    metadata_port: int = 8775
    iptables_drop_action: str = "DROP"
    bridges: tuple[str, ...] = ()  # VM bridges that this host is no gateway of: nothing is routed

    @property
    def remote_metadata(self) -> IPv4Address | None:
        """Return where metadata requests are sent on to; None: they stay here."""
        host = self.metadata_host
        return None if host is None or host.is_loopback else host

    @property
    def open_to(self) -> tuple[str, ...] | None:
        """Return the interfaces that a gateway's bridge may forward to; None: all."""
        if "all" in self.forward_bridge_interface:
            return None
        return tuple(dict.fromkeys(name for name in self.forward_bridge_interface if name))


def nft_gateway_ruleset(gateways: Iterable[Gateway], options: GatewayOptions) -> Ruleset:
    """Return the table for all ranges that this host is gateway of, or DHCP server for."""
    ranges = tuple(gateways)
    sets = (*_nat_sets(ranges, options), *_forward_sets(ranges, options), *_vm_sets(ranges))
    chains = (*_nat_chains(options), *_filter_chains(options))
    return Ruleset(NAME, nft_table(TABLE, COUNTERS, sets, chains))


def forwarding(
    gateways: Iterable[Gateway], options: GatewayOptions
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the (from, to) interfaces that may be forwarded, and the bridges closed otherwise.

    Source: A11.4.
    """
    served = sorted({gateway.bridge for gateway in gateways})
    closed = sorted(set(options.bridges) - set(served))
    pairs = [(bridge, bridge) for bridge in closed]
    if options.open_to is not None:
        for bridge in served:
            pairs += [way for i in options.open_to for way in ((bridge, i), (i, bridge))]
            pairs.append((bridge, bridge))
        closed += served
    return pairs, closed


def _nat_sets(gateways: Sequence[Gateway], options: GatewayOptions) -> Iterator[NftSet]:
    own = [g.cidr for g in gateways if not g.external]
    behind = [g.cidr for g in gateways if g.external]
    yield _networks("vm_ranges", [*own, *behind])
    yield _networks("snat_ranges", own)
    yield _networks("forced_ranges", behind)
    yield _networks("forced_destinations", options.force_snat_range)
    yield _networks("dmz", options.dmz_cidr)
    within = [f"{cidr} . {cidr}" for cidr in _outermost([*own, *behind])]
    yield NftSet("within", "ipv4_addr . ipv4_addr", within, interval=True)


def _forward_sets(gateways: Sequence[Gateway], options: GatewayOptions) -> Iterator[NftSet]:
    pairs, closed = forwarding(gateways, options)
    allowed = [f"{quoted(a)} . {quoted(b)}" for a, b in pairs]
    yield NftSet("forwards", "ifname . ifname", allowed)
    yield NftSet("closed", "ifname", [quoted(bridge) for bridge in closed])


def _vm_sets(gateways: Sequence[Gateway]) -> Iterator[NftSet]:
    served = {gateway.bridge for gateway in gateways}
    spans = [
        f"{quoted(bridge)} . {block}"
        for bridge in served
        for block in vm_blocks(g for g in gateways if g.bridge == bridge)
    ]
    yield NftSet("vm_sources", "ifname . ipv4_addr", spans, interval=True)


def vm_blocks(gateways: Iterable[Gateway]) -> list[IPv4Network]:
    """Return the addresses of these gateways' VMs as disjoint blocks."""
    spans = (span for gateway in gateways for span in gateway.vm_sources)
    blocks = (block for first, last in spans for block in summarize_address_range(first, last))
    return list(collapse_addresses(blocks))


def _nat_chains(options: GatewayOptions) -> Iterator[NftChain]:
    metadata = options.remote_metadata
    target = f"dnat ip to {metadata}:{options.metadata_port}"
    if metadata is None:
        target = f"redirect to :{options.metadata_port}"
    # Only of our own VMs: with br_netfilter on, these hooks also see what is merely bridged here,
    # and a VM of another network may be asking its own gateway on another host.
    request = f"iifname . ip saddr @vm_sources ip daddr {METADATA_ADDRESS} tcp dport 80"
    yield NftChain("prerouting", [f"{request} {target}"], "nat hook prerouting priority dstnat")
    source = options.routing_source_ip
    rules = [f"ip saddr @vm_ranges ip daddr {metadata} accept"] if metadata else []
    rules += [
        "ip saddr @vm_ranges ip daddr @dmz accept",
        "ip saddr . ip daddr @within ct status & dnat == 0 accept",
        f'ip saddr @snat_ranges oifname "{options.public_interface}" snat ip to {source}',
        f"ip saddr @forced_ranges ip daddr @forced_destinations snat ip to {source}",
    ]
    yield NftChain("postrouting", rules, "nat hook postrouting priority srcnat")


def _filter_chains(options: GatewayOptions) -> Iterator[NftChain]:
    closed = "counter name forward_closed drop"
    yield NftChain(
        "forward",
        [
            "iifname . oifname @forwards accept",
            f"iifname @closed {closed}",
            f"oifname @closed {closed}",
        ],
        "filter hook forward priority filter",
    )
    yield NftChain(
        "input",
        [
            f"meta mark & {VM_MARK:#010x} == {VM_MARK:#010x} goto from_vm",
            "iifname . ip saddr @vm_sources goto from_vm",
        ],
        "filter hook input priority filter",
    )
    yield NftChain(
        "from_vm",
        [
            "ct state established,related accept",
            "udp dport { 53, 67 } accept",
            f"tcp dport {{ 53, {options.metadata_port} }} accept",
            "icmp type echo-request accept",
            "counter name host_closed drop",
        ],
    )


def _networks(name: str, networks: Iterable[IPv4Network]) -> NftSet:
    return NftSet(name, "ipv4_addr", map(str, collapse_addresses(networks)), interval=True)


def _outermost(networks: Iterable[IPv4Network]) -> list[IPv4Network]:
    """Leave out what lies inside another: an interval set takes no overlap."""
    kept: list[IPv4Network] = []
    for network in sorted(set(networks), key=lambda n: n.prefixlen):
        if not any(network.subnet_of(other) for other in kept):
            kept.append(network)
    return kept
