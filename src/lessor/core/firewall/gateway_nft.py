"""The gateway's rules as nftables table `inet lessor`: NAT, forwarding, and who reaches the host.

Only VMs' packets are filtered: INPUT and FORWARD concern the bridges of the VMs. Which of them is
a VM's is in docs/decisions/0021-what-vms-reach-of-hosts.md, where VMs' packets are forwarded to in
docs/decisions/0026-where-vms-are-forwarded-to.md. A drop here is final, an accept is not: another
table may still drop (`lessor.core.diagnosis.foreign`).

Source: semantics.md A8.4, A11.3 to A11.5; nft(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lessor.core.around import Connected
from lessor.core.firewall.apart import joined_pairs
from lessor.core.firewall.nft_script import NftChain, NftSet, nft_table, quoted
from lessor.core.firewall.no_forward import less
from lessor.core.firewall.tap_guard_rules import BRIDGED_MARK, VM_MARK
from lessor.core.state import Gateway, Ruleset, VmRange
from lessor.model import METADATA_ADDRESS
from lessor.net.address import Address, Block, collapsed, is_within, spanned

TABLE = "inet lessor"
NAME = f"nft {TABLE}"
COUNTERS = (
    "host_closed",
    "forward_closed",  # by a bridge that may not, or to a VTEP
    "between_networks",  # from one flat network to another
    "no_forward",  # to a block of no_forward_cidr
)
_IS_VM = f"meta mark & {VM_MARK:#010x} == {VM_MARK:#010x}"
_NOT_VM = f"meta mark & {VM_MARK:#010x} == 0"


Spans = tuple[tuple[Address, Address], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """The settings that gateway rules depend on, by nova.conf's names (A2.3, A2.4)."""

    public_interface: str
    routing_source_ip: Address
    dmz_cidr: tuple[Block, ...] = ()
    force_snat_range: tuple[Block, ...] = ()
    forward_bridge_interface: tuple[str, ...] = ("all",)
    metadata_host: Address | None = None  # None, or a loopback address: this host answers
    metadata_port: int = 8775
    iptables_drop_action: str = "DROP"
    bridges: tuple[str, ...] = ()  # all VM bridges; of those without a gateway nothing is routed
    elsewhere: tuple[VmRange, ...] = ()  # ranges on these bridges that other hosts are gateway of
    host_access_cidr: tuple[Block, ...] = ()
    no_forward: tuple[Block, ...] = ()
    joined_cidr: tuple[Block, ...] = ()
    lans: tuple[Connected, ...] = ()  # networks of the host's own addresses, by VM bridge
    vteps: tuple[Address, ...] = ()  # of all hosts that share an overlay network with this one
    vxlan_udp_port: int = 0  # that of this host's own VTEP; 0: it has none

    @property
    def remote_metadata(self) -> Address | None:
        """Return where metadata requests are sent on to; None: they stay here."""
        host = self.metadata_host
        return None if host is None or host.is_loopback else host

    @property
    def no_forward_external(self) -> tuple[Block, ...]:
        """Return `no_forward` of ranges with an external gateway."""
        return less(self.no_forward, self.force_snat_range)

    @property
    def open_to(self) -> tuple[str, ...] | None:
        """Return the interfaces that a gateway's bridge may forward to; None: all."""
        if "all" in self.forward_bridge_interface:
            return None
        return tuple(dict.fromkeys(name for name in self.forward_bridge_interface if name))


def nft_gateway_ruleset(gateways: Iterable[Gateway], options: GatewayOptions) -> Ruleset:
    """Return the table for all ranges that this host is gateway of, or DHCP server for."""
    ranges = tuple(gateways)
    sets = (
        *_nat_sets(ranges, options),
        *_forward_sets(ranges, options),
        *_vm_sets(ranges, options),
    )
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
    joined = joined_pairs(vm_ranges(gateways, options), options.joined_cidr)
    texts = [f"{source} . {destination}" for source, destination in joined]
    yield NftSet("joined", "ipv4_addr . ipv4_addr", texts, interval=True)
    yield _networks("no_forward", options.no_forward)
    yield _networks("no_forward_external", options.no_forward_external)


def _vm_sets(gateways: Sequence[Gateway], options: GatewayOptions) -> Iterator[NftSet]:
    served = [VmRange(g.bridge, g.cidr, g.vm_sources) for g in gateways]
    ranges = vm_ranges(gateways, options)
    cidrs = _outermost([one.cidr for one in ranges])
    yield NftSet("bridges", "ifname", map(quoted, vm_bridges(gateways, options)))
    yield NftSet("vm_sources", "ifname . ipv4_addr", _by_bridge(served), interval=True)
    yield NftSet("vms", "ifname . ipv4_addr", _by_bridge(ranges), interval=True)
    yield NftSet("cidrs", "ipv4_addr", map(str, cidrs), interval=True)
    pairs = [f"{cidr} . {cidr}" for cidr in cidrs]
    yield NftSet("lans", "ipv4_addr . ipv4_addr", pairs, interval=True)
    yield NftSet("gateways", "ipv4_addr", [str(g.address) for g in gateways])
    own = [f"{quoted(g.bridge)} . {g.address} . {g.cidr}" for g in gateways]
    yield NftSet("own_gateways", "ifname . ipv4_addr . ipv4_addr", own, interval=True)
    yield _networks("operators", options.host_access_cidr)
    lans = [f"{quoted(lan.device)} . {lan.cidr}" for lan in _outermost_lans(options.lans)]
    yield NftSet("own_lans", "ifname . ipv4_addr", lans, interval=True)
    yield NftSet("vteps", "ipv4_addr", map(str, options.vteps))


