"""The routes of a resource, made from its declaration and the store's calls."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, Self

from litestar import Request, delete, get, post, put
from litestar.enums import RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.params import BodyKwarg, FromPath
from msgspec import Struct

from lessor.api.auth.access import Access, access
from lessor.api.rest import bodies
from lessor.api.rest.fields import Resource
from lessor.api.rest.openapi import PROBLEMS, listing
from lessor.api.rest.queries import Asked, asked, links
from lessor.errors import Invalid
from lessor.store import collection
from lessor.store.query import Query
from lessor.store.store import Store

AnyRequest = Request[Any, Any, Any]
Answer = dict[str, Any]
IF_MATCH = re.compile(r'"?revision_number=([0-9]{1,18})"?')  # quoted, as RFC 9110 has it, or not
Tagged = Mapping[str, Sequence[str]]


def _no_facts(_: Sequence[Any]) -> Any:
    return None


def _as_given(values: bodies.Values) -> bodies.Values:
    return values


def _id(row: Any) -> str:
    return str(row.id)


@dataclass(frozen=True, kw_only=True)
class Calls:
    """What a resource's routes call. A call that is None has no route.

    Args:
        update: called with an id and values. `update` and `delete` also take `expected`, the
            revision that the row must have, for a resource whose rows have one.
        facts: what the fields' `show` needs besides the rows, found once for all of them.
        complete: makes the store's values of a client's; raises Invalid.
        marker: the text by which a page's links name a row.
        tags: finds the tags of rows by their ids, for a resource whose rows can have some.
    """

    rows: Callable[[Query], Sequence[Any]]
    row: Callable[[str], Any] | None = None
    create: Callable[[Sequence[Any]], Sequence[Any]] | None = None
    update: Callable[..., Any] | None = None
    delete: Callable[..., None] | None = None
    facts: Callable[[Sequence[Any]], Any] = _no_facts
    complete: Callable[[bodies.Values], bodies.Values] = _as_given
    marker: Callable[[Any], str] = _id
    tags: Callable[[Sequence[str]], Tagged] | None = None

    @classmethod
    def of(cls, noun: collection.Collection[Any, Any], **more: Any) -> Self:
        """Return the calls of a noun of the store, and `more`, which go before them."""
        own: dict[str, Any] = {
            "rows": noun.find,
            "row": noun.get,
            "create": noun.create,
            "update": noun.update,
            "delete": noun.delete,
        }
        return cls(**own | more)


def routes(resource: Resource, calls: Calls, path: str = "") -> list[HTTPRouteHandler]:
    """Return the handlers of a resource under /v2.0, at `path` where it isn't its plural."""
    many = f"/v2.0/{path or resource.plural}"
    one = f"{many}/{{key:str}}"
    made = [
        route(
            get,
            many,
            _list(resource, calls),
            resource,
            rule=None,
            operation_class=listing(resource),
        )
    ]
    if calls.row is not None:
        made.append(route(get, one, _show(resource, calls), resource, rule=None, one_row=True))
    if calls.create is not None:
        made.append(route(post, many, _create(resource, calls), resource, rule=None))
    if calls.update is not None:
        made.append(route(put, one, _update(resource, calls), resource, rule=None))
    if calls.delete is not None:
        made.append(route(delete, one, _delete(resource, calls), resource, rule=None))
    return made


def route(
    method: Callable[..., Any],
    path: str,
    function: Callable[..., Any],
    resource: Resource,
    rule: str | None = "default",
    *,
    one_row: bool = False,
    **more: Any,
) -> HTTPRouteHandler:
    """Return a handler that runs in a thread, since calls of the store wait.

    Args:
        method: `get`, `post`, ...
        path: of the route.
        function: the handler.
        resource: what it is of.
        rule: says who is let in (`rules`); None: the handler asks the rules itself.
        one_row: it only reads one row, by its id. From a file this costs less than a thread's
            hand-over, so it runs in the event loop.
        more: for the framework.

    The framework has `sync_to_thread` for this, but it wraps a handler anew for each further
    method of its path, and then answers with a coroutine (litestar 2.25).
    """

    @wraps(function)
    async def in_thread(*args: Any, **kwargs: Any) -> Any:
        if one_row and not _store(kwargs["request"]).reads_wait:
            return function(*args, **kwargs)
        return await asyncio.to_thread(function, *args, **kwargs)

    made: HTTPRouteHandler = method(
        path,
        operation_id=function.__name__,
        opt={"resource": resource, "rule": rule},
        summary=function.__doc__,
        tags=[resource.plural],
        responses=PROBLEMS,
        **more,
    )(in_thread)
    return made


def _store(request: AnyRequest) -> Store:
    store: Store = request.app.state.store
    return store


def json_body(kind: Any) -> Any:
    """Mark a type, made at run time, as that of a JSON body."""
    return Annotated[kind, BodyKwarg(media_type=RequestEncodingType.JSON)]


def typed(name: str, doc: str, function: Callable[..., Any], /, **kinds: Any) -> Callable[..., Any]:
    """Give a handler the name, the words and the types that the framework reads from it.

    The types are made at run time, so they can't stand in its `def`.
    """
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    function.__annotations__ = kinds
    return function


def _list(resource: Resource, calls: Calls) -> Callable[..., Any]:
    def handler(request: AnyRequest) -> Answer:
        with _store(request).snapshot():
            return page(resource, calls, request)

    return typed(
        f"list_{resource.plural}",
        f"List {resource.plural}.",
        handler,
        **{"request": AnyRequest, "return": bodies.many_body(resource)},
    )


