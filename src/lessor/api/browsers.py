"""Refuses what a page of another site can make a browser send to the API.

A browser sends along what it knows of the API: remembered credentials, and with
auth_strategy=noauth its place on this machine. A foreign page can't read the answer, but it can
write: a form or a script may send any body whose type is that of a form or of plain text, and names
its site in `Origin`. By DNS rebinding a foreign name becomes our address, and then the page reads
as well; that takes a name in `Host`, never an address.

Source: the Fetch standard (request's origin; CORS-safelisted content types); RFC 9110 section 7.2
(Host), 15.5.16 (415), 15.5.20 (421).
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from lessor.api.rest.problems import body, send_json
from lessor.settings import ServerSettings

PAGES = "/schema"  # what a browser shows
# No script at all runs in our pages, and nothing is loaded from elsewhere.
PAGE_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; script-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_USUAL_PORTS = (80, 443)
_WRITES = ("POST", "PUT", "PATCH")
_EMPTY = (b"", b"0")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not taken."""

    status: int
    type: str
    message: str


def names_of(settings: ServerSettings) -> frozenset[str] | None:
    """Return the names by which the API may be called besides addresses; None: any.

    With authentication a foreign name is of no use: credentials belong to the name that they were
    given for.
    """
    if settings.auth_strategy != "noauth":
        return None
    return frozenset(
        {
            "localhost",
            socket.gethostname().lower(),
            *(name.lower() for name in settings.server_names),
        }
    )


def guarded(app: ASGIApp, names: Collection[str] | None) -> ASGIApp:
    """Return the app behind the checks of this module.

    Args:
        app: what is behind them.
        names: see `names_of`.
    """

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        refused = refusal(scope["method"], dict(scope["headers"]), names)
        if refused:
            await send_json(send, refused.status, body(refused.type, refused.message))
        elif scope["path"].startswith(PAGES):
            await app(scope, receive, _with_page_headers(send))
        else:
            await app(scope, receive, send)

    return checked


def refusal(
    method: str, headers: Mapping[bytes, bytes], names: Collection[str] | None
) -> Refusal | None:
    """Return why a request with these headers (names in lower case) is not taken; None: it is."""
    host = headers.get(b"host", b"").decode("latin-1")
    if names is not None and host and not _is_ours(host, names):
        return Refusal(
            421,
            "HTTPMisdirectedRequest",
            f"this server does not know the name {_name(host)!r}; call it by its address, or list "
            "the name in server_names",
        )
    origin = headers.get(b"origin")
    if origin is not None and not _same(origin.decode("latin-1"), host):
        return Refusal(
            403, "HTTPForbidden", "a page of another site may not call this API: see Origin"
        )
    if method in _WRITES and _has_body(headers) and not _is_json(headers):
        return Refusal(
            415,
            "HTTPUnsupportedMediaType",
            "the body's Content-Type is not application/json; send JSON and say so",
        )
    return None


def _is_ours(host: str, names: Collection[str]) -> bool:
    name = _name(host)
    if name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    """Return the name or address in a Host header, without port and brackets, in lower case."""
    return (_split(f"//{host}")[0] or host).lower()


def _same(origin: str, host: str) -> bool:
    """Tell whether an origin is what the client calls us; a proxy may speak TLS before us."""
    return bool(host) and _split(origin) == _split(f"//{host}") != (None, None)


def _split(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None, None
    return parts.hostname, None if port in _USUAL_PORTS else port


def _has_body(headers: Mapping[bytes, bytes]) -> bool:
    return headers.get(b"content-length", b"") not in _EMPTY or b"transfer-encoding" in headers


def _is_json(headers: Mapping[bytes, bytes]) -> bool:
    kind = headers.get(b"content-type", b"").partition(b";")[0]
    return kind.strip().lower() == b"application/json"


def _with_page_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            start: Any = message
            start["headers"] = [*start.get("headers", ()), *PAGE_HEADERS]
        await send(message)

    return with_headers
