"""The agents' API, on a listener of its own: views, reports, leases, metadata."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import IPv4Address
from typing import Any, TypeVar

from litestar import Litestar, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, RawBody
from msgspec import Struct

from lessor import wire
from lessor.api import problems
from lessor.api.notifier import Notifier
from lessor.errors import Conflict, Invalid, NotFound, Unauthorized
from lessor.model import LeaseBatch, MetadataFacts, Piece, Report, ViewAnswer, ViewRequest
from lessor.store.store import Store

LONGEST_WAIT_S = 60.0
LOOKS_AT_ONCE = 2  # of agents woken together: more threads would only stand in each other's way
MAX_BODY_BYTES = 64 << 20  # a snapshot of all leases of a big host

AnyRequest = Request[Any, Any, Any]
AnyConnection = ASGIConnection[Any, Any, Any, Any]
T = TypeVar("T")


class PasswordBody(Struct):
    """What a guest posted as its password, encrypted."""

    instance_id: str
    password: str


def agents_app(store: Store, notifier: Notifier) -> Litestar:
    """Return the API that agents call, on `settings.agent_listen`."""

    async def known(request: AnyConnection, _: BaseRouteHandler) -> None:
        """Let nobody in without a host's token; nothing of the body is read before."""
        scheme, _space, token = request.headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        host = await asyncio.to_thread(store.authenticate, bearer) if bearer else None
        if host is None:
            raise Unauthorized("the token is missing or wrong; `lessor host add NAME` makes one")
        request.state.host = host

    looking = asyncio.Semaphore(LOOKS_AT_ONCE)

    @post("/agent/v1/view", status_code=200)
    async def view(request: AnyRequest, body: RawBody) -> Response[bytes]:
        """Answer with what concerns the host and is new to it; wait for it if asked to."""
        asked = wire.decode(body, ViewRequest)
        return await _poll(store, notifier, looking, request.state.host, asked)

    @post("/agent/v1/report", status_code=200, sync_to_thread=True)
    def report(request: AnyRequest, body: RawBody) -> Response[bytes]:
        """Take a heartbeat with all that changed."""
        store.report(request.state.host, wire.decode(body, Report))
        return _json({})

    @post("/agent/v1/tours/{key:str}", status_code=204, sync_to_thread=True)
    def tour(request: AnyRequest, key: FromPath[str], body: RawBody) -> None:
        """Take what a host says of a network."""
        store.answer_tour(request.state.host, key, wire.decode(body, list[Piece]))

    @get("/agent/v1/metadata", sync_to_thread=True)
    def metadata(
        request: AnyRequest,
        address: FromQuery[str],
        network: FromQuery[list[str] | None] = None,
    ) -> Response[bytes]:
        """Tell who has an address."""
        found = _facts(store, request.state.host, network or [], address)
        return _json(found)

    @post("/agent/v1/password", status_code=204, sync_to_thread=True)
    def password(body: RawBody) -> None:
        """Keep a guest's password: once."""
        posted = wire.decode(body, PasswordBody)
        if not store.set_password(posted.instance_id, posted.password):
            raise Conflict(f"instance {posted.instance_id} has a password already")

    @get("/agent/v1/ping", sync_to_thread=True)
    def ping(request: AnyRequest) -> Response[bytes]:
        """Say that the server is there and knows the token."""
        return _json({"host": request.state.host, "epoch": store.epoch})

    return Litestar(
        route_handlers=[view, report, tour, *_leases(store), metadata, password, ping],
        guards=[known],
        openapi_config=None,
        exception_handlers=problems.HANDLERS,
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
        debug=False,
    )


def _leases(store: Store) -> list[BaseRouteHandler]:
    """Return the routes of leases: two methods of one path, so in threads by hand (see `routes`)."""

    @post("/agent/v1/leases", status_code=200)
    async def leases(request: AnyRequest, body: RawBody) -> Response[bytes]:
        """Take lease events; the answer says up to which one they are in the store."""
        batch = wire.decode(body, LeaseBatch)
        last = await asyncio.to_thread(store.apply_leases, request.state.host, batch)
        return _json({"last_seq": last})

    @get("/agent/v1/leases")
    async def known_leases(request: AnyRequest, network: FromQuery[str]) -> Response[bytes]:
        """Tell the live leases of a network: a DHCP server that is new to it begins with them."""
        return _json(await asyncio.to_thread(store.live_leases, request.state.host, network))

    return [leases, known_leases]


async def _poll(
    store: Store, notifier: Notifier, looking: asyncio.Semaphore, host: str, asked: ViewRequest
) -> Response[bytes]:
    """Answer as soon as there is something, or with nothing when the wait is over.

    The waiter is there before the first look, so no change falls between look and wait.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(max(asked.wait_s, 0.0), LONGEST_WAIT_S)
    with notifier.waiting(host) as changed:
        while True:
            changed.clear()
            async with looking:
                answer, text = await asyncio.to_thread(_look, store.view, host, asked)
            left = deadline - loop.time()
            if _tells(answer, asked) or left <= 0 or notifier.closed:
                return Response(text, media_type="application/json")
            try:
                await asyncio.wait_for(changed.wait(), left)
            except TimeoutError:
                deadline = loop.time()


def _look(
    view: Callable[[str, ViewRequest], ViewAnswer], host: str, asked: ViewRequest
) -> tuple[ViewAnswer, bytes]:
    answer = view(host, asked)
    return answer, wire.encode(answer)


def _tells(answer: ViewAnswer, asked: ViewRequest) -> bool:
    return bool(answer.scopes or answer.left or answer.tours or answer.epoch != asked.epoch)


def _facts(store: Store, host: str, networks: list[str], address: str) -> MetadataFacts:
    try:
        wanted = IPv4Address(address)
    except ValueError as error:
        raise Invalid(f"address={address}: {error}") from error
    found = store.metadata_facts(host, networks, wanted)
    if found is None:
        raise NotFound(f"no port on this host's networks {', '.join(networks)} has {address}")
    return found


def _json(value: object) -> Response[bytes]:
    return Response(wire.encode(value), media_type="application/json", status_code=HTTPStatus.OK)
