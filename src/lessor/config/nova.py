"""Options of what the server tells a compute API, by the names that Neutron has for them."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.BoolOpt(
        "notify_nova_on_port_status_changes",
        default=True,
        help="Tell the compute API of [nova] when a VM's port becomes ACTIVE (network-vif-plugged) "
        "or stops being so (network-vif-unplugged).",
    ),
    cfg.BoolOpt(
        "notify_nova_on_port_data_changes",
        default=True,
        help="Tell the compute API of [nova] when addresses of a VM's port change "
        "(network-changed) or the port is deleted (network-vif-deleted).",
    ),
]

NOVA_OPTIONS = [
    cfg.StrOpt(
        "auth_type",
        default="password",
        choices=["none", "http_basic", "password", "v3password", "v3applicationcredential"],
        deprecated_name="auth_plugin",
        help="How the server says who it is to the compute API, by keystoneauth1's names.",
    ),
    cfg.Opt(
        "auth_url",
        type=types.optional(types.http_url),
        help="Keystone, which knows where the compute API is. Neither this nor endpoint_override: "
        "nobody is told anything.",
    ),
    cfg.Opt(
        "endpoint_override",
        type=types.optional(types.http_url),
        help="The compute API itself, such as http://controller:8774/v2.1.",
    ),
    cfg.StrOpt("username", default="", help="Who the server is there."),
    cfg.StrOpt("password", default="", secret=True, help="Its password."),
    cfg.StrOpt("user_domain_name", default="", help="The domain of the user."),
    cfg.StrOpt("user_domain_id", default="", help="The domain of the user, by its id."),
    cfg.StrOpt("project_name", default="", help="The project that it acts in."),
    cfg.StrOpt("project_domain_name", default="", help="The domain of the project."),
    cfg.StrOpt("project_domain_id", default="", help="The domain of the project, by its id."),
    cfg.StrOpt("application_credential_id", default="", help="Instead of a password."),
    cfg.StrOpt("application_credential_secret", default="", secret=True, help="Its secret."),
    cfg.StrOpt("region_name", default="", help="Of the compute API, where Keystone has several."),
    cfg.StrOpt(
        "endpoint_type",
        default="public",
        choices=["public", "internal", "admin"],
        help="Which of the compute API's endpoints.",
    ),
    cfg.StrOpt("cafile", default="", help="Certificates that its own must come from."),
    cfg.StrOpt("certfile", default="", help="Certificate of the server as a client."),
    cfg.StrOpt("keyfile", default="", help="The key of certfile."),
    cfg.BoolOpt("insecure", default=False, help="Don't look at its certificate."),
    cfg.IntOpt("timeout", default=10, min=1, help="Seconds that an answer may take."),
]
