"""Refuses the character NUL in what a client sends: PostgreSQL stores no text that has one."""

from __future__ import annotations

from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from lessor.api.rest.problems import body, send_json
from lessor.errors import Invalid

NUL = "\0"


def check(name: str, value: Any) -> None:
    """Raise Invalid for a value, of whatever JSON type, with a NUL in one of its texts."""
    if _has(value):
        raise Invalid(f"invalid input for {name}: the character NUL can't be stored; leave it out")


def _has(value: Any) -> bool:
    """Tell whether a text in a value has it; without recursion, since clients choose the depth."""
    left = [value]
    while left:
        match left.pop():
            case str() as text if NUL in text:
                return True
            case dict() as texts:
                left += [*texts, *texts.values()]
            case list() | tuple() as several:
                left += several
    return False


def refused_in_queries(app: ASGIApp) -> ASGIApp:
    """Return the app, which then gets no request with a NUL in its query."""

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and (b"%00" in scope["query_string"]):
            words = "the query has the character NUL (%00), which nothing here has; leave it out"
            await send_json(send, 400, body("HTTPBadRequest", words))
            return
        await app(scope, receive, send)

    return checked
