"""The little of HTTP that the metadata service needs, on bare ASGI.

No framework here: it runs on every host, and its memory counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TEXT = "text/plain"


class BodyTooLargeError(Exception):
    """A request's body is longer than we read."""


class ClientGoneError(Exception):
    """The client closed its connection before its request was whole."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. `close`: the rest of the request isn't read, so the connection has to end."""

    status: int
    body: bytes = b""
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = field(default=())
    close: bool = False


def refusal(status: int, why: str = "", *headers: tuple[str, str], close: bool = False) -> Response:
    """Say no, with a sentence for the person who looks at a VM's boot log."""
    words = why or HTTPStatus(status).phrase.lower()
    return Response(status, f"{status} {words}\n".encode(), headers=headers, close=close)


def header(scope: Scope, name: str) -> str | None:
    """Return the last value of a header (the one the nearest proxy added); None: not there."""
    wanted = name.lower().encode()
    values = [value for key, value in scope["headers"] if key.lower() == wanted]
    return values[-1].decode("latin-1") if values else None


async def read_body(receive: Receive, most: int) -> bytes:
    """Read a request's body.

    Raises:
        BodyTooLargeError: it has more than `most` bytes; the rest is left unread.
        ClientGoneError: the client went away.
    """
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += bytes(message.get("body", b""))
        if len(body) > most:
            raise BodyTooLargeError
        if not message.get("more_body", False):
            return body


async def send(response: Response, send: Send, *, head: bool) -> None:
    """Send a whole response; for HEAD without its body, the length being the body's."""
    headers = [
        (b"content-type", response.content_type.encode("latin-1")),
        (b"content-length", str(len(response.body)).encode()),
        *((name.encode(), value.encode("latin-1")) for name, value in response.headers),
    ]
    if response.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else response.body})
