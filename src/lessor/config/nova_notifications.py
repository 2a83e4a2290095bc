"""Options of notifications to a compute API, with Neutron's names."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

OPTIONS = [
    cfg.BoolOpt(
        "notify_nova_on_port_status_changes",
        default=True,
        help="Notify the compute API of [nova] when a VM's port becomes ACTIVE "
        "(network-vif-plugged) or is no longer ACTIVE (network-vif-unplugged).",
    ),
    cfg.BoolOpt(
        "notify_nova_on_port_data_changes",
        default=True,
        help="Notify the compute API of [nova] when addresses of a VM's port change "
        "(network-changed) or the port is deleted (network-vif-deleted).",
    ),
]

NOVA_OPTIONS = [
    cfg.StrOpt(
        "auth_type",
        default="password",
        choices=["none", "http_basic", "password", "v3password", "v3applicationcredential"],
        deprecated_name="auth_plugin",
        help="Authentication plug-in for the compute API, by keystoneauth1's names.",
    ),
    cfg.Opt(
        "auth_url",
        type=types.optional(types.http_url),
        help="URL of Keystone, whose catalog has the compute API. Without this and "
        "endpoint_override there are no notifications.",
    ),
    cfg.Opt(
        "endpoint_override",
        type=types.optional(types.http_url),
        help="URL of the compute API, such as http://controller:8774/v2.1.",
    ),
    cfg.StrOpt("username", default="", help="User name of the server there."),
    cfg.StrOpt("password", default="", secret=True, help="Password of the user."),
    cfg.StrOpt("user_domain_name", default="", help="Domain of the user."),
    cfg.StrOpt("user_domain_id", default="", help="Domain of the user, by its id."),
    cfg.StrOpt("project_name", default="", help="Project of the server there."),
    cfg.StrOpt("project_domain_name", default="", help="Domain of the project."),
    cfg.StrOpt("project_domain_id", default="", help="Domain of the project, by its id."),
    cfg.StrOpt(
        "application_credential_id", default="", help="Credential instead of a user and password."
    ),
    cfg.StrOpt(
        "application_credential_secret",
        default="",
        secret=True,
        help="Secret of application_credential_id.",
    ),
    cfg.StrOpt("region_name", default="", help="Region of the compute API, if there are several."),
    cfg.StrOpt(
        "endpoint_type",
        default="public",
        choices=["public", "internal", "admin"],
        help="Interface of the compute API's endpoint.",
    ),
    cfg.StrOpt("cafile", default="", help="Authorities of the compute API's certificate."),
    cfg.StrOpt("certfile", default="", help="Client certificate of the server."),
    cfg.StrOpt("keyfile", default="", help="Key of certfile."),
    cfg.BoolOpt("insecure", default=False, help="Don't verify the compute API's certificate."),
    cfg.IntOpt("timeout", default=10, min=1, help="Timeout of a request, in seconds."),
]
