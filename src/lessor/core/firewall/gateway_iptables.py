"""The gateway's rules as iptables chains, in nova-network's layout and order.

The text is in iptables-restore's form and holds only what is ours: chains named `lessor-...`, and
the jumps to them from the built-in chains. `lessor.core.firewall.iptables_edit` fits it into what a
host has. Rules are written as `iptables-save` prints them, so that their counters can be kept.

Source: semantics.md A8.4, A11.1 to A11.5; iptables-extensions(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from lessor.core.firewall.apart import joined_pairs
from lessor.core.firewall.gateway_nft import GatewayOptions, forwarding, vm_bridges, vm_ranges
from lessor.core.firewall.tap_guard_rules import BRIDGED_MARK, VM_MARK
from lessor.core.state import Gateway, Ruleset
from lessor.model import METADATA_ADDRESS
from lessor.net.address import Block, place_of_block

NAME = "iptables"
BOTTOM = "lessor-postrouting-bottom"  # the last jump of POSTROUTING; other jumps come first


def iptables_gateway_ruleset(gateways: Iterable[Gateway], options: GatewayOptions) -> Ruleset:
    """Return our chains for all ranges that this host is gateway of, or DHCP server for."""
    ranges = tuple(gateways)
    tables = (
        _table("filter", _filter_jumps(), _filter_rules(ranges, options)),
        _table("nat", _nat_jumps(), _nat_rules(ranges, options)),
        _table("mangle", {"POSTROUTING": ["lessor-POSTROUTING"]}, _mangle_rules(ranges)),
    )
    return Ruleset(NAME, "".join(tables))


def _table(
    name: str, jumps: Mapping[str, Sequence[str]], rules: Mapping[str, Sequence[str]]
) -> str:
    lines = [f"*{name}"]
    lines += [f":{chain} - [0:0]" for chain in rules]
    lines += [f"-A {builtin} -j {chain}" for builtin, to in jumps.items() for chain in to]
    lines += [f"-A {chain} {rule}" for chain, its in rules.items() for rule in dict.fromkeys(its)]
    return "\n".join((*lines, "COMMIT\n"))


def _filter_jumps() -> dict[str, list[str]]:
    return {
        "INPUT": ["lessor-INPUT"],
        "FORWARD": ["lessor-filter-top", "lessor-FORWARD"],
        "OUTPUT": ["lessor-filter-top", "lessor-OUTPUT"],
    }


def _filter_rules(gateways: Sequence[Gateway], options: GatewayOptions) -> dict[str, list[str]]:
    return {
        "lessor-filter-top": ["-j lessor-local"],
        "lessor-local": [],
        "lessor-INPUT": [f"-i {b} -g lessor-bridge" for b in vm_bridges(gateways, options)],
        "lessor-bridge": list(_by_bridge(gateways, options)),
        "lessor-lan": list(_lan(gateways, options)),
        "lessor-vm": list(_from_vm(gateways, options)),
        "lessor-services": list(_services(options)),
        "lessor-FORWARD": list(_forward(gateways, options)),
        "lessor-vm-forward": list(_vm_forward(gateways, options)),
        "lessor-vteps": list(_vteps(options)),
        "lessor-between": list(_to(_cidrs(gateways, options), options)),
        "lessor-no-forward": list(_to(options.no_forward, options)),
        "lessor-no-forward-ext": list(_to(options.no_forward_external, options)),
        "lessor-OUTPUT": [],
    }


def _cidrs(gateways: Sequence[Gateway], options: GatewayOptions) -> list[Block]:
    return sorted({one.cidr for one in vm_ranges(gateways, options)}, key=place_of_block)


def _to(blocks: Iterable[Block], options: GatewayOptions) -> Iterator[str]:
    for block in blocks:
        yield f"-d {block} -j {options.iptables_drop_action}"


def _by_bridge(gateways: Sequence[Gateway], options: GatewayOptions) -> Iterator[str]:
    """Tell VMs' packets from the operator's, as `lessor.core.firewall.gateway_nft` does."""
    yield "-m conntrack --ctstate ESTABLISHED -j ACCEPT"
    yield f"-m mark --mark {VM_MARK:#x}/{VM_MARK:#x} -g lessor-vm"
    for one in vm_ranges(gateways, options):
        for first, last in one.sources:
            yield f"-i {one.bridge} -m iprange --src-range {first}-{last} -g lessor-vm"
    yield "-m conntrack --ctstate RELATED -j ACCEPT"
    for block in options.host_access_cidr:
        yield f"-s {block} -j ACCEPT"
    for gateway in gateways:
        yield f"-d {gateway.address}/32 -g lessor-vm"
    yield "-m addrtype --dst-type LOCAL --limit-iface-in -g lessor-lan"
    for lan in options.lans:
        for kind in ("BROADCAST", "MULTICAST"):
            to = f"-m addrtype --dst-type {kind} --limit-iface-in"
            yield f"-s {lan.cidr} -i {lan.device} {to} -j ACCEPT"
    yield "-g lessor-vm"


def _lan(gateways: Sequence[Gateway], options: GatewayOptions) -> Iterator[str]:
    ranges = vm_ranges(gateways, options)
    for one in ranges:
        yield f"-s {one.cidr} -d {one.cidr} -j ACCEPT"
    for one in ranges:
        yield f"-s {one.cidr} -g lessor-vm"
    yield "-s 0.0.0.0/32 -g lessor-vm"
    yield "-j ACCEPT"


def _from_vm(gateways: Sequence[Gateway], options: GatewayOptions) -> Iterator[str]:
    port = options.metadata_port
    asked = f"-m conntrack --ctstate DNAT --ctorigdst {METADATA_ADDRESS}"
    yield f"-p tcp -m tcp --dport {port} {asked} -j ACCEPT"
    yield "-d 255.255.255.255/32 -p udp -m udp --dport 67 -j ACCEPT"
    for g in gateways:
        yield f"-s {g.cidr} -d {g.address}/32 -i {g.bridge} -g lessor-services"
    yield f"-j {options.iptables_drop_action}"


def _services(options: GatewayOptions) -> Iterator[str]:
    """What VMs reach of their own gateway."""
    for protocol in ("udp", "tcp"):
        for port in (67, 53):
            yield f"-p {protocol} -m {protocol} --dport {port} -j ACCEPT"
    yield f"-p tcp -m tcp --dport {options.metadata_port} -j ACCEPT"
    yield "-p icmp -m icmp --icmp-type 8 -j ACCEPT"
    yield f"-j {options.iptables_drop_action}"


def _vm_forward(gateways: Sequence[Gateway], options: GatewayOptions) -> Iterator[str]:
    """Keep VMs from what is not theirs, as `lessor.core.firewall.gateway_nft` does."""
    is_vm = f"--mark {VM_MARK:#x}/{VM_MARK:#x}"
    yield f"-m mark --mark {BRIDGED_MARK:#x}/{BRIDGED_MARK:#x} -j RETURN"
    yield "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"
    if options.remote_metadata:
        to = f"-d {options.remote_metadata}/32 -p tcp -m tcp --dport {options.metadata_port}"
        yield f"{to} -m conntrack --ctstate DNAT -j RETURN"
    for g in gateways:
        yield f"-s {g.cidr} -d {g.cidr} -j RETURN"
    yield "-j lessor-vteps"
    for source, destination in joined_pairs(vm_ranges(gateways, options), options.joined_cidr):
        yield f"-s {source} -d {destination} -j RETURN"
    for block in options.host_access_cidr:
        yield f"-s {block} -m mark ! {is_vm} -j RETURN"
    for cidr in _cidrs(gateways, options):
        yield f"-s {cidr} -j lessor-between"
    yield f"-m mark {is_vm} -j lessor-between"
    for g in gateways:
        if g.external:
            yield f"-s {g.cidr} -g lessor-no-forward-ext"
    yield "-g lessor-no-forward"


def _vteps(options: GatewayOptions) -> Iterator[str]:
    for vtep in options.vteps:
        yield f"-d {vtep}/32 -j {options.iptables_drop_action}"
    if options.vxlan_udp_port:
        port = f"-p udp -m udp --dport {options.vxlan_udp_port}"
        yield f"{port} -j {options.iptables_drop_action}"


def _forward(gateways: Sequence[Gateway], options: GatewayOptions) -> Iterator[str]:
    pairs, closed = forwarding(gateways, options)
    for bridge in vm_bridges(gateways, options):
        yield f"-i {bridge} -j lessor-vm-forward"
    for one, other in pairs:
        yield f"-i {one} -o {other} -j ACCEPT"
    for bridge in _bridges(gateways):
        if bridge not in closed:
            yield f"-i {bridge} -j ACCEPT"
            yield f"-o {bridge} -j ACCEPT"
    for bridge in closed:
        yield f"-i {bridge} -j {options.iptables_drop_action}"
        yield f"-o {bridge} -j {options.iptables_drop_action}"


def _nat_jumps() -> dict[str, list[str]]:
    return {
        "PREROUTING": ["lessor-PREROUTING"],
        "OUTPUT": ["lessor-OUTPUT"],
        "POSTROUTING": ["lessor-POSTROUTING", BOTTOM],
    }


def _nat_rules(gateways: Sequence[Gateway], options: GatewayOptions) -> dict[str, list[str]]:
    return {
        "lessor-PREROUTING": list(_metadata(gateways, options)),
        "lessor-OUTPUT": [],
        "lessor-POSTROUTING": [rule for g in gateways for rule in _unchanged(g.cidr, options)],
        BOTTOM: ["-j lessor-snat"],
        "lessor-snat": [
            "-j lessor-float-snat",
            *(rule for gateway in gateways for rule in _snat(gateway, options)),
        ],
        "lessor-float-snat": [],
    }


def _metadata(gateways: Sequence[Gateway], options: GatewayOptions) -> Iterator[str]:
    target = f"DNAT --to-destination {options.remote_metadata}:{options.metadata_port}"
    if options.remote_metadata is None:
        target = f"REDIRECT --to-ports {options.metadata_port}"
    # By source too: with br_netfilter on, this table also sees what is merely bridged here, and a
    # VM of another network may be asking its own gateway on another host.
    for g in gateways:
        request = f"-s {g.cidr} -d {METADATA_ADDRESS}/32 -i {g.bridge} -p tcp -m tcp --dport 80"
        yield f"{request} -j {target}"


def _unchanged(source: Block, options: GatewayOptions) -> Iterator[str]:
    """What keeps a VM's own address: to metadata, to the DMZ, within the network (A11.3)."""
    if options.remote_metadata:
        yield f"-s {source} -d {options.remote_metadata}/32 -j ACCEPT"
    for destination in options.dmz_cidr:
        yield f"-s {source} -d {destination} -j ACCEPT"
    yield f"-s {source} -d {source} -m conntrack ! --ctstate DNAT -j ACCEPT"


def _snat(gateway: Gateway, options: GatewayOptions) -> Iterator[str]:
    target = f"-j SNAT --to-source {options.routing_source_ip}"
    if not gateway.external:
        yield f"-s {gateway.cidr} -o {options.public_interface} {target}"
        return
    for destination in options.force_snat_range:
        yield f"-s {gateway.cidr} -d {destination} {target}"


def _mangle_rules(gateways: Sequence[Gateway]) -> dict[str, list[str]]:
    """DHCP replies to virtual NICs leave without checksums, and clients drop them (LP 1029430)."""
    fill = "-p udp -m udp --dport 68 -j CHECKSUM --checksum-fill"
    return {"lessor-POSTROUTING": [f"-o {bridge} {fill}" for bridge in _bridges(gateways)]}


def _bridges(gateways: Iterable[Gateway]) -> list[str]:
    return sorted({gateway.bridge for gateway in gateways})
