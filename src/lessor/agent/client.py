"""The agent's line to the server."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from lessor.core.leases import LiveLease
from lessor.errors import Conflict, Invalid, LessorError, NotFound, Unauthorized, Unavailable
from lessor.model import Lease, LeaseBatch, MetadataFacts, Piece, Report, ViewAnswer, ViewRequest
from lessor.wire import decode, encode

T = TypeVar("T")
QUICK_S = 2.0  # for answers that the start of a DHCP server waits for
AWAY_S = 5.0  # for so long a server that gave no such answer isn't asked again
NOT_FOUND = 404
CALL_S = 10.0  # an answer that isn't a long poll takes no longer
REFUSALS: dict[int, type[LessorError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
}


class Client:
    """Calls the agent listener of one server with this host's token.

    Args:
        server_url: where it is.
        token_file: has the token.
        verify: how the server's certificate is looked at.
    """

    def __init__(
        self, server_url: str, token_file: Path, verify: ssl.SSLContext | bool = True
    ) -> None:
        self._verify = verify
        self._url = server_url.rstrip("/")
        self._token_file = token_file
        self._http = httpx.AsyncClient(timeout=CALL_S, verify=verify, trust_env=False)
        self._away_until = float("-inf")

    async def view(self, request: ViewRequest) -> ViewAnswer:
        """Ask for what is newer than the view we have; waits up to `request.wait_s`."""
        answer = await self._call("POST", "view", request, timeout_s=request.wait_s + CALL_S)
        return decode(answer, ViewAnswer)

    async def report(self, report: Report) -> None:
        """Say how this host is.

        Raises:
            Conflict: another live agent has this host's name.
        """
        await self._call("POST", "report", report)

    async def tour(self, tour_id: str, pieces: Sequence[Piece]) -> None:
        """Say how a network is here.

        Raises:
            NotFound: nobody waits for it any more.
        """
        await self._call("POST", f"tours/{tour_id}", list(pieces))

    async def leases(self, batch: LeaseBatch) -> int:
        """Send lease events; return the last sequence number that the server has applied."""
        answer = await self._call("POST", "leases", batch)
        return int(msgspec.json.decode(answer)["last_seq"])

    async def leases_of(self, network_id: str) -> list[Lease]:
        """Return the live leases of a network, whoever's DHCP server gave them: one an address.

        Raises:
            NotFound: there is no such network, or this host takes no part in it.
        """
        return decode(
            await self._call("GET", "leases", params={"network": network_id}), list[Lease]
        )

    async def metadata(self, networks: Sequence[str], address: IPv4Address) -> MetadataFacts | None:
        """Return what is known of the VM with `address` on one of `networks`; None: nothing."""
        query = [*(("network", key) for key in networks), ("address", str(address))]
        try:
            answer = await self._call("GET", "metadata", params=query)
        except NotFound:
            return None
        return decode(answer, MetadataFacts)

    async def set_password(self, instance_id: str, password: str) -> bool:
        """Keep the password that a guest posted; False if it had one already."""
        try:
            await self._call("POST", "password", {"instance_id": instance_id, "password": password})
        except Conflict:
            return False
        return True

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()
        self._quick.close()

    def reachable(self) -> bool:
        """Tell whether the server answers now; waits 2 s at most. For threads."""
        try:
            with httpx.Client(timeout=2, verify=self._verify, trust_env=False) as http:
                return http.get(f"{self._url}/agent/v1/ping", headers=self._headers()).is_success
        except (httpx.HTTPError, LessorError):
            return False

    def known_leases(self, networks: Sequence[str]) -> list[LiveLease] | None:
        """Return the live leases of these networks, whoever gave them. For threads.

        None: the server doesn't answer; after that it isn't asked for a while, since many DHCP
        servers may wait for the answer.
        """
        if time.monotonic() < self._away_until:
            return None
        try:
            return [live for key in networks for live in self._leases_there(key)]
        except (httpx.HTTPError, httpx.InvalidURL, LessorError):
            self._away_until = time.monotonic() + AWAY_S
            return None

    def _leases_there(self, network_id: str) -> list[LiveLease]:
        answer = self._quick.get(
            f"{self._url}/agent/v1/leases", params={"network": network_id}, headers=self._headers()
        )
        if answer.status_code == NOT_FOUND:
            return []
        answer.raise_for_status()
        return [
            LiveLease(one.address, one.mac_address, one.expires_at, one.hostname, one.client_id)
            for one in decode(answer.content, list[Lease])
        ]

    @cached_property
    def _quick(self) -> httpx.Client:
        return httpx.Client(timeout=QUICK_S, verify=self._verify, trust_env=False)

    def _headers(self) -> dict[str, str]:
        try:
            token = self._token_file.read_text().strip()
        except OSError as error:
            raise Unauthorized(
                f"no token for the server in {self._token_file} ({error.strerror}); make one with "
                "'lessor host add' on the server and put it there"
            ) from error
        return {"Authorization": f"Bearer {token}"}

    async def _call(
        self,
        method: str,
        name: str,
        body: object = None,
        *,
        params: Any = None,
        timeout_s: float = CALL_S,
    ) -> bytes:
        started = time.monotonic()
        try:
            answer = await self._http.request(
                method,
                f"{self._url}/agent/v1/{name}",
                content=encode(body) if body is not None else None,
                params=params,
                headers=self._headers() | {"Content-Type": "application/json"},
                timeout=timeout_s,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            took = time.monotonic() - started
            words = str(error) or type(error).__name__
            raise Unavailable(f"server {self._url}: {words} (after {took:.1f} s)") from error
        if answer.is_success:
            return answer.content
        refusal = REFUSALS.get(answer.status_code, Unavailable)
        raise refusal(f"server {self._url}: {answer.status_code}: {_words(answer)}")


def _words(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["NeutronError"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
