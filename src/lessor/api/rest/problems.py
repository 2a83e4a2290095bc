"""Where errors meet HTTP: the one place that knows statuses and the body clients look for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import ClientException, HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap, Send

from lessor.api.rest.fields import Resource
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

log = structlog.get_logger("lessor.api")

STATUS: tuple[tuple[type[LessorError], int], ...] = (
    (Invalid, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Outdated, 412),
    (Unavailable, 503),
)
NAMES = {400: "HTTPBadRequest", 404: "HTTPNotFound", 405: "HTTPMethodNotAllowed"}
NAMES |= {413: "HTTPRequestEntityTooLarge", 500: "HTTPInternalServerError"}

CUT_OFF = (
    "client disconnected prematurely"  # Litestar's words for a body that ends before its length
)

AnyRequest = Request[Any, Any, Any]


class JsonRequest(Request[Any, Any, Any]):
    """A request whose body may not be UTF-8; the framework's JSON parser doesn't handle that."""

    async def json(self) -> Any:
        """Return the body's value.

        Raises:
            SerializationException: it is no JSON.
            ClientException: it is no UTF-8 (RFC 8259, section 8.1).
        """
        try:
            return await super().json()
        except UnicodeDecodeError as error:
            raise ClientException("it is not UTF-8") from error


def body(type_: str, message: str) -> dict[str, Any]:
    """Return an error's body in the form that OpenStack clients read."""
    return {"NeutronError": {"type": type_, "message": message, "detail": ""}}


def _answer(status: int, type_: str, message: str) -> Response[dict[str, Any]]:
    return Response(body(type_, message), status_code=status, media_type="application/json")


async def send_json(
    send: Send, status: int, body: Any, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send an answer from before the framework."""
    content = msgspec.json.encode(body)
    every = [(b"content-type", b"application/json"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": every})
    await send({"type": "http.response.body", "body": content, "more_body": False})


def answer_of(error: LessorError) -> tuple[int, dict[str, Any]]:
    """Return the status and the body that say one of our own errors."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    return status, body(error.type, str(error))


def of_ours(_: AnyRequest, error: LessorError) -> Response[dict[str, Any]]:
    """Answer with one of our own errors."""
    status, said = answer_of(error)
    answer = Response(said, status_code=status, media_type="application/json")
    if isinstance(error, Unauthorized):
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def of_http(request: AnyRequest, error: HTTPException) -> Response[dict[str, Any]]:
    """Answer with an error that the framework found: no route, wrong method, bad body."""
    if error.detail == CUT_OFF:
        return _answer(400, NAMES[400], CUT_OFF)  # nobody hears it
    if error.status_code >= 500:  # noqa: PLR2004 - HTTP's own number
        return of_unexpected(request, error)
    name = NAMES.get(error.status_code, f"HTTP{error.status_code}")
    answer = _answer(error.status_code, name, _sentence(request, error))
    answer.headers.update(error.headers or {})  # 405 says in Allow what is allowed
    return answer


def of_unexpected(request: AnyRequest, error: Exception) -> Response[dict[str, Any]]:
    """Answer with what should not have happened: said in the log, not to the client."""
    if isinstance(error, RecursionError) and "deserializing" in str(error):
        return _answer(400, NAMES[400], "the body can't be read as JSON: it is nested too deeply")
    log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    message = "the server failed at this request; its log says why"
    return _answer(500, NAMES[500], message)


HANDLERS: ExceptionHandlersMap = {
    LessorError: of_ours,
    HTTPException: of_http,
    Exception: of_unexpected,
}


def _sentence(request: AnyRequest, error: HTTPException) -> str:
    path = request.url.path
    if isinstance(error, ValidationException):
        return "; ".join(_invalid(request, found) for found in _details(error))
    if error.status_code == 404:  # noqa: PLR2004 - HTTP's own number
        return f"there is nothing at {path}"
    if error.status_code == 405:  # noqa: PLR2004 - HTTP's own number
        return f"{path} does not know {request.method}"
    if error.status_code == 413:  # noqa: PLR2004 - HTTP's own number
        return "the body is larger than the server takes (max_body_bytes)"
    return f"the body can't be read as JSON: {error.detail}"


def _details(error: ValidationException) -> list[dict[str, str]]:
    return error.extra if isinstance(error.extra, list) else [{"message": error.detail}]


def _invalid(request: AnyRequest, found: dict[str, str]) -> str:
    """Say what is wrong with a field, in our words where we know the cause."""
    message, key = found["message"], found.get("key", "").removeprefix("data").lstrip(".")
    if message == "'data'":  # the framework's whole message where there is no body
        return "there is no body; send JSON"
    resource: Resource | None = request.route_handler.opt.get("resource")
    unknown = re.search(r"unknown field `(.+?)`", message)
    if unknown:
        return _unknown(resource, key, unknown[1])
    missing = re.search(r"missing required field `(.+?)`", message)
    if missing:
        return f"{missing[1]} is required" + (f" in {key}" if key else "")
    return f"invalid input for {key or 'the body'}: {message[:1].lower()}{message[1:]}"


def _unknown(resource: Resource | None, key: str, name: str) -> str:
    known = resource.by_name.get(name) if resource and "." not in key else None
    if known is None:
        return f"unrecognized attribute '{name}'" + (f" in {key}" if key else "")
    if known.on:
        return f"attribute '{name}' can't be changed: it is set when a {key} is made"
    return f"attribute '{name}' can't be set: it is read-only"
