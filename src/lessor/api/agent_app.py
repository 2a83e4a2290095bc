"""The agents' API, on a listener of its own: views, reports, leases, metadata."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from ipaddress import IPv4Address
from typing import Any, TypeVar

from litestar import Litestar, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, RawBody

from lessor import wire
from lessor.api import agent_bodies
from lessor.api.notifier import Notifier
from lessor.api.rest import problems
from lessor.errors import Conflict, Invalid, NotFound, Unauthorized
from lessor.model import MetadataFacts, ViewAnswer, ViewRequest
from lessor.store import instances as instance_rules
from lessor.store import tours, views
from lessor.store.addresses import holdings as holding_rules
from lessor.store.addresses import leases as lease_rules
from lessor.store.hosts import reports, tokens
from lessor.store.store import Store

LONGEST_WAIT_S = 60.0
LOOKS_AT_ONCE = 2  # of agents woken together: more threads would only stand in each other's way

AnyRequest = Request[Any, Any, Any]
AnyConnection = ASGIConnection[Any, Any, Any, Any]
T = TypeVar("T")


def agents_app(store: Store, notifier: Notifier) -> Litestar:
    """Return the API that agents call, on `settings.agent_listen`."""

    async def known(request: AnyConnection, _: BaseRouteHandler) -> None:
        """Let nobody in without a host's token; nothing of the body is read before."""
        scheme, _space, token = request.headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        host = await asyncio.to_thread(tokens.host_of, store, bearer) if bearer else None
        if host is None:
            raise _stranger()
        request.state.host, request.state.token = host, bearer

    looking = asyncio.Semaphore(LOOKS_AT_ONCE)

    @post("/agent/v1/view", status_code=200, request_max_body_size=agent_bodies.VIEW_BYTES)
    async def view(request: AnyRequest, body: RawBody) -> Response[bytes]:
        """Answer with what concerns the host and is new to it; wait for it if asked to."""
        who = request.state.host, request.state.token
        return await _poll(store, notifier, looking, who, body)

    @post(
        "/agent/v1/report",
        status_code=200,
        sync_to_thread=True,
        request_max_body_size=agent_bodies.REPORT_BYTES,
    )
    def report(request: AnyRequest, body: RawBody) -> Response[bytes]:
        """Take a heartbeat with all that changed."""
        reports.receive(store, request.state.host, agent_bodies.report(body))
        return _json({})

    @post(
        "/agent/v1/tours/{key:str}",
        status_code=204,
        sync_to_thread=True,
        request_max_body_size=agent_bodies.TOUR_BYTES,
    )
    def tour(request: AnyRequest, key: FromPath[str], body: RawBody) -> None:
        """Take what a host says of a network."""
        store.write(tours.answer, request.state.host, key, agent_bodies.pieces(body))

    @get("/agent/v1/ping", sync_to_thread=True)
    def ping(request: AnyRequest) -> Response[bytes]:
        """Say that the server is there and knows the token."""
        return _json({"host": request.state.host, "epoch": store.epoch})

    return Litestar(
        route_handlers=[
            view,
            report,
            tour,
            _holdings(store),
            *_leases(store),
            *_guests(store),
            ping,
        ],
        guards=[known],
        openapi_config=None,
        exception_handlers=problems.HANDLERS,
        request_class=problems.JsonRequest,
        request_max_body_size=agent_bodies.PASSWORD_BYTES,  # of whatever says nothing else
        logging_config=None,
        debug=False,
    )


def _guests(store: Store) -> list[BaseRouteHandler]:
    """Return the routes of what guests ask a host for, and post to it."""

    @get("/agent/v1/metadata", sync_to_thread=True)
    def metadata(
        request: AnyRequest,
        address: FromQuery[str],
        network: FromQuery[list[str] | None] = None,
    ) -> Response[bytes]:
        """Tell who has an address."""
        found = _facts(store, request.state.host, network or [], address)
        return _json(found)

    @post(
        "/agent/v1/password",
        status_code=204,
        sync_to_thread=True,
        request_max_body_size=agent_bodies.PASSWORD_BYTES,
    )
    def password(request: AnyRequest, body: RawBody) -> None:
        """Keep the password of a guest of this host: once."""
        posted = agent_bodies.password(body)
        host = request.state.host
        if not store.write(instance_rules.set_password, host, posted.instance_id, posted.password):
            raise Conflict(f"instance {posted.instance_id} has a password already")

    return [metadata, password]