def page(resource: Resource, calls: Calls, request: AnyRequest) -> Answer:
    """Answer a list: read the query string, ask, render, link."""
    may = access(request)
    pairs = list(request.query_params.multi_items())
    may.check_query(resource, pairs)
    wanted: Asked = asked(resource, pairs)
    rows = [] if wanted.nothing else may.rows(resource, calls.rows, wanted.query)
    answer: Answer = {resource.plural: shown(resource, calls, rows, may, wanted.only)}
    url = f"{request.base_url}".rstrip("/") + request.scope["path"]
    if found := links(url, pairs, wanted, [calls.marker(row) for row in rows]):
        answer[f"{resource.plural}_links"] = found
    return answer


def _show(resource: Resource, calls: Calls) -> Callable[..., Any]:
    def handler(key: str, request: AnyRequest) -> Answer:
        may = access(request)
        only = asked(resource, list(request.query_params.multi_items())).only
        with _store(request).snapshot():
            return one(resource, calls, visible(may, resource, calls, key), may, only)

    return typed(
        f"show_{resource.singular}",
        f"Show a {resource.singular}.",
        handler,
        **{"key": FromPath[str], "request": AnyRequest, "return": bodies.one_body(resource)},
    )


def visible(may: Access, resource: Resource, calls: Calls, key: str) -> Any:
    """Return a row by its id, or raise NotFound: there is none, or the caller may not see it."""
    assert calls.row is not None
    return may.row(resource, calls.rows, calls.row, key)


def one(
    resource: Resource,
    calls: Calls,
    row: Any,
    may: Access,
    only: frozenset[str] = frozenset(),
) -> Answer:
    """Answer with one row."""
    return {resource.singular: shown(resource, calls, [row], may, only)[0]}


def shown(
    resource: Resource,
    calls: Calls,
    rows: Sequence[Any],
    may: Access,
    only: Collection[str] = (),
    *,
    tags: Tagged | None = None,
) -> list[Answer]:
    """Return rows as JSON-ready dicts, with their tags; `tags`: what they are, if it is known."""
    found = may.shown(resource, rows, calls.facts(rows), only)
    if calls.tags is None or (only and "tags" not in only):
        return found
    if tags is None:
        tags = calls.tags([row.id for row in rows])
    if tags:
        for row, answer in zip(rows, found, strict=True):
            answer["tags"] = tags.get(row.id, [])
    return found


def _create(resource: Resource, calls: Calls) -> Callable[..., Any]:
    def handler(data: Struct, request: AnyRequest) -> Answer:
        assert calls.create is not None
        may = access(request)
        wanted, several = bodies.given(resource, data)
        allowed = [may.creation(resource, item, bodies.values(resource, item)) for item in wanted]
        values = [calls.complete(its) for its in allowed]
        rows = calls.create(values)
        pairs = zip(rows, values, strict=True) if resource.tagged else ()
        tags = {row.id: sorted(given["tags"]) for row, given in pairs if "tags" in given}
        with _store(request).snapshot():
            made = shown(resource, calls, rows, may, tags=tags)
        return {resource.plural: made} if several else {resource.singular: made[0]}

    return typed(
        f"create_{resource.plural}",
        f"Make a {resource.singular}, or several: all or none.",
        handler,
        **{
            "data": json_body(bodies.create_body(resource)),
            "request": AnyRequest,
            "return": bodies.one_body(resource) | bodies.many_body(resource),
        },
    )


def _update(resource: Resource, calls: Calls) -> Callable[..., Any]:
    def handler(key: str, data: Struct, request: AnyRequest) -> Answer:
        assert calls.update is not None
        may = access(request)
        struct = getattr(data, resource.singular)
        given = bodies.values(resource, struct)  # what can't be meant is said to anybody
        if may.checked:
            may.change(resource, visible(may, resource, calls, key), struct)
        values = calls.complete(given) | may.signature(resource)
        row = calls.update(key, values, **expected(resource, request))
        with _store(request).snapshot():
            return one(resource, calls, may.again(resource, calls.rows, row), may)

    return typed(
        f"update_{resource.singular}",
        f"Change a {resource.singular}.",
        handler,
        **{
            "key": FromPath[str],
            "data": json_body(bodies.update_body(resource)),
            "request": AnyRequest,
            "return": bodies.one_body(resource),
        },
    )


def _delete(resource: Resource, calls: Calls) -> Callable[..., Any]:
    def handler(key: str, request: AnyRequest) -> None:
        assert calls.delete is not None
        may = access(request)
        if may.checked:
            may.deletion(resource, visible(may, resource, calls, key))
        calls.delete(key, **expected(resource, request))

    return typed(
        f"delete_{resource.singular}",
        f"Delete a {resource.singular}.",
        handler,
        **{"key": FromPath[str], "request": AnyRequest, "return": None},
    )


def expected(resource: Resource, request: AnyRequest) -> dict[str, int]:
    """Parse `If-Match: revision_number=N` for `Calls.update` and `delete`, if it is present.

    Raises:
        Invalid: the header says something else.
    """
    text = request.headers.get("if-match")
    if text is None or "revision_number" not in resource.by_name:
        return {}
    found = IF_MATCH.fullmatch(text)
    if found is None:
        raise Invalid(f"If-Match: {text}: write revision_number=NUMBER", type_="HTTPBadRequest")
    return {"expected": int(found[1])}
