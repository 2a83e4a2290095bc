"""The API's description as a page for people, at /schema: plain HTML, without a script.

It is made from the same document that programs read at /schema/openapi.json. See decision 0020.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from litestar import Request, Router, get
from litestar.openapi.plugins import OpenAPIRenderPlugin

Json = Mapping[str, Any]
METHODS = ("head", "get", "post", "put", "delete")
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;
color-scheme:light dark}
code,summary{font-family:ui-monospace,monospace;overflow-wrap:anywhere}
summary{cursor:pointer;padding:.2rem 0}
summary b{display:inline-block;min-width:5rem}
details>*:not(summary){margin-left:1.5rem}
table{border-collapse:collapse}
td,th{border-bottom:1px solid #8886;padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
"""


class ApiPage(OpenAPIRenderPlugin):
    """Renders the page once, when it is first asked for."""

    def __init__(self) -> None:
        super().__init__(path="/")
        self._page = b""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002 - the base class's signature
        """Return the page of a document."""
        if not self._page:
            self._page = page(openapi_schema).encode()
        return self._page

    def receive_router(self, router: Router) -> None:
        """Add the page's style: the page itself may have none inside (Content-Security-Policy)."""

        @get("/page.css", media_type="text/css", include_in_schema=False, sync_to_thread=False)
        def style() -> str:
            return STYLE

        router.register(style)


def page(document: Json) -> str:
    """Return an OpenAPI document as HTML."""
    title = escape(document["info"]["title"])
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<title>{title} API</title><link rel="stylesheet" href="/schema/page.css"></head><body>',
            f"<h1>{title} API</h1><p>{escape(document['info'].get('description', ''))}</p>",
            '<p>For programs: <a href="/schema/openapi.json">openapi.json</a>.</p>',
            *_operations(document["paths"]),
            "<h2>Types</h2>",
            *_types(document.get("components", {}).get("schemas", {})),
            "</body></html>",
        ]
    )


def _operations(paths: Json) -> Iterator[str]:
    by_tag: dict[str, list[tuple[str, str, Json]]] = {}
    for path, item in paths.items():
        for method in METHODS:
            if method in item:
                for tag in item[method].get("tags") or ["others"]:
                    by_tag.setdefault(tag, []).append((path, method, item[method]))
    for tag in sorted(by_tag):
        yield f"<h2>{escape(tag)}</h2>"
        for path, method, operation in by_tag[tag]:
            yield _operation(path, method, operation)


def _operation(path: str, method: str, operation: Json) -> str:
    rows = [
        (parameter["name"], parameter["in"], _type(parameter.get("schema") or {}), _doc(parameter))
        for parameter in operation.get("parameters") or ()
    ]
    rows += [
        ("body", kind, _type(content.get("schema") or {}), "")
        for kind, content in (operation.get("requestBody") or {}).get("content", {}).items()
    ]
    rows += [
        (status, kind, _type(content.get("schema") or {}), _doc(answer))
        for status, answer in operation.get("responses", {}).items()
        for kind, content in (answer.get("content") or {"": {}}).items()
    ]
    said = escape(operation.get("summary") or "")
    return (
        f"<details><summary><b>{method.upper()}</b> {escape(path)}</summary><p>{said}</p>"
        f"{_table(rows)}</details>"
    )


def _types(schemas: Json) -> Iterator[str]:
    for name in sorted(schemas):
        required = set(schemas[name].get("required") or ())
        rows = [
            (field, "required" if field in required else "", _type(schema), _doc(schema))
            for field, schema in (schemas[name].get("properties") or {}).items()
        ]
        anchor = escape(name, quote=True)
        yield f'<details id="{anchor}"><summary>{escape(name)}</summary>{_table(rows)}</details>'


def _table(rows: Iterable[tuple[str, str, str, str]]) -> str:
    """Lay rows out: name, where or whether, type (HTML), description (text)."""
    lines = (
        f"<tr><td><code>{escape(str(name))}</code></td><td>{escape(where)}</td><td>{kind}</td>"
        f"<td>{escape(doc)}</td></tr>"
        for name, where, kind, doc in rows
    )
    return f"<table>{''.join(lines)}</table>"


def _type(schema: Json) -> str:
    """Return a type as HTML; one that has a name links to it."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2], quote=True)
        return f'<a href="#{name}">{name}</a>'
    for key in ("oneOf", "anyOf", "allOf"):
        if key in schema:
            return " or ".join(_type(one) for one in schema[key])
    if schema.get("enum"):
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items') or {})}"
    return escape(" or ".join(kind) if isinstance(kind, list) else str(kind))


def _doc(thing: Json) -> str:
    return str(thing.get("description") or "")
