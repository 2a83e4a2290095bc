"""HTTP responses and bodies for the metadata service, on bare ASGI.

No framework: the service runs on every host, and a framework costs memory there.
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
    """A request's body exceeds the maximum."""


class ClientGoneError(Exception):
    """The client closed its connection before the request was complete."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response. `close`: the request isn't read to its end, so the connection is closed."""

    status: int
    body: bytes = b""
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = field(default=())
    close: bool = False


def refusal(status: int, why: str = "", *headers: tuple[str, str], close: bool = False) -> Response:
    """Return an error response with a sentence for the reader of a VM's boot log."""
    words = why or HTTPStatus(status).phrase.lower()
    return Response(status, f"{status} {words}\n".encode(), headers=headers, close=close)


def header(scope: Scope, name: str) -> str | None:
    """Return the last value of a header (from the nearest proxy); None: no such header."""
    wanted = name.lower().encode()
    values = [value for key, value in scope["headers"] if key.lower() == wanted]
    return values[-1].decode("latin-1") if values else None


async def read_body(receive: Receive, most: int) -> bytes:
    """Read a request's body.

    Raises:
        BodyTooLargeError: it has more than `most` bytes; the rest is unread.
        ClientGoneError: the client closed its connection.
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
    """Send a response; for HEAD without its body, but with the body's length."""
    headers = [
        (b"content-type", response.content_type.encode("latin-1")),
        (b"content-length", str(len(response.body)).encode()),
        *((name.encode(), value.encode("latin-1")) for name, value in response.headers),
    ]
    if response.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else response.body})
