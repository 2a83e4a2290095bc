"""Query strings of lists: filters, fields, sorting and paging, for all resources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from lessor.api.rest.fields import Field, Resource, flag
from lessor.errors import Invalid
from lessor.store.query import Query

Pairs = Sequence[tuple[str, str]]
PAGING = frozenset({"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A query string, read."""

    query: Query
    only: frozenset[str] = field(
        default_factory=frozenset
    )  # fields to show, as far as they exist; empty: all
    nothing: bool = False  # a filter on something that is the same for all rows excludes them all


def asked(resource: Resource, pairs: Pairs) -> Asked:
    """Read the query string of a list.

    Raises:
        Invalid: an unknown filter or sort key, or a value that can't be meant.
    """
    if not pairs:
        return Asked(Query())
    filters: dict[str, list[object]] = {}
    nothing = False
    for name in dict.fromkeys(name for name, _ in pairs if name not in PAGING):
        texts = list(dict.fromkeys(value for key, value in pairs if key == name))
        declared = _filter(resource, name)
        if declared.fixed is not None:
            nothing |= declared.fixed.lower() not in {_as_said(declared, text) for text in texts}
            continue
        for key, value in (_condition(declared, text) for text in texts):
            filters.setdefault(key, []).append(value)
    reverse = _last(pairs, "page_reverse")
    query = Query(
        filters={key: tuple(found) for key, found in filters.items()},
        sort=_sort(resource, pairs),
        limit=_limit(_last(pairs, "limit")),
        marker=_last(pairs, "marker"),
        page_reverse=reverse is not None and flag(reverse),
    )
    return Asked(query, _only(pairs), nothing)


def _filter(resource: Resource, name: str) -> Field:
    declared = resource.by_name.get(name)
    if declared is None or (declared.query is None and declared.fixed is None):
        known = ", ".join(f.name for f in resource.fields if f.query or f.fixed is not None)
        raise Invalid(f"{resource.plural} can't be filtered by {name!r}; known filters: {known}")
    return declared


def _as_said(declared: Field, text: str) -> str:
    """Return a filter's text as `Field.fixed` has it: true and false are said in many ways."""
    return str(flag(text)).lower() if declared.kind is bool else text.lower()


def _condition(declared: Field, text: str) -> tuple[str, object]:
    assert declared.query is not None
    try:
        value = declared.query(text)
    except (Invalid, ValueError, OverflowError) as error:
        raise Invalid(f"filter {declared.name}={text}: {error}") from error
    return value if isinstance(value, tuple) else (declared.key, value)


def _sort(resource: Resource, pairs: Pairs) -> tuple[tuple[str, bool], ...]:
    keys, dirs = _all(pairs, "sort_key"), _all(pairs, "sort_dir")
    if dirs and len(dirs) != len(keys):
        raise Invalid(f"{len(keys)} sort_key and {len(dirs)} sort_dir; give one of each in turn")
    if wrong := set(dirs) - {"asc", "desc"}:
        raise Invalid(f"sort_dir {min(wrong)!r} is neither asc nor desc")
    for key in keys:
        if key not in resource.by_name or not resource.by_name[key].sort:
            known = ", ".join(f.name for f in resource.fields if f.sort)
            raise Invalid(f"{resource.plural} can't be sorted by {key!r}; known keys: {known}")
    turns: dict[str, str] = {}
    for key, turn in zip(keys, dirs or ["asc"] * len(keys), strict=True):
        turns.setdefault(key, turn)  # what comes again orders nothing more
    return tuple(
        (resource.by_name[key].key, turn == "desc")
        for key, turn in turns.items()
        if resource.by_name[key].fixed is None  # the same for all rows
    )


def _only(pairs: Pairs) -> frozenset[str]:
    """Return the fields to show. Clients ask for those of extensions that are not there, as well.

    python-openstackclient does: `port list --long` wants trunk_details. Neutron leaves out what it
    does not know.
    """
    return frozenset(filter(None, _all(pairs, "fields")))


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or len(text) > len(str(1 << 31)):
        raise Invalid(f"limit={text}: give a number of rows, 0 or more (0: no limit)")
    return int(text) or None


def _all(pairs: Pairs, name: str) -> list[str]:
    return [value for key, value in pairs if key == name]


def _last(pairs: Pairs, name: str) -> str | None:
    return next((value for key, value in reversed(pairs) if key == name), None)


def links(url: str, pairs: Pairs, asked: Asked, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return where the next and the previous page of a list are; none without a limit.

    A page with fewer rows than its limit is the last one in its direction. Any other may have
    neighbours on both sides, which only they tell (Neutron's rule).

    Args:
        url: of the list, without its query string.
        pairs: its query string.
        asked: the same, read.
        ids: of the rows of this page, in order: what a marker can be.
    """
    query = asked.query
    if query.limit is None:
        return []
    rest = [(k, v) for k, v in pairs if k not in {"marker", "page_reverse"}]
    short = len(ids) < query.limit
    found = []
    if query.page_reverse or not short:
        found.append(("next", [*rest, *_marker(ids[-1:])]))
    if not (query.page_reverse and short):
        found.append(("previous", [*rest, *_marker(ids[:1]), ("page_reverse", "True")]))
    return [{"rel": rel, "href": f"{url}?{urlencode(query)}"} for rel, query in found]


def _marker(ids: Sequence[str]) -> list[tuple[str, str]]:
    return [("marker", id_) for id_ in ids]
