"""Options of authentication, authorization and TLS."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

# Sections that are passed on unchanged to the library that defines their options.
PASSED_ON = ("keystone_authtoken",)

OPTIONS = [
    cfg.StrOpt(
        "auth_strategy",
        default="noauth",
        choices=["noauth", "http_basic", "keystone"],
        help="Authentication of API callers. noauth: none; every caller is an administrator. "
        "http_basic: user names and passwords of http_basic_auth_user_file. keystone: Keystone's "
        "tokens, validated with the section [keystone_authtoken], which has the options of "
        "keystonemiddleware (auth_type, auth_url, username, password, ...).",
    ),
    cfg.Opt(
        "http_basic_auth_user_file",
        type=types.optional(types.path),
        help="With http_basic: file of user names and bcrypt hashes, one user a line, as written "
        "by `htpasswd -B`. It is reloaded when it changes.",
    ),
    cfg.Opt(
        "http_basic_auth_roles_file",
        type=types.optional(types.path),
        help="With http_basic: file of lines NAME:PROJECT:ROLE,ROLE with the roles admin, member, "
        "reader and service. A user without a line may do nothing. None: every user is an "
        "administrator.",
    ),
    cfg.IntOpt(
        "auth_cache_time",
        default=300,
        min=0,
        help="Seconds for which a verified password or token is cached. "
        "[keystone_authtoken] token_cache_time takes precedence.",
    ),
]

POLICY_OPTIONS = [
    cfg.Opt(
        "policy_file",
        type=types.optional(types.path),
        help="File of changed authorization rules, in oslo.policy's format (NAME: RULE, YAML). "
        "Names and defaults: docs/reference/rules.md. Read when the server starts.",
    ),
]

SSL_OPTIONS = [
    cfg.Opt(
        "cert_file",
        type=types.optional(types.path),
        help="Certificate of the server, followed by those of its authorities (PEM). If set, both "
        "listeners use TLS.",
    ),
    cfg.Opt("key_file", type=types.optional(types.path), help="Key of cert_file (PEM)."),
    cfg.Opt(
        "ca_file",
        type=types.optional(types.path),
        help="Authorities of client certificates (PEM): clients of the API need one. None: clients "
        "need no certificate.",
    ),
    cfg.Opt(
        "agent_ca_file",
        type=types.optional(types.path),
        help="Authorities of agents' certificates (PEM): agents need one besides their token. "
        "None: agents need no certificate.",
    ),
]

AGENT_OPTIONS = [
    cfg.Opt(
        "server_cafile",
        type=types.optional(types.path),
        help="Authorities of the server's certificate (PEM), with an https server_url. None: those "
        "of the system.",
    ),
    cfg.Opt(
        "server_certfile",
        type=types.optional(types.path),
        help="Certificate of this host (PEM), if the server has agent_ca_file.",
    ),
    cfg.Opt(
        "server_keyfile", type=types.optional(types.path), help="Key of server_certfile (PEM)."
    ),
    cfg.BoolOpt(
        "server_insecure",
        default=False,
        help="Don't verify the server's certificate. Any program that answers then gets the host's "
        "token.",
    ),
]
