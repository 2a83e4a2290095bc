"""Answers the requests of VMs at 169.254.169.254 with the agent's data.

A bare ASGI application, in the guest process. The agent identifies the VM by the MAC and the
address of its connection; nothing in a request identifies it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from lessor.core.metadata.openstack import is_password
from lessor.core.metadata.pages import page, root, steps
from lessor.metadata import tokens
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
from lessor.metadata.messages import MOST_BODY, Settings
from lessor.model import MetadataFacts

ENTROPY = 512  # bytes of random_seed, as in nova
REQUEST_S = 30.0
READS = ("GET", "HEAD")


class Asking(Protocol):
    """Requests to the agent about one connection.

    `forwarded`: the last address of X-Forwarded-For, if that header is trusted.
    """

    async def facts(self, forwarded: str | None) -> MetadataFacts | Response:
        """Return the VM's rows, or an error response for it."""

    async def keep_password(self, password: str, forwarded: str | None) -> Response:
        """Store the VM's password."""

    async def nova(
        self,
        method: str,
        target: bytes,
        headers: dict[str, str],
        body: bytes,
        forwarded: str | None,
    ) -> Response:
        """Return Nova's response to a request of the VM; header names are lower case."""

    def note(self, event: str, text: str = "") -> None:
        """Log an event: `failed`, `x-instance-id`."""


class GuestApp:
    """The metadata service, for all connections.

    Args:
        settings: settings of the service.
        clock: seconds since 1970.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._domain = settings.domain
        self._use_forwarded_for = settings.use_forwarded_for
        self._proxy = settings.proxy
        self._clock = clock

    async def serve(self, asking: Asking, scope: Scope, receive: Receive, send_: Send) -> None:
        """Answer one HTTP request."""
        try:
            async with asyncio.timeout(REQUEST_S):
                response = await self._answer(asking, scope, receive)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 - after any error the VM can try again
            asking.note("failed", repr(error))
            response = refusal(500, "something failed here; try again", close=True)
        await send(response, send_, head=scope["method"] == "HEAD")

    async def _answer(self, asking: Asking, scope: Scope, receive: Receive) -> Response:
        path = steps(scope["path"])
        if not self._proxy and header(scope, "x-instance-id") is not None:
            asking.note("x-instance-id")
        allowed = self._allowed(path)
        if scope["method"] not in allowed:
            return refusal(405, "", ("allow", ", ".join(allowed)), close=True)
        if self._proxy:
            return await self._proxied(asking, scope, receive)
        if not path:  # the same for every VM, also for an unknown one
            return Response(200, root().body)
        if scope["method"] == "POST":
            return await self._keep_password(asking, scope, receive)
        return await self._told(asking, path, scope, receive)

    def _allowed(self, path: tuple[str, ...]) -> tuple[str, ...]:
        if not self._proxy and path == tokens.PATH:
            return (tokens.METHOD,)
        return (*READS, "POST") if is_password(path) else READS

    async def _told(
        self, asking: Asking, path: tuple[str, ...], scope: Scope, receive: Receive
    ) -> Response:
        facts = await asking.facts(self._forwarded(scope))
        if isinstance(facts, Response):
            return facts
        return await _token(scope, receive) if path == tokens.PATH else self._page(facts, path)

    def _page(self, facts: MetadataFacts, path: tuple[str, ...]) -> Response:
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        found = page(facts, path, domain=self._domain, today=today, entropy=os.urandom(ENTROPY))
        if found is None:
            return refusal(404, "there is no such path")
        return Response(200, found.body, found.content_type)

    async def _keep_password(self, asking: Asking, scope: Scope, receive: Receive) -> Response:
        try:
            password = (await read_body(receive, MOST_BODY)).decode()
        except BodyTooLargeError:
            return refusal(400, f"a password has {MOST_BODY} bytes at most", close=True)
        except UnicodeDecodeError:
            return refusal(400, "a password is UTF-8 text")
        if not password:
            return refusal(400, "the password is empty")
        return await asking.keep_password(password, self._forwarded(scope))

    async def _proxied(self, asking: Asking, scope: Scope, receive: Receive) -> Response:
        query = bytes(scope["query_string"])
        target = bytes(scope["raw_path"]) + (b"?" + query if query else b"")
        if not target.startswith(b"/"):
            return refusal(400, "the path has to start with a slash", close=True)
        try:
            body = await read_body(receive, MOST_BODY)
        except BodyTooLargeError:
            return refusal(400, f"a body has {MOST_BODY} bytes at most", close=True)
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        return await asking.nova(scope["method"], target, headers, body, self._forwarded(scope))

    def _forwarded(self, scope: Scope) -> str | None:
        """Return the address from the nearest proxy, if proxies are trusted."""
        said = header(scope, "x-forwarded-for") if self._use_forwarded_for else None
        return None if said is None else said.rpartition(",")[2].strip()[:64]


async def _token(scope: Scope, receive: Receive) -> Response:
    try:
        await read_body(receive, 0)
    except BodyTooLargeError:
        return refusal(400, "a request for a token has no body", close=True)
    return tokens.issue(scope)
