"""Options of `lessor agent`: its identity, its servers, its intervals."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.Opt(
        "host",
        type=types.optional(types.host_name),
        sample_default="<this machine's host name>",
        help="Name of this host. Ports are bound to it by this name, and its token belongs to it.",
    ),
    cfg.Opt(
        "my_ip",
        type=types.optional(types.ipv4),
        sample_default="<address of the interface with the default route>",
        help="Address of this host for other hosts.",
    ),
    cfg.ListOpt(
        "server_url",
        item_type=types.http_url,
        default=["http://127.0.0.1:9697"],
        help="URL of the server's listener for agents (agent_listen). For several servers on one "
        "PostgreSQL database, list all of them, separated by commas; they are tried in this order. "
        "The agent stays with a server as long as it answers.",
    ),
    cfg.Opt(
        "token_file",
        type=types.path,
        default="$state_dir/agent-token",
        help="File with this host's token, printed by `lessor host add`. Mode 0600.",
    ),
    cfg.FloatOpt(
        "report_interval",
        default=4.0,
        min=0.1,
        help="Seconds between heartbeats to the server. dhcp_down_time must be at least twice as "
        "long.",
    ),
    cfg.FloatOpt(
        "resync_interval",
        default=30.0,
        min=0.1,
        help="Seconds between full resyncs of the host.",
    ),
]
