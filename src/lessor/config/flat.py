"""Options of flat networks: bridges, interfaces, and defaults of new networks."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types
from lessor.settings import PRIVATE

OPTIONS = [
    cfg.Opt(
        "flat_network_bridge",
        type=types.optional(types.interface),
        help="Bridge of the physical network physnet1, such as br100. There is no default: flat "
        "networks can't be created without a bridge.",
    ),
    cfg.Opt(
        "flat_interface",
        type=types.optional(types.interface),
        help="Physical interface that is enslaved to flat_network_bridge; its addresses and "
        "routes move to the bridge. Unset: the bridge has no uplink.",
    ),
    cfg.ListOpt(
        "flat_mappings",
        item_type=types.flat_mapping,
        default=[],
        help="Further physical networks, each as name:bridge:interface, separated by commas: "
        "physnet2:br101:eth2.",
    ),
    cfg.ListOpt(
        "flat_bridge_ports",
        item_type=types.interface,
        default=[],
        help="Interfaces that the operator has enslaved to bridges of flat networks, besides VMs' "
        "taps and flat_interface, separated by commas. Any other port there passes no packets.",
    ),
    cfg.ListOpt(
        "reserved_cidrs",
        item_type=types.ipv4_network,
        default=[],
        help="Blocks that no subnet may overlap, for example the network of an identity service. "
        "The server refuses such a subnet, and an agent does not serve it.",
    ),
    cfg.ListOpt(
        "allowed_host_cidrs",
        item_type=types.ipv4_network,
        default=[],
        help="Blocks in which subnets of flat networks may overlap networks that hosts have or "
        "reach themselves: their addresses, routes, gateways, name servers and their server. For "
        "administrators; set it on the server and on the hosts concerned. The LAN of the flat "
        "interface itself needs no entry.",
    ),
    cfg.IntOpt(
        "min_subnet_prefixlen",
        default=8,
        min=1,
        max=32,
        help="Minimum prefix length of a subnet, which is its maximum size.",
    ),
    cfg.IntOpt(
        "min_pair_prefixlen",
        default=24,
        min=1,
        max=32,
        help="Minimum prefix length of an allowed address pair that a project sets on a port of a "
        "flat network. Administrators may set any.",
    ),
    cfg.ListOpt(
        "project_cidrs",
        item_type=types.ipv4_network,
        default=[str(block) for block in PRIVATE],
        help="Blocks that must contain all subnets of flat networks that projects create or "
        "change. Such subnets become routes of their gateway host, which win over its default "
        "route. Exempt are administrators, and blocks of a subnet pool that an administrator made "
        "the default or gave all its prefixes. Empty: only the exempt ones.",
    ),
    cfg.Opt(
        "fixed_range",
        type=types.optional(types.ipv4_network),
        help="If set, the server creates the default network (or num_networks of them) from this "
        "block at its first start, unless a network exists.",
    ),
    cfg.IntOpt(
        "network_size",
        default=256,
        min=1,
        help="Addresses in each network allocated from a larger block.",
    ),
    cfg.IntOpt("num_networks", default=1, min=1, help="Number of networks of fixed_range."),
    cfg.Opt(
        "flat_network_dns",
        type=types.ipv4,
        default="8.8.4.4",
        help="Name server of the subnets of fixed_range.",
    ),
    cfg.BoolOpt(
        "multi_host",
        default=False,
        help="New networks are multi_host: every host with a port of the network is the gateway, "
        "DHCP server and NAT of its own VMs.",
    ),
    cfg.BoolOpt(
        "share_dhcp_address",
        default=False,
        help="New multi_host networks have the same gateway address on all hosts.",
    ),
    cfg.Opt(
        "network_host",
        type=types.optional(types.host_name),
        help="Host of single-host networks without a host. Unset: any host may claim one. A host "
        "in the store takes precedence; if it differs from this one, the server warns.",
    ),
]
