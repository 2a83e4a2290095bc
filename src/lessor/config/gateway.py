"""Options of gateways: NAT, forwarding, gratuitous ARP."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.StrOpt(
        "gateway_firewall",
        default="nftables",
        choices=["nftables", "iptables"],
        help="Firewall for the rules of gateways.",
    ),
    cfg.Opt(
        "public_interface",
        type=types.interface,
        default="eth0",
        help="Interface to the outside: traffic of VMs that leaves by it is SNATed.",
    ),
    cfg.Opt(
        "routing_source_ip",
        type=types.optional(types.ipv4),
        sample_default="$my_ip",
        help="Source address of VMs' traffic after SNAT.",
    ),
    cfg.ListOpt(
        "dmz_cidr",
        item_type=types.ipv4_network,
        default=[],
        help="Destinations without SNAT, which see the VMs' own addresses; separated by commas.",
    ),
    cfg.MultiOpt(
        "force_snat_range",
        item_type=types.several(types.ipv4_network),
        default=[],
        help="With an external gateway (dhcp_server is not the gateway): destinations with SNAT "
        "nevertheless.",
    ),
    cfg.MultiOpt(
        "forward_bridge_interface",
        item_type=types.several(types.interface),
        default=["all"],
        help="Interface that bridges may forward to. all: any.",
    ),
    cfg.ListOpt(
        "host_access_cidr",
        item_type=types.ipv4_network,
        default=[],
        help="Sources that may reach this host through the bridges of VMs, at any of its "
        "addresses: machines of the operator on the VMs' wire, as blocks separated by commas. "
        "Their packets are also forwarded to any destination. No VM's address is among them.",
    ),
    cfg.ListOpt(
        "no_forward_cidr",
        item_type=types.no_forward,
        default=[types.CONNECTED],
        help="Destinations to which VMs' packets are not forwarded, as blocks separated by commas. "
        "connected: the present networks of this host's addresses, except those of "
        "public_interface and of VM bridges. Replies pass, and so do narrower blocks of dmz_cidr "
        "or, with an external gateway, of force_snat_range. Empty: none.",
    ),
    cfg.ListOpt(
        "joined_cidr",
        item_type=types.ipv4_network,
        default=[],
        help="Blocks within which VMs of different flat networks reach each other, separated by "
        "commas; 0.0.0.0/0 joins all. Other networks of one host are isolated. Set it on all hosts "
        "of the networks.",
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
