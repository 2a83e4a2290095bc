"""Options of flat networks: bridges, interfaces, and what new networks get by default."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types
from lessor.settings import PRIVATE

OPTIONS = [
    cfg.Opt(
        "flat_network_bridge",
        type=types.optional(types.interface),
        help="Bridge for flat networks, such as br100: the bridge of the physical network "
        "physnet1. There is no default: a flat network can't be made without one.",
    ),
    cfg.Opt(
        "flat_interface",
        type=types.optional(types.interface),
        help="Physical interface that is enslaved to flat_network_bridge; its addresses and "
        "routes move to the bridge. Unset: the bridge stays on its host.",
    ),
    cfg.ListOpt(
        "flat_mappings",
        item_type=types.flat_mapping,
        default=[],
        help="Further physical networks, each as name:bridge:interface, with commas between "
        "them: physnet2:br101:eth2.",
    ),
    cfg.ListOpt(
        "flat_bridge_ports",
        item_type=types.interface,
        default=[],
        help="Interfaces that an operator has put on bridges of flat networks, beside VMs' taps and "
        "flat_interface, with commas between them. Any other port there passes nothing.",
    ),
    cfg.ListOpt(
        "reserved_cidrs",
        item_type=types.ipv4_network,
        default=[],
        help="Blocks of which no subnet may have any part: the network of an identity service, for "
        "example. The server refuses such a subnet, and an agent does not serve it.",
    ),
    cfg.ListOpt(
        "allowed_host_cidrs",
        item_type=types.ipv4_network,
        default=[],
        help="Blocks in which subnets of flat networks may overlap what hosts have or reach "
        "themselves: their addresses, routes, gateways, name servers and their server. For "
        "administrators; set it on the server and on the hosts concerned. The LAN of the flat "
        "interface itself needs no entry.",
    ),
    cfg.IntOpt(
        "min_subnet_prefixlen",
        default=8,
        min=1,
        max=32,
        help="The shortest prefix of a subnet, which is the largest block.",
    ),
    cfg.IntOpt(
        "min_pair_prefixlen",
        default=24,
        min=1,
        max=32,
        help="The shortest prefix of an allowed address pair that a project gives a port of a flat "
        "network. Administrators may give any.",
    ),
    cfg.ListOpt(
        "project_cidrs",
        item_type=types.ipv4_network,
        default=[str(block) for block in PRIVATE],
        help="Blocks that the subnets of flat networks lie in which projects make or change. They "
        "become routes of their gateway host, before all that it reaches by its default route. "
        "Blocks of a subnet pool are free if an administrator gave all its prefixes or made it the "
        "default, and so are administrators. Empty: none but those.",
    ),
    cfg.Opt(
        "fixed_range",
        type=types.optional(types.ipv4_network),
        help="Where set, the server makes the default network (or num_networks of them) from "
        "this block at its first start if there is no network.",
    ),
    cfg.IntOpt(
        "network_size",
        default=256,
        min=1,
        help="Addresses in each network cut from a larger block.",
    ),
    cfg.IntOpt("num_networks", default=1, min=1, help="Networks to cut from a block."),
    cfg.Opt(
        "flat_network_dns",
        type=types.ipv4,
        default="8.8.4.4",
        help="Name server of the subnets that fixed_range makes.",
    ),
    cfg.BoolOpt(
        "multi_host",
        default=False,
        help="New networks are multi_host: every host with a port of the network is gateway, "
        "DHCP server and NAT of its own VMs.",
    ),
    cfg.BoolOpt(
        "share_dhcp_address",
        default=False,
        help="New multi_host networks have one gateway address that all hosts carry.",
    ),
    cfg.Opt(
        "network_host",
        type=types.optional(types.host_name),
        help="Host of single-host networks that have none. Unset: any host may claim one. What "
        "the store knows decides; if it differs from this, the server warns.",
    ),
]
