"""A thin client of the API: returns rows as the server sends them, raises our errors.

A row is the JSON object of a resource, unchanged: fields of a newer server are kept.
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
}  # resources whose path differs from their plural

Row = dict[str, Any]


class Client:
    """A client of one server.

    Args:
        url: base URL of its API, without "/v2.0".
        timeout_s: for each request, in seconds.
        transport: replaces the network, for tests.
        headers: sent with each request, such as credentials.
        verify: verification of the server's certificate, as for httpx.

    All calls raise `Unavailable` without an answer, and the class in ERRORS for an HTTP error.
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
            raise Invalid(f"{url!r} is not the URL of a server: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._http.close()

    def list(self, plural: str, filters: Mapping[str, object] | None = None) -> list[Row]:
        """Return the rows of a resource; a filter of None is ignored."""
        wanted = {name: _text(v) for name, v in (filters or {}).items() if v is not None}
        rows: list[Row] = self._ask("GET", [plural], params=wanted)[plural]
        return rows

    def show(self, plural: str, key: str) -> Row:
        """Return one row by its id (for a host: its name)."""
        return self._one(plural, self._ask("GET", [plural, key]))

    def create(self, plural: str, body: Row) -> Row:
        """Create one row and return it."""
        return self._one(plural, self._ask("POST", [plural], json={SINGULAR[plural]: body}))

    def create_many(self, plural: str, bodies: Sequence[Row]) -> Sequence[Row]:
        """Create several rows, all or none, and return them."""
        rows: list[Row] = self._ask("POST", [plural], json={plural: bodies})[plural]
        return rows

    def update(self, plural: str, key: str, body: Row) -> Row:
        """Update one row and return it."""
        return self._one(plural, self._ask("PUT", [plural, key], json={SINGULAR[plural]: body}))

    def renew_token(self, host: str) -> Row:
        """Create a new token for a host; return the host's row with the token."""
        return self._one("hosts", self._ask("POST", ["hosts", host, "token"]))

    def tour(self, network_id: str) -> Row:
        """Return the state of a network on each of its hosts."""
        row: Row = self._ask("GET", ["networks", network_id, "tour"])["tour"]
        return row

    def bind(self, port_id: str, host: str, profile: Row) -> Row:
        """Create an inactive binding of a port to another host; return it."""
        body = {"binding": {"host": host, "profile": profile}}
        row: Row = self._ask("POST", ["ports", port_id, "bindings"], json=body)["binding"]
        return row

    def activate(self, port_id: str, host: str) -> Row:
        """Make an inactive binding the active one; return it."""
        path = ["ports", port_id, "bindings", host, "activate"]
        row: Row = self._ask("PUT", path)["binding"]
        return row

    def unbind(self, port_id: str, host: str) -> None:
        """Delete an inactive binding."""
        self._ask("DELETE", ["ports", port_id, "bindings", host])

    def delete(self, plural: str, *key: str) -> None:
        """Delete one row; the key of an address is its network's id and the address."""
        self._ask("DELETE", [plural, *key])

    def find(self, plural: str, key: str) -> Row:
        """Return the row with this id or, if there is none, with this name.

        Raises:
            NotFound: no row matches.
            Conflict: several rows have the name; the message lists their ids.
        """
        rows = self.list(plural, {"id": key}) or self.list(plural, {"name": key})
        what = SINGULAR[plural]
        if not rows:
            command = what.replace("_", "-")
            raise NotFound(f"there is no {what} {key!r}; see `lessor {command} list`")
        if len(rows) > 1:
            ids = ", ".join(str(row["id"]) for row in rows)
            raise Conflict(f"{len(rows)} {plural} have the name {key!r}; give an id: {ids}")
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
                "give its URL with --server or LESSOR_SERVER"
            ) from error
        if response.is_success:
            return dict(response.json()) if response.content else {}
        raise _error(response)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _error(response: httpx.Response) -> LessorError:
    kind = ERRORS.get(response.status_code, LessorError)
    try:
        body = response.json()["NeutronError"]
        return kind(str(body["message"]), type_=str(body["type"]))
    except (ValueError, KeyError, TypeError):
        asked = f"{response.request.method} {response.request.url}"
        return kind(f"{asked}: status {response.status_code} without a reason")
