"""/v2.0/{resource}/{id}/tags: words that users hang on things, for every resource with tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import delete, get, head, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from lessor.api.auth.access import access
from lessor.api.resources.routes import Answer, AnyRequest, Calls, json_body, route, typed, visible
from lessor.api.rest.fields import Resource, Tags
from lessor.errors import NotFound
from lessor.store import tagrows
from lessor.store import tags as tag_rules
from lessor.store.store import Store
from lessor.store.tags import missing


class TagList(Struct, forbid_unknown_fields=True):
    """The tags of one thing."""

    tags: Tags


def routes(resource: Resource, calls: Calls, store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of a resource's tags. Its table has the name that the collection has."""
    assert calls.row is not None
    kind = resource.singular
    many = f"/v2.0/{resource.plural}/{{key:str}}/tags"
    one = f"{many}/{{tag:str}}"
    check = _checked(resource, calls)

    def found(key: str, request: AnyRequest) -> Answer:
        check(key, request)
        return {"tags": store.read(tagrows.of, [key]).get(key, [])}

    def replace(key: str, data: TagList, request: AnyRequest) -> Answer:
        check(key, request, change=True)
        store.write(tag_rules.replace_all, kind, key, data.tags)
        return found(key, request)

    def extend(key: str, data: TagList, request: AnyRequest) -> Answer:
        check(key, request, change=True)
        store.write(tag_rules.add, kind, key, data.tags)
        return found(key, request)

    def add(key: str, tag: str, request: AnyRequest) -> None:
        check(key, request, change=True)
        store.write(tag_rules.add, kind, key, [tag])

    def remove(key: str, tag: str, request: AnyRequest) -> None:
        check(key, request, change=True)
        store.write(tag_rules.remove, kind, key, tag)

    def clear(key: str, request: AnyRequest) -> None:
        check(key, request, change=True)
        store.write(tag_rules.replace_all, kind, key, ())

    def has(key: str, tag: str, request: AnyRequest) -> None:
        if tag not in found(key, request)["tags"]:
            raise missing(key, tag)

    def also_has(key: str, tag: str, request: AnyRequest) -> None:
        has(key, tag, request)

    noun, body = resource.singular, {"data": json_body(TagList), "return": Answer}
    this: dict[str, Any] = {"key": FromPath[str], "request": AnyRequest}
    word = this | {"tag": FromPath[str], "return": None}
    typed(f"list_{noun}_tags", f"List the tags of a {noun}.", found, **this | {"return": Answer})
    typed(f"set_{noun}_tags", f"Give a {noun} these tags and no others.", replace, **this | body)
    typed(f"add_{noun}_tags", f"Give a {noun} further tags.", extend, **this | body)
    typed(f"clear_{noun}_tags", f"Take all tags from a {noun}.", clear, **this | {"return": None})
    typed(f"has_{noun}_tag", f"Say whether a {noun} has a tag.", has, **word)
    typed(f"head_{noun}_tag", f"Say whether a {noun} has a tag.", also_has, **word)
    typed(f"add_{noun}_tag", f"Give a {noun} a tag.", add, **word)
    typed(f"remove_{noun}_tag", f"Take a tag from a {noun}.", remove, **word)
    return [
        route(get, many, found, resource, rule=None),
        route(put, many, replace, resource, rule=None),
        route(post, many, extend, resource, rule=None),
        route(delete, many, clear, resource, rule=None),
        route(get, one, has, resource, rule=None, status_code=204),
        route(head, one, also_has, resource, rule=None, status_code=204),
        route(put, one, add, resource, rule=None, status_code=201),
        route(delete, one, remove, resource, rule=None),
    ]


def _checked(resource: Resource, calls: Calls) -> Callable[..., None]:
    """Return what raises NotFound unless a row is there, and its caller may know of it."""

    def check(key: str, request: AnyRequest, *, change: bool = False) -> None:
        may = access(request)
        try:
            row = visible(may, resource, calls, key)
        except NotFound as error:
            message = f"there is no {resource.singular} {key} to have tags"
            raise NotFound(message, type_="TagResourceNotFound") from error
        if change:
            may.rewriting(resource, row)

    return check
