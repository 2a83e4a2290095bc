"""Options of overlay networks, under the names and in the sections that Neutron has them."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.IntOpt(
        "dhcp_agents_per_network",
        default=1,
        min=1,
        help="On how many hosts an overlay network has a DHCP server.",
    ),
    cfg.IntOpt(
        "dhcp_down_time",
        default=10,
        min=2,
        help="Seconds without a word from an agent after which the DHCP servers that its host has "
        "for overlay networks move to another host. At least twice report_interval.",
    ),
]

ML2_OPTIONS = [
    cfg.ListOpt(
        "project_network_types",
        item_type=types.network_type,
        default=[],
        help="What a network is that is created without provider attributes: the first of these "
        "that can be made. Empty: vxlan, then flat, if its creator acts for one project; an "
        "administrator's is vxlan if any host has a local_ip, or else flat.",
    ),
    cfg.ListOpt(
        "project_physical_networks",
        default=[],
        help="Physical networks on which whoever is no administrator may make flat networks. Such "
        "a network is on a wire and on bridges of hosts that all projects share, and its subnets "
        "become addresses and routes of its gateway host (project_cidrs). Empty: none; with "
        "auth_strategy=noauth everybody is an administrator.",
    ),
]

VXLAN_OPTIONS = [
    cfg.ListOpt(
        "vni_ranges",
        item_type=types.vni_range,
        default=["1:16777215"],
        help="Numbers (VNIs) of vxlan networks, each range as first:last, with commas between "
        "them.",
    ),
]

OVS_OPTIONS = [
    cfg.Opt(
        "local_ip",
        type=types.optional(types.tunnel_end),
        help="IPv4 or IPv6 address of this host, on one of its interfaces, at which its tunnels "
        "end. Unset: it takes no part in overlay networks.",
    ),
    cfg.Opt(
        "integration_bridge",
        type=types.interface,
        default="br-int",
        help="Open vSwitch bridge that VMs on overlay networks are plugged into.",
    ),
    cfg.Opt(
        "tunnel_bridge",
        type=types.interface,
        default="br-tun",
        help="Open vSwitch bridge of the tunnels to other hosts.",
    ),
    cfg.Opt(
        "datapath_type",
        type=types.datapath_type,
        default="",
        help="system: the kernel forwards. netdev: ovs-vswitchd does. Empty: system where the "
        "kernel can, or else netdev.",
    ),
    cfg.StrOpt(
        "ovsdb_connection",
        default="unix:/run/openvswitch/db.sock",
        help="Where ovsdb-server listens: unix:PATH or tcp:ADDRESS:PORT.",
    ),
]

AGENT_OPTIONS = [
    cfg.StrOpt(
        "availability_zone",
        default="nova",
        max_length=255,
        help="Zone that this host is in: networks may ask for DHCP servers in certain zones.",
    ),
    cfg.PortOpt(
        "vxlan_udp_port",
        default=4789,
        min=1,
        help="UDP port of the tunnels; the same on all hosts.",
    ),
]
