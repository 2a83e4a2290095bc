"""Identifies the caller before any other processing of a request."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from lessor.api.rest.problems import answer_of, send_json
from lessor.errors import LessorError, Unauthorized

# versions and health: open without a login
OPEN_PATHS = frozenset({"/", "/v3", "/v3/", "/healthz"})
# Headers that only keystonemiddleware's auth_token may set.
_IDENTITY = re.compile(
    rb"x-(service-)?(identity-status|user.*|project.*|tenant.*|domain.*|roles?|service-catalog"
    rb"|is-admin-project|system-scope|openstack-system-scope)|openstack-system-scope"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request.

    Attributes:
        user: its name or id, for messages.
        project_id: its project; "" only without authentication or for an administrator.
        roles: in lower case.
        is_admin: an administrator; sees all projects.
        is_service: another service, such as Nova; sees all projects.
    """

    user: str
    project_id: str = ""
    roles: frozenset[str] = field(default_factory=frozenset)
    is_admin: bool = False
    is_service: bool = False

    @property
    def scope(self) -> str | None:
        """The project whose objects it sees; None: all."""
        return None if self.is_admin or self.is_service else self.project_id


ANYBODY = Caller("anybody", is_admin=True)  # auth_strategy=noauth

_CREDENTIALS = (b"authorization", b"x-auth-token")

Headers = Mapping[bytes, bytes]
Known = Callable[[str, str, Iterable[str]], Caller]  # of user, project and roles


class Authenticator(Protocol):
    """Identifies callers."""

    challenge: str  # the header WWW-Authenticate of a refusal

    def __call__(self, headers: Headers, scope: Scope) -> Awaitable[Caller]:
        """Return the caller of a request.

        Raises:
            Unauthorized: the caller is unknown.
            Unavailable: the caller can't be identified now.
        """


def identified(app: ASGIApp, authenticate: Authenticator | None) -> ASGIApp:
    """Return an app that finds the caller in the state of each request.

    Args:
        app: the wrapped app.
        authenticate: None: every caller is an administrator.
    """

    async def admitted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        plain: Any = scope
        plain["headers"] = [h for h in scope["headers"] if not _IDENTITY.fullmatch(h[0].lower())]
        caller = ANYBODY
        if authenticate is not None and scope["path"] not in OPEN_PATHS:
            try:
                _check_credentials(scope["headers"])
                caller = await authenticate(dict(scope["headers"]), scope)
            except LessorError as error:
                await _refuse(send, error, authenticate.challenge)
                return
        plain.setdefault("state", {})["caller"] = caller
        await app(scope, receive, send)

    return admitted


def _check_credentials(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise Unauthorized for two: a proxy may have checked the other one (RFC 9110, 5.3)."""
    names = [name.lower() for name, _ in headers]
    for name in _CREDENTIALS:
        if names.count(name) > 1:
            raise Unauthorized(f"the header {name.decode().title()} occurs twice; send it once")


async def _refuse(send: Send, error: LessorError, challenge: str) -> None:
    status, body = answer_of(error)
    known = isinstance(error, Unauthorized)
    headers = [(b"www-authenticate", challenge.encode("latin-1"))] if known else []
    await send_json(send, status, body, headers)
