"""Options of gateways: NAT, forwarding, gratuitous ARP."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.StrOpt(
        "gateway_firewall",
        default="nftables",
        choices=["nftables", "iptables"],
        help="What the rules of gateways are written with.",
    ),
    cfg.Opt(
        "public_interface",
        type=types.interface,
        default="eth0",
        help="Interface to the outside: VMs' traffic that leaves by it is SNATed.",
    ),
    cfg.Opt(
        "routing_source_ip",
        type=types.optional(types.ipv4),
        sample_default="$my_ip",
        help="Address that VMs are seen with from outside.",
    ),
    cfg.ListOpt(
        "dmz_cidr",
        item_type=types.ipv4_network,
        default=[],
        help="Destinations that see the VMs' own addresses (no SNAT), with commas between them.",
    ),
    cfg.MultiOpt(
        "force_snat_range",
        item_type=types.several(types.ipv4_network),
        default=[],
        help="With an external gateway (dhcp_server is not the gateway): destinations that are "
        "SNATed all the same.",
    ),
    cfg.MultiOpt(
        "forward_bridge_interface",
        item_type=types.several(types.interface),
        default=["all"],
        help="Interface that bridges may forward to. all: any.",
    ),
    cfg.StrOpt(
        "iptables_drop_action",
        default="DROP",
        regex="[A-Za-z0-9_-]{1,28}",
        help="Target of dropped packets: DROP, REJECT or a chain of your own.",
    ),
    cfg.Opt(
        "iptables_top_regex",
        type=types.pattern,
        default="",
        help="With gateway_firewall = iptables: rules of others that match stay above ours.",
    ),
    cfg.Opt(
        "iptables_bottom_regex",
        type=types.pattern,
        default="",
        help="With gateway_firewall = iptables: rules of others that match stay below ours.",
    ),
    cfg.BoolOpt(
        "send_arp_for_ha",
        default=False,
        help="Send gratuitous ARP after putting an address on a bridge.",
    ),
    cfg.IntOpt(
        "send_arp_for_ha_count", default=3, min=1, help="How many gratuitous ARPs are sent."
    ),
]