def vm_bridges(gateways: Iterable[Gateway], options: GatewayOptions) -> list[str]:
    """Return the bridges that VMs of any host may send by."""
    return sorted({*options.bridges, *(gateway.bridge for gateway in gateways)})


def vm_ranges(gateways: Iterable[Gateway], options: GatewayOptions) -> list[VmRange]:
    """Return the ranges of VMs on this host's bridges, whoever is gateway of them."""
    served = (VmRange(g.bridge, g.cidr, g.vm_sources, g.network_id) for g in gateways)
    return [*served, *options.elsewhere]


def _outermost_lans(lans: Sequence[Connected]) -> Iterator[Connected]:
    for bridge in sorted({lan.device for lan in lans}):
        for cidr in _outermost(lan.cidr for lan in lans if lan.device == bridge):
            yield Connected(bridge, cidr)


def _by_bridge(ranges: Sequence[VmRange]) -> list[str]:
    return [
        f"{quoted(bridge)} . {block}"
        for bridge in {one.bridge for one in ranges}
        for block in vm_blocks(one.sources for one in ranges if one.bridge == bridge)
    ]


def vm_blocks(sources: Iterable[Spans]) -> list[Block]:
    """Return the addresses of these ranges' VMs as disjoint blocks."""
    spans = (span for one in sources for span in one)
    blocks = (block for first, last in spans for block in spanned(first, last))
    return collapsed(blocks)


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
            "iifname @bridges jump vm_forward",
            "iifname . oifname @forwards accept",
            f"iifname @closed {closed}",
            f"oifname @closed {closed}",
        ],
        "filter hook forward priority filter",
    )
    yield NftChain("vm_forward", list(_vm_forward(options)))
    yield NftChain(
        "input",
        ["iifname @bridges goto by_bridge"],
        "filter hook input priority filter",
    )
    yield NftChain(
        "by_bridge",
        [
            "ct state established accept",
            f"{_IS_VM} goto from_vm",
            "iifname . ip saddr @vms goto from_vm",
            # Not of VMs: an ICMP error with guessed ports may be about any flow of the host.
            "ct state related accept",
            "ip saddr @operators accept",
            "ip daddr @gateways goto from_vm",
            # The host's own addresses, on a bridge that carries them: its LAN reaches it there.
            "fib daddr . iif type local goto lan",
            "fib daddr . iif type { broadcast, multicast } iifname . ip saddr @own_lans accept",
            "goto from_vm",
        ],
    )
    yield NftChain(
        "lan",
        [
            "ip saddr . ip daddr @lans accept",  # the LAN is the VMs' subnet, and this is no VM's
            "ip saddr @cidrs goto from_vm",
            "ip saddr 0.0.0.0 goto from_vm",
            "accept",
        ],
    )
    port = options.metadata_port
    yield NftChain(
        "from_vm",
        [
            f"ct status dnat ct original ip daddr {METADATA_ADDRESS} tcp dport {port} accept",
            "udp dport 67 ip daddr 255.255.255.255 accept",
            "iifname . ip daddr . ip saddr @own_gateways goto services",
            "counter name host_closed drop",
        ],
    )
    yield NftChain(
        "services",
        [
            "udp dport { 53, 67 } accept",
            f"tcp dport {{ 53, {port} }} accept",
            "icmp type echo-request accept",
            "counter name host_closed drop",
        ],
    )


def _vm_forward(options: GatewayOptions) -> Iterator[str]:
    """Keep VMs from what is not theirs.

    From VTEPs: as this host's SNAT source, their packets would come from its own VTEP.
    """
    # Each of our bridges may forward to itself, so nothing below would drop it.
    yield f"meta mark & {BRIDGED_MARK:#010x} == {BRIDGED_MARK:#010x} accept"
    yield "ct state established,related return"
    if options.remote_metadata:
        to = f"ip daddr {options.remote_metadata} tcp dport {options.metadata_port}"
        yield f"ct status dnat {to} return"
    yield "ip saddr . ip daddr @within return"
    yield "ip daddr @vteps counter name forward_closed drop"
    if options.vxlan_udp_port:
        yield f"udp dport {options.vxlan_udp_port} counter name forward_closed drop"
    yield "ip saddr . ip daddr @joined return"
    yield f"{_NOT_VM} ip saddr @operators return"
    # By source, and from a tap of this host whatever its source.
    yield "ip daddr @cidrs ip saddr @cidrs counter name between_networks drop"
    yield f"ip daddr @cidrs {_IS_VM} counter name between_networks drop"
    external = "ip saddr @forced_ranges ip daddr @no_forward_external"
    yield f"{external} counter name no_forward drop"
    yield "ip saddr != @forced_ranges ip daddr @no_forward counter name no_forward drop"


def _networks(name: str, networks: Iterable[Block]) -> NftSet:
    return NftSet(name, "ipv4_addr", map(str, collapsed(networks)), interval=True)


def _outermost(networks: Iterable[Block]) -> list[Block]:
    """Leave out what lies inside another: an interval set takes no overlap."""
    kept: list[Block] = []
    for network in sorted(set(networks), key=lambda n: n.prefixlen):
        if not any(is_within(network, other) for other in kept):
            kept.append(network)
    return kept
