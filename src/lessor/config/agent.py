"""Options of `lessor agent`: who it is, whom it asks, how often."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.Opt(
        "host",
        type=types.optional(types.host_name),
        sample_default="<this machine's host name>",
        help="Name of this host. Ports are bound to it by this name, and its token was made "
        "for it.",
    ),
    cfg.Opt(
        "my_ip",
        type=types.optional(types.ipv4),
        sample_default="<address of the interface with the default route>",
        help="Address of this host that others reach it at.",
    ),
    cfg.ListOpt(
        "server_url",
        item_type=types.http_url,
        default=["http://127.0.0.1:9697"],
        help="Where the server listens for agents (its agent_listen). Several servers on one "
        "PostgreSQL database: all of them, with commas between them, in the order in which they are "
        "tried. The agent stays with one as long as it answers.",
    ),
    cfg.Opt(
        "token_file",
        type=types.path,
        default="$state_dir/agent-token",
        help="File with this host's token, as `lessor host add` printed it. Mode 0600.",
    ),
    cfg.FloatOpt(
        "report_interval",
        default=4.0,
        min=0.1,
        help="Seconds between reports to the server while nothing happens. Two of them must fit "
        "into dhcp_down_time.",
    ),
    cfg.FloatOpt(
        "resync_interval",
        default=30.0,
        min=0.1,
        help="Seconds between full looks at the host while nothing happens.",
    ),
]
