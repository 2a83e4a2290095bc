"""/v2.0/{resource}/{id}/tags: words that users hang on things, for every resource with tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import delete, get, head, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from lessor.api.fields import Resource, Tags
from lessor.api.routes import Answer, Calls, json_body, route, typed
from lessor.errors import NotFound
from lessor.store.store import Store
from lessor.store.tags import missing


class TagList(Struct, forbid_unknown_fields=True):
    """The tags of one thing."""

    tags: Tags


def routes(resource: Resource, calls: Calls, store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of a resource's tags. Its table has the name that the collection has."""
    assert calls.row is not None
    kind = resource.plural.replace("-", "_")
    many = f"/v2.0/{resource.plural}/{{key:str}}/tags"
    one = f"{many}/{{tag:str}}"
    check = _checked(resource, calls.row)

    def found(key: str) -> Answer:
        check(key)
        return {"tags": store.tags([key]).get(key, [])}

    def replace(key: str, data: TagList) -> Answer:
        check(key)
        store.set_tags(kind, key, data.tags)
        return found(key)

    def extend(key: str, data: TagList) -> Answer:
        check(key)
        store.add_tags(kind, key, data.tags)
        return found(key)

    def add(key: str, tag: str) -> None:
        check(key)
        store.add_tags(kind, key, [tag])

    def remove(key: str, tag: str) -> None:
        check(key)
        store.remove_tag(kind, key, tag)

    def clear(key: str) -> None:
        check(key)
        store.set_tags(kind, key, ())

    def has(key: str, tag: str) -> None:
        if tag not in found(key)["tags"]:
            raise missing(key, tag)

    def also_has(key: str, tag: str) -> None:
        has(key, tag)

    noun, body = resource.singular, {"data": json_body(TagList), "return": Answer}
    this: dict[str, Any] = {"key": FromPath[str]}
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
        route(get, many, found, resource),
        route(put, many, replace, resource),
        route(post, many, extend, resource),
        route(delete, many, clear, resource),
        route(get, one, has, resource, status_code=204),
        route(head, one, also_has, resource, status_code=204),
        route(put, one, add, resource, status_code=201),
        route(delete, one, remove, resource),
    ]


def _checked(resource: Resource, row: Callable[[str], Any]) -> Callable[[str], None]:
    """Return what raises NotFound unless a row is there, and its caller may know of it."""

    def check(key: str) -> None:
        try:
            row(key)
        except NotFound as error:
            message = f"there is no {resource.singular} {key} to have tags"
            raise NotFound(message, type_="TagResourceNotFound") from error

    return check
