"""Options of the metadata service (169.254.169.254)."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.StrOpt(
        "metadata_mode",
        default="local",
        choices=["local", "proxy"],
        help="local: the agent answers with the server's data. proxy: requests are forwarded to "
        "nova_metadata_url with signed headers that identify the VM.",
    ),
    cfg.Opt(
        "metadata_host",
        type=types.optional(types.ipv4),
        sample_default="<this agent answers>",
        help="Address to which packets to 169.254.169.254:80 are redirected instead of this host's "
        "agent. The value of my_ip means this host's agent.",
    ),
    cfg.PortOpt(
        "metadata_port",
        default=8775,
        min=1,
        help="Port of the metadata service.",
    ),
    cfg.IntOpt(
        "metadata_workers",
        default=1,
        min=1,
        help="Processes that answer metadata requests.",
    ),
    cfg.Opt(
        "nova_metadata_url",
        type=types.http_url,
        default="http://127.0.0.1:8775",
        help="Nova's metadata API, for metadata_mode = proxy.",
    ),
]

API_OPTIONS = [
    cfg.BoolOpt(
        "use_forwarded_for",
        default=False,
        deprecated_group="DEFAULT",
        help="Trust X-Forwarded-For as the address of the VM. Only behind a proxy that sets it.",
    ),
    cfg.IntOpt(
        "metadata_cache_expiration",
        default=15,
        min=0,
        deprecated_group="DEFAULT",
        help="Seconds for which the answers to a VM are cached; 0: no cache.",
    ),
]

NEUTRON_OPTIONS = [
    cfg.StrOpt(
        "metadata_proxy_shared_secret",
        default="",
        secret=True,
        help="Key that signs the headers of metadata_mode = proxy; the same as in nova.",
    ),
]