def _holdings(store: Store) -> BaseRouteHandler:
    @post(
        "/agent/v1/holdings",
        status_code=200,
        sync_to_thread=True,
        request_max_body_size=agent_bodies.HOLDINGS_BYTES,
    )
    def holdings(request: AnyRequest, body: RawBody) -> Response[bytes]:
        """Take what is in use on a host that meets a new epoch."""
        taken = store.write(holding_rules.report, request.state.host, agent_bodies.holdings(body))
        return _json({"taken": taken})

    return holdings


def _leases(store: Store) -> list[BaseRouteHandler]:
    """Return the routes of leases: two methods of one path, run in threads here (see `routes`)."""

    @post("/agent/v1/leases", status_code=200, request_max_body_size=agent_bodies.LEASE_BYTES)
    async def leases(request: AnyRequest, body: RawBody) -> Response[bytes]:
        """Take lease events; the answer says up to which one they are in the store."""

        def apply() -> int:
            return store.write(lease_rules.apply, request.state.host, agent_bodies.leases(body))

        last = await asyncio.to_thread(apply)
        return _json({"last_seq": last})

    @get("/agent/v1/leases")
    async def known_leases(request: AnyRequest, network: FromQuery[str]) -> Response[bytes]:
        """Tell the live leases of a network: a DHCP server that is new to it begins with them."""
        return _json(
            await asyncio.to_thread(store.read, lease_rules.live, request.state.host, network)
        )

    return [leases, known_leases]


async def _poll(
    store: Store,
    notifier: Notifier,
    looking: asyncio.Semaphore,
    who: tuple[str, str],
    body: bytes,
) -> Response[bytes]:
    """Answer as soon as there is something, or with nothing when the wait is over.

    The waiter is there before the first look, so no change falls between look and wait. The body is
    read in the thread of the first look: another thread's turn may take 5 ms of each of a host's
    polls.
    """
    loop = asyncio.get_running_loop()
    came = loop.time()
    asked: ViewRequest | bytes = body
    with notifier.waiting(who[0]) as changed:
        while True:
            changed.clear()
            async with looking:
                found = await asyncio.to_thread(_look, store, who, asked)
            asked, answer, text = found
            left = came + min(max(asked.wait_s, 0.0), LONGEST_WAIT_S) - loop.time()
            if _tells(answer, asked) or left <= 0 or notifier.closed:
                return Response(text, media_type="application/json")
            try:
                await asyncio.wait_for(changed.wait(), left)
            except TimeoutError:
                came = float("-inf")  # one more look, and it is over


def _stranger() -> Unauthorized:
    return Unauthorized(
        "the token is missing or wrong; `lessor host add NAME` makes one, `lessor host token NAME` "
        "another one"
    )


def _look(
    store: Store, who: tuple[str, str], asked: ViewRequest | bytes
) -> tuple[ViewRequest, ViewAnswer, bytes]:
    """Return what there is for a host; its token may have ended while it waited."""
    host, token = who
    wanted = agent_bodies.view(asked) if isinstance(asked, bytes) else asked
    if tokens.host_of(store, token) != host:
        raise _stranger()
    answer = views.answer(store, host, wanted)
    return wanted, answer, wire.encode(answer)


def _tells(answer: ViewAnswer, asked: ViewRequest) -> bool:
    return bool(answer.scopes or answer.left or answer.tours or answer.epoch != asked.epoch)


def _facts(store: Store, host: str, networks: list[str], address: str) -> MetadataFacts:
    try:
        wanted = IPv4Address(address)
    except ValueError as error:
        raise Invalid(f"address={address}: {error}") from error
    found = store.read(instance_rules.metadata_facts, host, networks, wanted)
    if found is None:
        raise NotFound(f"no port on this host's networks {', '.join(networks)} has {address}")
    return found


def _json(value: object) -> Response[bytes]:
    return Response(wire.encode(value), media_type="application/json", status_code=HTTPStatus.OK)
