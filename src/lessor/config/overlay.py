"""Options of overlay networks, with Neutron's names and sections."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.IntOpt(
        "dhcp_agents_per_network",
        default=1,
        min=1,
        help="Number of hosts with a DHCP server for an overlay network.",
    ),
    cfg.IntOpt(
        "dhcp_down_time",
        default=10,
        min=2,
        help="Seconds without a heartbeat of an agent after which its host's DHCP servers of "
        "overlay networks move to another host. At least twice report_interval.",
    ),
]

ML2_OPTIONS = [
    cfg.ListOpt(
        "project_network_types",
        item_type=types.network_type,
        default=[],
        help="Types of a network that is created without provider attributes: the first possible "
        "one is used. Empty: vxlan, then flat, for a caller that acts for one project; for an "
        "administrator vxlan if any host has a local_ip, otherwise flat.",
    ),
    cfg.ListOpt(
        "project_physical_networks",
        default=[],
        help="Physical networks on which callers other than administrators may create flat "
        "networks. Such a network is on a wire and on bridges of hosts that all projects share, "
        "and its subnets become addresses and routes of its gateway host (project_cidrs). Empty: "
        "none; with auth_strategy=noauth every caller is an administrator.",
    ),
]

VXLAN_OPTIONS = [
    cfg.ListOpt(
        "vni_ranges",
        item_type=types.vni_range,
        default=["1:16777215"],
        help="VNIs of vxlan networks, each range as first:last, with commas between them.",
    ),
]

OVS_OPTIONS = [
    cfg.Opt(
        "local_ip",
        type=types.optional(types.tunnel_end),
        help="IPv4 or IPv6 address of this host's VTEP, on one of its interfaces. Unset: no "
        "overlay networks on this host.",
    ),
    cfg.Opt(
        "integration_bridge",
        type=types.interface,
        default="br-int",
        help="Open vSwitch bridge of VMs on overlay networks.",
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
        help="system: the kernel forwards packets. netdev: ovs-vswitchd does. Empty: system if the "
        "kernel has the module, otherwise netdev.",
    ),
    cfg.StrOpt(
        "ovsdb_connection",
        default="unix:/run/openvswitch/db.sock",
        help="Address of ovsdb-server: unix:PATH or tcp:ADDRESS:PORT.",
    ),
]

AGENT_OPTIONS = [
    cfg.StrOpt(
        "availability_zone",
        default="nova",
        max_length=255,
        help="Availability zone of this host; networks may request DHCP servers in certain zones.",
    ),
    cfg.PortOpt(
        "vxlan_udp_port",
        default=4789,
        min=1,
        help="UDP port of the tunnels; the same on all hosts.",
    ),
]
