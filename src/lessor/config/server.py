"""Options of `lessor server` and its database."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.Opt(
        "listen",
        type=types.listener,
        default="127.0.0.1:9696",
        help="Address and port of the OpenStack Networking API. With auth_strategy=noauth any "
        "address other than loopback needs insecure_listen.",
    ),
    cfg.Opt(
        "agent_listen",
        type=types.listener,
        default="127.0.0.1:9697",
        help="Address and port of the API for agents; each agent uses the token of its host.",
    ),
    cfg.BoolOpt(
        "insecure_listen",
        default=False,
        help="Let an API without authentication (auth_strategy=noauth) listen on other addresses "
        "than loopback.",
    ),
    cfg.ListOpt(
        "server_names",
        default=[],
        help="Host names that clients use for the API, besides localhost, this machine's own name "
        "and any address. With auth_strategy=noauth a request with another name is refused (421): "
        "a web page could point a name of its own here and attack through a browser on this "
        "machine (DNS rebinding).",
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
        help="Seconds without a heartbeat of an agent after which its host is down.",
    ),
    cfg.BoolOpt(
        "bind_unknown_hosts",
        default=True,
        help="Accept a port's binding to a host that does not exist yet, as Neutron does: the port "
        "has binding_failed until that host has wired it. False: refuse it.",
    ),
    cfg.IntOpt(
        "lease_history_days",
        default=90,
        min=0,
        help="Days for which ended leases stay in the history.",
    ),
    cfg.IntOpt(
        "max_body_bytes",
        default=1 << 20,
        min=1024,
        help="Maximum size of a request's body, in bytes.",
    ),
    cfg.IntOpt(
        "max_connections_per_address",
        default=1000,
        min=0,
        help="Maximum number of connections of one address to each listener; 0: unlimited. "
        "Loopback addresses are not limited. Raise it if all clients use one proxy.",
    ),
    cfg.IntOpt(
        "global_physnet_mtu",
        default=1500,
        min=68,
        max=65535,
        help="MTU, in bytes, of networks that are created without one.",
    ),
    cfg.Opt(
        "base_mac",
        type=types.base_mac,
        default="fa:16:3e:00:00:00",
        help="Prefix of generated MACs: the first three octets, and the fourth unless it is 00.",
    ),
    cfg.IntOpt(
        "create_unique_mac_address_attempts",
        default=5,
        min=1,
        help="Maximum number of random MACs that are tried before a port is refused.",
    ),
]

DATABASE_OPTIONS = [
    cfg.StrOpt(
        "connection",
        default="",
        secret=True,
        help="SQLAlchemy URL of the database. Empty: an SQLite file in state_dir. A MySQL URL is "
        "considered nova's own and ignored with a warning.",
    ),
]

QUOTA_OPTIONS = [
    cfg.IntOpt(
        "fixed_ips",
        default=-1,
        min=-1,
        deprecated_name="quota_fixed_ips",
        deprecated_group="DEFAULT",
        help="Maximum number of addresses of one project's ports; -1: unlimited.",
    ),
    *(
        cfg.IntOpt(
            name,
            min=-1,
            deprecated_name=f"quota_{name}",
            deprecated_group="quotas",
            help=f"Maximum number of {plural} of a project without a quota of its own; -1: "
            f"unlimited. None: {usual}, but unlimited with auth_strategy=noauth.",
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
        help="Maximum number of subnet pools of a project without a quota of its own; -1: "
        "unlimited.",
    ),
]
