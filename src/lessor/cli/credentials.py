"""Who asks: what OpenStack's clients read from the environment (OS_AUTH_TYPE, OS_USERNAME, ...)."""

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
    """What a client sends with each request, and where to.

    Attributes:
        headers: who asks; secret.
        endpoint: of the network service, as Keystone or OS_ENDPOINT tells it; None: not told.
        verify: how a server's certificate is looked at; True: as usual.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    endpoint: str | None = None
    verify: ssl.SSLContext | bool = True


def credentials(environment: Mapping[str, str]) -> Credentials:
    """Return what the environment says; without OS_AUTH_TYPE and OS_AUTH_URL, of nobody.

    Raises:
        Unauthorized: Keystone refuses, doesn't answer, or something is missing.
        ConfigError: a certificate can't be read.
    """
    told = {name: value for name, value in environment.items() if name.startswith("OS_") and value}
    kind = told.get("OS_AUTH_TYPE", "password" if "OS_AUTH_URL" in told else "none")
    verify = _verify(told)
    if kind in NONE:
        return Credentials(verify=verify)
    from keystoneauth1 import exceptions, loading, session  # noqa: PLC0415 - takes 0.3 s to load

    try:
        loader: Any = loading.get_plugin_loader(kind)
        options = {
            option.dest: told.get(f"OS_{option.dest.upper()}") for option in loader.get_options()
        }
        plugin = loader.load_from_options(**{k: v for k, v in options.items() if v is not None})
        asking = session.Session(auth=plugin, **_certificates(told))
        headers = plugin.get_headers(asking)
        endpoint = plugin.get_endpoint(
            asking, service_type="network", interface=told.get("OS_INTERFACE")
        )
    except exceptions.ClientException as error:
        raise Unauthorized(f"OS_AUTH_TYPE={kind}: {error}") from error
    if not headers:
        raise Unauthorized(f"OS_AUTH_TYPE={kind}: Keystone gave no token")
    return Credentials(headers, endpoint, verify)


def _insecure(told: Mapping[str, str]) -> bool:
    return told.get("OS_INSECURE", "").lower() in {"1", "true", "yes"}


def _verify(told: Mapping[str, str]) -> ssl.SSLContext | bool:
    files = [
        Path(told[name]) if name in told else None for name in ("OS_CACERT", "OS_CERT", "OS_KEY")
    ]
    if not any(files) and not _insecure(told):
        return True
    return trust(*files, insecure=_insecure(told))


def _certificates(told: Mapping[str, str]) -> dict[str, Any]:
    """Return the same for keystoneauth's session."""
    cert = (told["OS_CERT"], told["OS_KEY"]) if "OS_KEY" in told else told.get("OS_CERT")
    return {"verify": False if _insecure(told) else told.get("OS_CACERT", True), "cert": cert}
