"""A thin client of the API: rows as the server sends them, errors as ours.

A row is the JSON object of a resource, unchanged: what a newer server says more is there too.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from lessor.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LessorError,
    NotFound,
    Outdated,
    Unauthorized,
    Unavailable,
)

DEFAULT_URL = "http://127.0.0.1:9696"
SINGULAR = {
    "addresses": "address",
    "agents": "agent",
    "hosts": "host",
    "instances": "instance",
    "leases": "lease",
    "networks": "network",
    "ports": "port",
    "subnets": "subnet",
    "subnetpools": "subnetpool",
    "address_scopes": "address_scope",
    "quotas": "quota",
    "rbac_policies": "rbac_policy",
}
ERRORS: Mapping[int, type[LessorError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Outdated,
    413: Invalid,
    503: Unavailable,
}

PATHS = {
    "address_scopes": "address-scopes",
    "rbac_policies": "rbac-policies",
}  # where a resource isn't at its plural

Row = dict[str, Any]


class Client:
    """Speaks to one server.

    Args:
        url: where its API is, without "/v2.0".
        timeout_s: for each request, in seconds.
        transport: another way to it than the network, for tests.
        headers: sent with each request: who asks.
        verify: how the server's certificate is looked at.

    All calls raise `Unavailable` if nobody answers, and the server's refusals as our errors.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout_s: float = 60,
        transport: httpx.BaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self.url = url.rstrip("/")
        try:
            self._http = httpx.Client(
                base_url=self.url,
                timeout=timeout_s,
                transport=transport,
                headers=headers,
                verify=verify,
                trust_env=False,
            )
        except httpx.InvalidURL as error:
            raise Invalid(f"{url!r} is no server's address: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._http.close()

    def list(self, plural: str, filters: Mapping[str, object] | None = None) -> list[Row]:
        """Return the rows of a resource; a filter that is None filters nothing."""
        wanted = {name: _text(v) for name, v in (filters or {}).items() if v is not None}
        rows: list[Row] = self._ask("GET", [plural], params=wanted)[plural]
        return rows

    def show(self, plural: str, key: str) -> Row:
        """Return one row by its id (a host: by its name)."""
        return self._one(plural, self._ask("GET", [plural, key]))

    def create(self, plural: str, body: Row) -> Row:
        """Make one."""
        return self._one(plural, self._ask("POST", [plural], json={SINGULAR[plural]: body}))

    def create_many(self, plural: str, bodies: Sequence[Row]) -> Sequence[Row]:
        """Make several: all or none."""
        rows: list[Row] = self._ask("POST", [plural], json={plural: bodies})[plural]
        return rows

    def update(self, plural: str, key: str, body: Row) -> Row:
        """Change one."""
        return self._one(plural, self._ask("PUT", [plural, key], json={SINGULAR[plural]: body}))

    def renew_token(self, host: str) -> Row:
        """Give a host a new token; return the host with it."""
        return self._one("hosts", self._ask("POST", ["hosts", host, "token"]))

    def tour(self, network_id: str) -> Row:
        """Ask a network's hosts how it is there."""
        row: Row = self._ask("GET", ["networks", network_id, "tour"])["tour"]
        return row

    def bind(self, port_id: str, host: str, profile: Row) -> Row:
        """Prepare a port for a further host; return that binding."""
        body = {"binding": {"host": host, "profile": profile}}
        row: Row = self._ask("POST", ["ports", port_id, "bindings"], json=body)["binding"]
        return row

    def activate(self, port_id: str, host: str) -> Row:
        """Bind a port to a host that it is prepared for; return that binding."""
        path = ["ports", port_id, "bindings", host, "activate"]
        row: Row = self._ask("PUT", path)["binding"]
        return row

    def unbind(self, port_id: str, host: str) -> None:
        """Have a host prepared for a port no longer."""
        self._ask("DELETE", ["ports", port_id, "bindings", host])

    def delete(self, plural: str, *key: str) -> None:
        """Delete one; an address's key is its network's id and itself."""
        self._ask("DELETE", [plural, *key])

    def find(self, plural: str, key: str) -> Row:
        """Return the row with this id or, if there is none, with this name.

        Raises:
            NotFound: there is neither.
            Conflict: several have the name; the message has their ids.
        """
        rows = self.list(plural, {"id": key}) or self.list(plural, {"name": key})
        what = SINGULAR[plural]
        if not rows:
            command = what.replace("_", "-")
            raise NotFound(f"there is no {what} {key!r}; see `lessor {command} list`")
        if len(rows) > 1:
            ids = ", ".join(str(row["id"]) for row in rows)
            raise Conflict(f"{len(rows)} {plural} are called {key!r}; give an id: {ids}")
        return rows[0]

    def _one(self, plural: str, answer: Row) -> Row:
        row: Row = answer[SINGULAR[plural]]
        return row

    def _ask(self, method: str, path: Sequence[str], **request: Any) -> Row:
        parts = [PATHS.get(path[0], path[0]), *path[1:]]
        where = "/v2.0/" + "/".join(quote(part, safe="") for part in parts)
        try:
            response = self._http.request(method, where, **request)
        except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
            raise Unavailable(
                f"no server answers at {self.url} ({error}); start one with `lessor server`, or "
                "say where it is with --server or LESSOR_SERVER"
            ) from error
        if response.is_success:
            return dict(response.json()) if response.content else {}
        raise _error(response)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _error(response: httpx.Response) -> LessorError:
    kind = ERRORS.get(response.status_code, LessorError)
    try:
        said = response.json()["NeutronError"]
        return kind(str(said["message"]), type_=str(said["type"]))
    except (ValueError, KeyError, TypeError):
        asked = f"{response.request.method} {response.request.url}"
        return kind(f"{asked}: status {response.status_code}, and no word why")
