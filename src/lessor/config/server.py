"""Options of `lessor server`, and of what it keeps."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.Opt(
        "listen",
        type=types.listener,
        default="127.0.0.1:9696",
        help="Address and port of the OpenStack Networking API. With auth_strategy=noauth any "
        "address that is not loopback needs insecure_listen.",
    ),
    cfg.Opt(
        "agent_listen",
        type=types.listener,
        default="127.0.0.1:9697",
        help="Address and port where agents call, each with the token of its host.",
    ),
    cfg.BoolOpt(
        "insecure_listen",
        default=False,
        help="Let an API that asks nobody who he is (auth_strategy=noauth) listen on other "
        "addresses than loopback.",
    ),
    cfg.ListOpt(
        "server_names",
        default=[],
        help="Names by which clients call the API, besides localhost, this machine's own name and "
        "any address. With auth_strategy=noauth a request for another name is refused (421): a "
        "web page could have made that name ours, to use a browser on this machine.",
    ),
    cfg.IntOpt(
        "workers",
        default=1,
        min=1,
        max=64,
        help="Server processes that share the listening sockets. More than one needs PostgreSQL.",
    ),
    cfg.IntOpt(
        "agent_down_time",
        default=75,
        min=1,
        help="Seconds without a word from an agent after which its host counts as down.",
    ),
    cfg.BoolOpt(
        "bind_unknown_hosts",
        default=True,
        help="Take a port's binding to a host that was not added yet, as Neutron does: the port says "
        "binding_failed until that host has wired it. Off: refuse it.",
    ),
    cfg.IntOpt(
        "lease_history_days",
        default=90,
        min=0,
        help="Days for which ended leases are kept: who had this address at that time.",
    ),
    cfg.IntOpt(
        "max_body_bytes",
        default=1 << 20,
        min=1024,
        help="Largest request body, in bytes, that is read.",
    ),
    cfg.IntOpt(
        "max_connections_per_address",
        default=1000,
        min=0,
        help="How many connections one address may have to each listener; 0 is any number. "
        "Loopback addresses are not limited. Raise it where all clients come by one proxy.",
    ),
    cfg.IntOpt(
        "global_physnet_mtu",
        default=1500,
        min=68,
        max=65535,
        help="MTU in bytes of networks that are created without one.",
    ),
    cfg.Opt(
        "base_mac",
        type=types.base_mac,
        default="fa:16:3e:00:00:00",
        help="What generated MACs start with: the first three octets, and the fourth too "
        "unless it is 00.",
    ),
    cfg.IntOpt(
        "create_unique_mac_address_attempts",
        default=5,
        min=1,
        help="How often a random MAC is tried before a port is refused one.",
    ),
]

DATABASE_OPTIONS = [
    cfg.StrOpt(
        "connection",
        default="",
        secret=True,
        help="SQLAlchemy URL of the database. Empty: an SQLite file in state_dir. A MySQL URL is "
        "taken for nova's own and ignored with a warning.",
    ),
]

QUOTA_OPTIONS = [
    cfg.IntOpt(
        "fixed_ips",
        default=-1,
        min=-1,
        deprecated_name="quota_fixed_ips",
        deprecated_group="DEFAULT",
        help="How many addresses the ports of one project may have; -1 is unlimited.",
    ),
    *(
        cfg.IntOpt(
            name,
            min=-1,
            deprecated_name=f"quota_{name}",
            deprecated_group="quotas",
            help=f"How many {plural} a project may have that no quota was set for; -1 is unlimited. "
            f"None: {usual}, but unlimited with auth_strategy=noauth.",
        )
        for name, plural, usual in (
            ("network", "networks", 100),
            ("subnet", "subnets", 100),
            ("port", "ports", 500),
            ("rbac_policy", "RBAC policies", 10),
        )
    ),
    cfg.IntOpt(
        "subnetpool",
        default=-1,
        min=-1,
        deprecated_name="quota_subnetpool",
        deprecated_group="quotas",
        help="The same for subnet pools; -1 is unlimited.",
    ),
]
