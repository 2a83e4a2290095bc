"""Options of DHCP service and leases."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.StrOpt(
        "dhcp_driver",
        default="dnsmasq",
        choices=["dnsmasq", "native"],
        help="What serves DHCP and DNS on this host: a dnsmasq for each bridge or vxlan network, or "
        "lessor-dhcpd and lessor-dnsd, one process each for all of them. A change takes effect at "
        "the start of the agent; leases stay.",
    ),
    cfg.IntOpt(
        "dhcp_lease_time",
        default=86400,
        min=1,
        help="Lease time in seconds; dnsmasq's minimum is 120. Don't set it longer on a host than "
        "on the server: the server considers a lease ended after its own value.",
    ),
    cfg.StrOpt(
        "dhcp_domain",
        default="novalocal",
        help="Domain of the VMs. Empty: DHCP announces no domain.",
    ),
    cfg.MultiOpt(
        "forward_domains",
        item_type=types.several(types.words),
        default=[],
        help="Domains of VMs that upstream name servers serve too: names without a VM are "
        "forwarded upstream. Names in other domains of VMs, and in the reverse zones of their "
        "subnets, are never forwarded.",
    ),
    cfg.StrOpt(
        "dnsmasq_config_file",
        default="",
        help="Passed to dnsmasq as --conf-file. Empty: dnsmasq reads none, not even "
        "/etc/dnsmasq.conf.",
    ),
    cfg.MultiOpt(
        "dns_server",
        item_type=types.several(types.words),
        default=[],
        help="Upstream name server of dnsmasq. If set, the host's resolv.conf is not read.",
    ),
    cfg.BoolOpt(
        "use_network_dns_servers",
        default=False,
        help="Append the name servers of the network to dns_server. Set it on the server and on "
        "the hosts alike. Networks of one bridge share these name servers; therefore the server "
        "then refuses name servers that a project sets on a subnet of a flat network.",
    ),
    cfg.BoolOpt(
        "use_single_default_gateway",
        default=False,
        help="Announce a router to the first NIC of a VM only.",
    ),
    cfg.StrOpt(
        "dhcpbridge",
        default="",
        help="Program that dnsmasq calls with lease events. Empty, or nova-dhcpbridge: Lessor's "
        "own. It runs as the user lessor-hook (or nobody, if that user does not exist), which may "
        "append to one file of state_dir and nothing else; only `init` runs as root.",
    ),
    cfg.Opt(
        "networks_path",
        type=types.path,
        default="$state_dir/networks",
        help="Folder of the files that dnsmasq reads and writes.",
    ),
    cfg.BoolOpt(
        "force_dhcp_release",
        default=True,
        help="Release the lease of a port when it is deleted, so that its address is free at once.",
    ),
    cfg.IntOpt(
        "fixed_ip_disassociate_timeout",
        default=600,
        min=0,
        help="Seconds after which the address of a deleted VM is freed without a release of its "
        "lease, if the lease has certainly ended.",
    ),
    cfg.BoolOpt(
        "update_dns_entries",
        default=False,
        help="With multi_host: every host's DNS resolves all VMs of the network, not only its own.",
    ),
]
