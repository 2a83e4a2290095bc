"""Credentials from OpenStack's environment variables (OS_AUTH_TYPE, OS_USERNAME, ...)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lessor.errors import Unauthorized
from lessor.tls import trust

NONE = ("none", "noauth")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials and endpoint of a client.

    Attributes:
        headers: sent with each request; secret.
        endpoint: URL of the network service, from Keystone or OS_ENDPOINT; None: unknown.
        verify: verification of the server's certificate; True: the default.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    endpoint: str | None = None
    verify: ssl.SSLContext | bool = True


def credentials(environment: Mapping[str, str]) -> Credentials:
    """Return the credentials of the environment; empty without OS_AUTH_TYPE and OS_AUTH_URL.

    Raises:
        Unauthorized: Keystone refuses or doesn't answer, or a variable is missing.
        ConfigError: a certificate can't be read.
    """
    variables = {
        name: value for name, value in environment.items() if name.startswith("OS_") and value
    }
    kind = variables.get("OS_AUTH_TYPE", "password" if "OS_AUTH_URL" in variables else "none")
    verify = _verify(variables)
    if kind in NONE:
        return Credentials(verify=verify)
    from keystoneauth1 import exceptions, loading, session  # noqa: PLC0415 - takes 0.3 s to load

    try:
        loader: Any = loading.get_plugin_loader(kind)
        options = {
            option.dest: variables.get(f"OS_{option.dest.upper()}")
            for option in loader.get_options()
        }
        plugin = loader.load_from_options(**{k: v for k, v in options.items() if v is not None})
        asking = session.Session(auth=plugin, **_certificates(variables))
        headers = plugin.get_headers(asking)
        endpoint = plugin.get_endpoint(
            asking, service_type="network", interface=variables.get("OS_INTERFACE")
        )
    except exceptions.ClientException as error:
        raise Unauthorized(f"OS_AUTH_TYPE={kind}: {error}") from error
    if not headers:
        raise Unauthorized(f"OS_AUTH_TYPE={kind}: Keystone gave no token")
    return Credentials(headers, endpoint, verify)


def _insecure(variables: Mapping[str, str]) -> bool:
    return variables.get("OS_INSECURE", "").lower() in {"1", "true", "yes"}


def _verify(variables: Mapping[str, str]) -> ssl.SSLContext | bool:
    files = [
        Path(variables[name]) if name in variables else None
        for name in ("OS_CACERT", "OS_CERT", "OS_KEY")
    ]
    if not any(files) and not _insecure(variables):
        return True
    return trust(*files, insecure=_insecure(variables))


def _certificates(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the certificate options of keystoneauth's session."""
    cert = (
        (variables["OS_CERT"], variables["OS_KEY"])
        if "OS_KEY" in variables
        else variables.get("OS_CERT")
    )
    return {
        "verify": False if _insecure(variables) else variables.get("OS_CACERT", True),
        "cert": cert,
    }
