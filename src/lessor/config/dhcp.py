"""Options of DHCP service and leases."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.IntOpt(
        "dhcp_lease_time",
        default=86400,
        min=1,
        help="Lease time in seconds. dnsmasq gives none shorter than 120. No host's may be longer "
        "than the server's, which believes no lease to last longer.",
    ),
    cfg.StrOpt(
        "dhcp_domain",
        default="novalocal",
        help="Domain of the VMs. Empty: none is announced.",
    ),
    cfg.MultiOpt(
        "forward_domains",
        item_type=types.several(types.words),
        default=[],
        help="Domains of VMs in which other name servers have names, too: what no VM is called "
        "there is asked upstream. Other domains of VMs, and the reverse zones of their subnets, "
        "never are.",
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
        help="Upstream name server of dnsmasq. If there is any, the host's "
        "resolv.conf is not read.",
    ),
    cfg.BoolOpt(
        "use_network_dns_servers",
        default=False,
        help="Append the name servers of the network to dns_server. Networks of one bridge ask them "
        "together, so where it is set on the server, too, a project gives a subnet of a flat network "
        "none. Set it on the server as on the hosts.",
    ),
    cfg.BoolOpt(
        "use_single_default_gateway",
        default=False,
        help="Only the first NIC of a VM is told a router.",
    ),
    cfg.StrOpt(
        "dhcpbridge",
        default="",
        help="Program that dnsmasq calls with lease events. Empty, or nova-dhcpbridge: the one "
        "that comes with Lessor. It is called as lessor-hook (nobody, where there is no such user), who "
        "may add to one file of state_dir and nothing else; `init` alone as root.",
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
        help="Seconds after which an address whose VM is gone is freed although no release "
        "of its lease was seen, if the lease has certainly ended.",
    ),
    cfg.BoolOpt(
        "update_dns_entries",
        default=False,
        help="With multi_host: every host's DNS knows every VM of the network, not only its own.",
    ),
]
