"""Options of who may do what, and of TLS."""

from __future__ import annotations

from oslo_config import cfg

from lessor.config import types

# Sections that are handed on as they are to the library that knows their options.
PASSED_ON = ("keystone_authtoken",)

OPTIONS = [
    cfg.StrOpt(
        "auth_strategy",
        default="noauth",
        choices=["noauth", "http_basic", "keystone"],
        help="How callers of the API are known. noauth: nobody is asked, everybody is an "
        "administrator. http_basic: user names and passwords of http_basic_auth_user_file. "
        "keystone: Keystone's tokens, validated as [keystone_authtoken] says, a section that has "
        "the options of keystonemiddleware (auth_type, auth_url, username, password, ...).",
    ),
    cfg.Opt(
        "http_basic_auth_user_file",
        type=types.optional(types.path),
        help="With http_basic: names and bcrypt hashes, a line each, as `htpasswd -B` writes them. "
        "Read again when it changes.",
    ),
    cfg.Opt(
        "http_basic_auth_roles_file",
        type=types.optional(types.path),
        help="With http_basic: lines NAME:PROJECT:ROLE,ROLE with the roles admin, member, reader "
        "and service. Who is not in it may do nothing. None: every user is an administrator.",
    ),
    cfg.IntOpt(
        "auth_cache_time",
        default=300,
        min=0,
        help="Seconds for which a password or a token that was verified is believed without being "
        "verified again. [keystone_authtoken] token_cache_time goes before it.",
    ),
]

POLICY_OPTIONS = [
    cfg.Opt(
        "policy_file",
        type=types.optional(types.path),
        help="Changes to the rules of who may do what, in oslo.policy's form (NAME: RULE, YAML). "
        "Names and defaults: docs/reference/rules.md. Read when the server starts.",
    ),
]

SSL_OPTIONS = [
    cfg.Opt(
        "cert_file",
        type=types.optional(types.path),
        help="Certificate of the server, with those of its authorities behind it (PEM). Set: both "
        "listeners speak TLS.",
    ),
    cfg.Opt("key_file", type=types.optional(types.path), help="Its key (PEM)."),
    cfg.Opt(
        "ca_file",
        type=types.optional(types.path),
        help="Clients of the API need a certificate of one of these authorities (PEM). None: they "
        "need none.",
    ),
    cfg.Opt(
        "agent_ca_file",
        type=types.optional(types.path),
        help="Agents need a certificate of one of these authorities (PEM), besides their token.",
    ),
]

AGENT_OPTIONS = [
    cfg.Opt(
        "server_cafile",
        type=types.optional(types.path),
        help="Authorities that the server's certificate may be of (PEM), with an https server_url. "
        "None: those of the system.",
    ),
    cfg.Opt(
        "server_certfile",
        type=types.optional(types.path),
        help="This host's own certificate (PEM), where the server has agent_ca_file.",
    ),
    cfg.Opt("server_keyfile", type=types.optional(types.path), help="Its key (PEM)."),
    cfg.BoolOpt(
        "server_insecure",
        default=False,
        help="Don't look at the server's certificate. Whoever answers then gets the host's token.",
    ),
]
