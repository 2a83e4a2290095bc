"""The agent's client of the server, or of one of several."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from lessor.agent.server.servers import Servers
from lessor.core.leases import LiveLease
from lessor.core.plan.view import checked
from lessor.errors import Conflict, Invalid, LessorError, NotFound, Unauthorized, Unavailable
from lessor.model import (
    Holdings,
    Lease,
    LeaseBatch,
    MetadataFacts,
    Piece,
    Report,
    ViewAnswer,
    ViewRequest,
)
from lessor.net.address import Address
from lessor.signal import Signal
from lessor.wire import decode, encode

T = TypeVar("T")
QUICK_S = 2.0  # for answers that the start of a DHCP server waits for
AWAY_S = 5.0  # after which servers that gave no such answer are asked again
NOT_FOUND = 404
CALL_S = 10.0  # an answer that isn't a long poll takes no longer
# Of several servers, one that takes longer to accept a connection, or to answer a cheap request (a
# report without news, a ping), is left for the next.
CONNECT_S, HEARTBEAT_S = 3.0, 3.0
REFUSALS: dict[int, type[LessorError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
}


class Client:
    """Calls the agent listener of a server with this host's token.

    Of several, one that can't be reached, is silent or answers 5xx is left for the next within the
    same call: a request may reach two of them. Long polls at the former one follow.

    Args:
        server_urls: where they are, in the order in which they are tried.
        token_file: has the token.
        verify: how a server's certificate is looked at.

    Attributes:
        moved: we speak to another server.
        addresses: at which servers have answered.
    """

    def __init__(
        self, server_urls: Sequence[str], token_file: Path, verify: ssl.SSLContext | bool = True
    ) -> None:
        self._verify = verify
        self._servers = Servers(server_urls)
        self._servers.changed.subscribe(self._changed)
        self._token_file = token_file
        self._http = httpx.AsyncClient(timeout=CALL_S, verify=verify, trust_env=False)
        self._away_until = float("-inf")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._polls: set[asyncio.Timeout] = set()
        self.moved: Signal[[]] = Signal()
        self.addresses: frozenset[Address] = frozenset()

    async def view(self, request: ViewRequest) -> ViewAnswer:
        """Ask for what is newer than the view we have; waits up to `request.wait_s`.

        Raises:
            Invalid: the answer has ids that are none; nothing of it is taken.
        """
        self._loop = asyncio.get_running_loop()
        while True:
            limit = asyncio.timeout(None)
            try:
                async with limit:
                    self._polls.add(limit)
                    return checked(decode(await self._poll(request), ViewAnswer))
            except TimeoutError:  # of `_follow`: we wait at a server that isn't ours any more
                continue
            finally:
                self._polls.discard(limit)

    async def _poll(self, request: ViewRequest) -> bytes:
        """Wait at our server. If it fails, ask another one, which answers at once."""
        ours = self._servers.current
        try:
            return await self._ask(
                ours, "POST", "view", request, timeout_s=request.wait_s + CALL_S, poll=True
            )
        except Unavailable as error:
            return await self._call("POST", "view", replace(request, wait_s=0.0), {ours: error})

    def _changed(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended meanwhile
                self._loop.call_soon_threadsafe(self._follow)

    def _follow(self) -> None:
        for limit in self._polls:
            limit.reschedule(0)
        self._polls.clear()
        self.moved.emit()

    async def report(self, report: Report) -> None:
        """Send a report; where there are several servers, it names the one it is sent to.

        Raises:
            Conflict: another live agent has this host's name.
        """
        if not self._servers.several:
            await self._call("POST", "report", report)
            return
        news = report.has_news

        def signed(url: str) -> Report:
            return replace(report, server=url)

        await self._call("POST", "report", signed, timeout_s=CALL_S if news else HEARTBEAT_S)

    async def tour(self, tour_id: str, pieces: Sequence[Piece]) -> None:
        """Send the status of a network here.

        Raises:
            NotFound: the question has expired.
        """
        await self._call("POST", f"tours/{tour_id}", list(pieces))

    async def leases(self, batch: LeaseBatch) -> int:
        """Send lease events; return the last sequence number that the server has applied."""
        answer = await self._call("POST", "leases", batch)
        return int(msgspec.json.decode(answer)["last_seq"])

    async def holdings(self, held: Holdings) -> None:
        """Report what is in use on this host; an older server that lacks the route is fine."""
        with suppress(NotFound):
            await self._call("POST", "holdings", held)

    async def leases_of(self, network_id: str) -> list[Lease]:
        """Return the live leases of a network, of all its DHCP servers: one an address.

        Raises:
            NotFound: there is no such network, or this host takes no part in it.
        """
        return decode(
            await self._call("GET", "leases", params={"network": network_id}), list[Lease]
        )

    async def metadata(self, networks: Sequence[str], address: Address) -> MetadataFacts | None:
        """Return the facts of the VM with `address` on one of `networks`; None: there is none."""
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
        """Close the connections."""
        await self._http.aclose()
        self._quick.close()

    def reachable(self) -> bool:
        """Return whether a server answers now; waits 2 s for each at most. For threads."""
        return any(self._is_there(url) for url in self._servers.order())

    def _is_there(self, url: str) -> bool:
        try:
            with httpx.Client(timeout=2, verify=self._verify, trust_env=False) as http:
                return http.get(f"{url}/agent/v1/ping", headers=self._headers()).is_success
        except (httpx.HTTPError, LessorError):
            return False

    def known_leases(self, networks: Sequence[str]) -> list[LiveLease] | None:
        """Return the live leases of these networks, of all servers. For threads.

        None: no server answers; after that none is asked for a while, since many DHCP servers may
        wait for the answer.
        """
        if time.monotonic() < self._away_until:
            return None
        failed: dict[str, str] = {}
        for url in self._servers.order():
            try:
                found = [live for key in networks for live in self._leases_there(url, key)]
            except (httpx.HTTPError, httpx.InvalidURL, LessorError) as error:
                failed[url] = str(error)
                continue
            self._servers.answered(url, failed, "; ".join(failed.values()))
            return found
        self._away_until = time.monotonic() + AWAY_S
        return None

    def _leases_there(self, url: str, network_id: str) -> list[LiveLease]:
        answer = self._quick.get(
            f"{url}/agent/v1/leases", params={"network": network_id}, headers=self._headers()
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
        failed: Mapping[str, Unavailable] | None = None,
        *,
        params: Any = None,
        timeout_s: float = CALL_S,
    ) -> bytes:
        """Ask one server after the other, but those that have failed, until one answers.

        Raises:
            Unavailable: none does.
            LessorError: it refuses.
        """
        failures = dict(failed or {})
        for url in self._servers.order():
            if url in failures:
                continue
            content = body(url) if callable(body) else body
            try:
                return await self._ask(
                    url, method, name, content, failures, params=params, timeout_s=timeout_s
                )
            except Unavailable as error:
                failures[url] = error
        raise Unavailable(_all(failures)) from next(reversed(failures.values()))

    async def _ask(
        self,
        url: str,
        method: str,
        name: str,
        body: object,
        failed: Mapping[str, Unavailable] | None = None,
        *,
        params: Any = None,
        timeout_s: float,
        poll: bool = False,
    ) -> bytes:
        """Ask one server; from its answer on it is ours, if ours is among those that have failed.

        Raises:
            Unavailable: it can't be reached, is silent or answers 5xx.
            LessorError: it refuses.
        """
        started = time.monotonic()
        connect_s = min(CONNECT_S, timeout_s) if self._servers.several else timeout_s
        asked = self._http.request(
            method,
            f"{url}/agent/v1/{name}",
            content=encode(body) if body is not None else None,
            params=params,
            headers=self._headers() | {"Content-Type": "application/json"},
            timeout=httpx.Timeout(timeout_s, connect=connect_s),
        )
        doubted = self._servers.several and timeout_s > HEARTBEAT_S and not poll
        try:
            answer = await (self._unless_it_hangs(url, asked) if doubted else asked)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            took = time.monotonic() - started
            words = str(error) or type(error).__name__
            raise Unavailable(f"server {url}: {words} (after {took:.1f} s)") from error
        self._note(answer)
        refusal = REFUSALS.get(answer.status_code, Unavailable)
        if answer.is_success or refusal is not Unavailable:
            self._servers.answered(url, failed or {}, _all(failed or {}))
        if answer.is_success:
            return answer.content
        raise refusal(f"server {url}: {answer.status_code}: {_words(answer)}")

    def _note(self, answer: httpx.Response) -> None:
        """Remember the address that an answer came from; IPv6 takes no part in flat networks."""
        stream = answer.extensions.get("network_stream")
        peer: Any = stream.get_extra_info("server_addr") if stream else None
        with suppress(ValueError):
            self.addresses |= {IPv4Address(peer[0])} if peer else set()

    async def _unless_it_hangs(
        self, url: str, asked: Coroutine[Any, Any, httpx.Response]
    ) -> httpx.Response:
        """Wait for an answer that takes long as long as the server answers pings."""
        answer = asyncio.create_task(asked)
        try:
            while not (await asyncio.wait({answer}, timeout=HEARTBEAT_S))[0]:
                ping = f"{url}/agent/v1/ping"
                await self._http.get(ping, headers=self._headers(), timeout=HEARTBEAT_S)
            return answer.result()
        finally:
            answer.cancel()


def _all(failures: Mapping[str, Unavailable]) -> str:
    return "; ".join(str(error) for error in failures.values())


def _words(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["NeutronError"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
