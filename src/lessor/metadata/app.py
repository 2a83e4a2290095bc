"""Answers VMs at 169.254.169.254: who asks, what is known of it, the page it wants.

A bare ASGI application. A VM is known by its address on the networks of the interface that its
request came in through, and by nothing it says of itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import AddressValueError, IPv4Address

import structlog

from lessor.core.metadata import page, root, steps
from lessor.core.metadata_openstack import is_password
from lessor.metadata.cache import FactsCache, Provider
from lessor.metadata.http import (
    BodyTooLargeError,
    ClientGoneError,
    Receive,
    Response,
    Scope,
    Send,
    header,
    read_body,
    refusal,
    send,
)
from lessor.metadata.proxy import NovaProxy
from lessor.model import MetadataFacts
from lessor.settings import AgentSettings

MOST_BODY = 4 * 255  # bytes: nova keeps a password, all that is posted, in four columns of 255
ENTROPY = 512  # bytes of random_seed, as nova's
REQUEST_S = 30.0
QUIET_S = 60.0
READS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class _Asker:
    """The VM that a request is from."""

    networks: tuple[str, ...]
    address: IPv4Address
    facts: MetadataFacts


class MetadataApp:
    """The service: one for the agent, behind all its listeners.

    Args:
        facts: asks the server for the VM with an address on one of some networks; None: unknown.
        set_password: gives the server an instance's password; False: it has one already.
        settings: of the agent.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        *,
        facts: Provider,
        set_password: Callable[[str, str], Awaitable[bool]],
        settings: AgentSettings,
        clock: Callable[[], float],
    ) -> None:
        self._cache = FactsCache(facts, settings.metadata_cache_expiration, clock)
        self._set_password = set_password
        self._domain = settings.dhcp_domain
        self._use_forwarded_for = settings.use_forwarded_for
        self._clock = clock
        self._nova: NovaProxy | None = None
        if settings.metadata_mode == "proxy":
            self._nova = NovaProxy(
                settings.nova_metadata_url, settings.metadata_proxy_shared_secret
            )
        self._ignored_header = False
        self._complaint = ("", 0.0)
        self._log = structlog.get_logger("lessor.metadata")

    async def serve(
        self, networks: tuple[str, ...], scope: Scope, receive: Receive, send_: Send
    ) -> None:
        """Answer one HTTP request that came in from `networks`."""
        try:
            async with asyncio.timeout(REQUEST_S):
                response = await self._answer(networks, scope, receive)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the VM is told to try again
            self._complain(scope, repr(error))
            response = refusal(500, "something failed here; try again", close=True)
        await send(response, send_, head=scope["method"] == "HEAD")

    async def aclose(self) -> None:
        """Close what is open towards Nova."""
        if self._nova is not None:
            await self._nova.aclose()

    def _complain(self, scope: Scope, error: str) -> None:
        """Log an error; the same one at most once a minute, or a VM could fill the log with it."""
        said, at = self._complaint
        now = self._clock()
        if error != said or not 0 <= now - at < QUIET_S:
            self._complaint = (error, now)
            self._log.warning("metadata failed", client=_peer(scope), error=error)

    async def _answer(self, networks: tuple[str, ...], scope: Scope, receive: Receive) -> Response:
        path = steps(scope["path"])
        known = self._known(scope, path)
        if known is not None:
            return known
        address = self._client(scope)
        try:
            facts = await self._cache.get(networks, address) if address else None
        except Exception:  # noqa: BLE001 - any failure of the provider; the cache has logged it
            return refusal(500, "the server can't be asked who this is; try again")
        if facts is None or address is None:
            return refusal(404, "no port has this address here")
        asker = _Asker(networks, address, facts)
        if self._nova is not None:
            return await _proxied(self._nova, asker, scope, receive)
        if scope["method"] == "POST":
            return await self._keep_password(asker, receive)
        return self._page(facts, path)

    def _known(self, scope: Scope, path: tuple[str, ...]) -> Response | None:
        """Return what can be said whoever asks."""
        if self._nova is None and header(scope, "x-instance-id") is not None:
            self._ignore_header(scope)
        allowed = (*READS, "POST") if is_password(path) else READS
        if scope["method"] not in allowed:
            return refusal(405, "", ("allow", ", ".join(allowed)), close=True)
        return None if path or self._nova is not None else Response(200, root().body)

    def _ignore_header(self, scope: Scope) -> None:
        if not self._ignored_header:
            self._ignored_header = True  # once: VMs must not be able to fill the log
            self._log.warning("x-instance-id ignored", client=_peer(scope), metadata_mode="local")

    def _client(self, scope: Scope) -> IPv4Address | None:
        """Return the VM's address: behind a proxy, what the nearest one says, if it is trusted."""
        forwarded = header(scope, "x-forwarded-for") if self._use_forwarded_for else None
        said = forwarded.rpartition(",")[2].strip() if forwarded else _peer(scope)
        try:
            return IPv4Address(said)
        except AddressValueError:
            return None

    def _page(self, facts: MetadataFacts, path: tuple[str, ...]) -> Response:
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        found = page(facts, path, domain=self._domain, today=today, entropy=os.urandom(ENTROPY))
        if found is None:
            return refusal(404, "there is no such path")
        return Response(200, found.body, found.content_type)

    async def _keep_password(self, asker: _Asker, receive: Receive) -> Response:
        instance = asker.facts.instance
        if instance is None:
            return refusal(404, "no instance row keeps a password for this VM", close=True)
        try:
            password = (await read_body(receive, MOST_BODY)).decode()
        except BodyTooLargeError:
            return refusal(400, f"a password has {MOST_BODY} bytes at most", close=True)
        except UnicodeDecodeError:
            return refusal(400, "a password is UTF-8 text")
        if not password:
            return refusal(400, "the password is empty")
        kept = await self._set_password(instance.id, password)
        self._cache.expire(asker.networks, asker.address)
        return Response(200) if kept else refusal(409, "the password was set before")


class Endpoint:
    """The ASGI application of one listener: the service, and the networks that come in there."""

    def __init__(self, app: MetadataApp, networks: tuple[str, ...]) -> None:
        self.networks = networks
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send_: Send) -> None:
        """Serve one request (ASGI 3; HTTP only)."""
        await self._app.serve(self.networks, scope, receive, send_)


def _peer(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else ""


async def _proxied(nova: NovaProxy, asker: _Asker, scope: Scope, receive: Receive) -> Response:
    query = bytes(scope["query_string"])
    target = bytes(scope["raw_path"]) + (b"?" + query if query else b"")
    if not target.startswith(b"/"):
        return refusal(400, "the path has to start with a slash", close=True)
    try:
        body = await read_body(receive, MOST_BODY)
    except BodyTooLargeError:
        return refusal(400, f"a body has {MOST_BODY} bytes at most", close=True)
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
    return await nova.forward(
        asker.facts.port,
        asker.address,
        method=scope["method"],
        target=target,
        headers=headers,
        body=body,
    )
