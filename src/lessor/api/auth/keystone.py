"""auth_strategy=keystone: tokens, validated by keystonemiddleware's auth_token.

auth_token is a filter of WSGI applications; what it does with a request, `process_request`, needs
no application behind it. It is called with a request of the caller's headers in a thread, and tells
in that request's headers who calls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import structlog
import webob.exc
from keystoneauth1 import exceptions as ksa
from keystoneauth1 import loading
from keystonemiddleware import auth_token
from keystonemiddleware.auth_token import _exceptions, _request  # what its filter works with
from litestar.types import Scope
from oslo_config import cfg

from lessor.api.auth.caller import Caller, Headers, Known
from lessor.api.auth.remembered import Remembered
from lessor.errors import ConfigError, Forbidden, Unauthorized, Unavailable

GROUP = "keystone_authtoken"
NEEDED = ("auth_type", "auth_url")
CACHE = "lessor.no_cache"  # where auth_token looks for a cache of ours
log = structlog.get_logger("lessor.api.auth.keystone")


class _NoCache:
    """Keeps nothing. Without one auth_token keeps tokens in memory, and warns that it does."""

    def get(self, _: str) -> None:
        """Know nothing."""

    def set(self, *_: Any, **_more: Any) -> None:
        """Forget it."""


class Keystone:
    """Knows people by the header `X-Auth-Token`.

    Args:
        section: [keystone_authtoken] as it is in the settings file.
        known: makes a caller.
        longest_s: how long a validated token is remembered, and so believed after it was revoked;
            token_cache_time of the section goes before it.

    Raises:
        ConfigError: the section lacks something or has a wrong value.
    """

    def __init__(self, section: Mapping[str, str], known: Known, longest_s: float) -> None:
        if missing := [name for name in NEEDED if not section.get(name)]:
            raise ConfigError(
                f"auth_strategy=keystone needs [{GROUP}] {', '.join(missing)}, and the credentials "
                "of this service's own user"
            )
        self._filter = _filter(section)
        self._make = known
        self.challenge = (
            f'Keystone uri="{section.get("www_authenticate_uri", section["auth_url"])}"'
        )
        self._remembered = Remembered(float(section.get("token_cache_time", longest_s)))

    async def __call__(self, headers: Headers, scope: Scope) -> Caller:
        """Return who calls; see `Authenticator`."""
        names = (b"x-auth-token", b"x-service-token")
        token, service = (headers.get(name, b"").strip() for name in names)
        if not token:
            raise Unauthorized("there is no token; ask Keystone for one (header X-Auth-Token)")

        asked: Any = scope

        async def verify() -> tuple[Caller, float]:
            return await asyncio.to_thread(self._verified, token, service, asked)

        line = (asked["client"] or ("",))[0]
        return await self._remembered.caller(token + b"\n" + service, verify, (line, token))

    def _verified(
        self, token: bytes, service: bytes, asked: Mapping[str, Any]
    ) -> tuple[Caller, float]:
        headers = {"X-Auth-Token": token.decode("latin-1")}
        if service:
            headers["X-Service-Token"] = service.decode("latin-1")
        request: Any = _request._AuthTokenRequest.blank(  # noqa: SLF001 - as its filter makes it
            quote(asked["path"]), method=asked["method"], headers=headers
        )
        request.environ[CACHE] = _NoCache()
        try:
            self._filter.process_request(request)
        except webob.exc.HTTPUnauthorized:
            raise Unauthorized("Keystone does not know the token, or it has expired") from None
        except (webob.exc.HTTPException, _exceptions.ServiceError, ksa.ClientException) as error:
            log.warning("keystone can't be asked", error=str(error))
            raise Unavailable("Keystone can't be asked about the token now; try again") from None
        return self._caller(request.headers), _for_s(request.token_info["token"])

    def _caller(self, said: Mapping[str, str]) -> Caller:
        project, system = said.get("X-Project-Id"), said.get("OpenStack-System-Scope")
        if not project and system != "all":
            raise Forbidden("the token is of no project; ask Keystone for one that is")
        roles = said.get("X-Roles", "").split(",")
        return self._make(said["X-User-Id"], project or "", roles)


def _for_s(token: Mapping[str, Any]) -> float:
    """Return how long a token may be remembered, in seconds.

    One whose application credential is for some requests only is looked at anew with each.
    """
    if (token.get("application_credential") or {}).get("access_rules") is not None:
        return 0.0
    return datetime.fromisoformat(token["expires_at"]).timestamp() - time.time()


def _filter(section: Mapping[str, str]) -> Any:
    """Return auth_token's filter, with its settings in a space of their own."""
    conf = cfg.ConfigOpts()
    conf([], project="lessor", default_config_files=[], default_config_dirs=[])
    try:
        loading.register_auth_conf_options(conf, GROUP)
        for group, options in auth_token.list_opts():
            conf.register_opts(options, group=group)
        plugin: Any = loading.get_plugin_loader(section["auth_type"])
        conf.register_opts(loading.get_auth_plugin_conf_options(plugin), group=GROUP)
        _fill(conf, section)
        return auth_token.AuthProtocol(None, {"oslo_config_config": conf})
    except (cfg.Error, ksa.ClientException, ValueError) as error:
        raise ConfigError(f"[{GROUP}]: {error}") from error


def _fill(conf: Any, section: Mapping[str, str]) -> None:
    unknown = []
    for name, value in section.items():
        try:
            conf.set_override(name, value, GROUP)
        except cfg.NoSuchOptError:
            unknown.append(name)
        except ValueError as error:
            raise ConfigError(f"[{GROUP}] {name}: {type(error).__name__}") from None
    if unknown:
        log.warning("options ignored", section=GROUP, options=", ".join(unknown))
    if not section.get("memcached_servers"):
        conf.set_override("cache", CACHE, GROUP)  # we remember by ourselves, and hash
