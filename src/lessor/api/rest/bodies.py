"""Requests to values, rows to answers: for all resources, by their tables of fields."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from lessor.api.rest import nul
from lessor.api.rest.fields import Field, Resource
from lessor.errors import Invalid

Values = dict[str, Any]
MOST_ITEMS = 1000  # of one request: it is one transaction, and others' writes wait for it


class Link(Struct):
    """Where the next or the previous page is."""

    rel: str
    href: str


def create_body(resource: Resource) -> type[Struct]:
    """Return the type of a POST's body: one, wrapped in its name, or several, wrapped or not."""
    struct, item = resource.create_struct, resource.item_struct
    return msgspec.defstruct(
        f"{struct.__name__}Body",
        [
            (resource.singular, struct | UnsetType, UNSET),
            (resource.plural, list[item] | UnsetType, UNSET),  # type: ignore[valid-type]  # made at run time
        ],
        forbid_unknown_fields=True,
    )


def single_body(resource: Resource) -> type[Struct]:
    """Return the type of a POST's body where there is no bulk."""
    struct = resource.create_struct
    return _wrapped(resource, struct)


def update_body(resource: Resource) -> type[Struct]:
    """Return the type of a PUT's body."""
    return _wrapped(resource, resource.update_struct)


def _wrapped(resource: Resource, struct: type[Struct]) -> type[Struct]:
    fields = [(resource.singular, struct)]
    return msgspec.defstruct(f"{struct.__name__}Body", fields, forbid_unknown_fields=True)


def one_body(resource: Resource) -> type[Struct]:
    """Return the type of an answer with one, for the OpenAPI page."""
    struct = resource.show_struct
    return msgspec.defstruct(f"{struct.__name__}One", [(resource.singular, struct)])


def many_body(resource: Resource) -> type[Struct]:
    """Return the type of an answer with a list, for the OpenAPI page."""
    struct: Any = resource.show_struct
    links = (f"{resource.plural}_links", list[Link] | UnsetType, UNSET)
    return msgspec.defstruct(f"{struct.__name__}Many", [(resource.plural, list[struct]), links])


def given(resource: Resource, body: Struct) -> tuple[list[Struct], bool]:
    """Return what a POST's body asks for, and whether it came as a list.

    Raises:
        Invalid: there is neither one nor a list, or both, the list is empty or too long, or one in
            it lacks what is required.
    """
    one, many = (getattr(body, name) for name in (resource.singular, resource.plural))
    if (one is UNSET) == (many is UNSET):
        raise Invalid(
            f"the body must have either '{resource.singular}' or '{resource.plural}'",
            type_="HTTPBadRequest",
        )
    if many == []:
        raise Invalid(f"'{resource.plural}' is empty; give at least one", type_="HTTPBadRequest")
    if many is not UNSET and len(many) > MOST_ITEMS:
        raise Invalid(
            f"'{resource.plural}' has {len(many)} items; a request makes at most {MOST_ITEMS}: "
            "send several",
            type_="HTTPBadRequest",
        )
    if many is UNSET:
        return [one], False
    return [_item(resource, item, f"{resource.plural}[{n}]") for n, item in enumerate(many)], True


def _item(resource: Resource, item: Struct, where: str) -> Struct:
    """Return one of several rows; clients may wrap each in its name, as with Neutron."""
    given = {name for name in item.__struct_fields__ if getattr(item, name) is not UNSET}
    if resource.wraps and resource.singular in given:
        if len(given) > 1:
            raise Invalid(
                f"{where} has '{resource.singular}' and attributes beside it; give one of both",
                type_="HTTPBadRequest",
            )
        wrapped: Struct = getattr(item, resource.singular)
        return wrapped
    missing = [
        f.name for f in resource.fields if f.required and "c" in f.on and f.python not in given
    ]
    if missing:
        raise Invalid(f"{missing[0]} is required in {where}", type_="HTTPBadRequest")
    return item


def values(resource: Resource, struct: Struct) -> Values:
    """Return the model values of what a client gave; a field not given is absent.

    Raises:
        Invalid: a value can't be meant, or two names of one field contradict each other.
    """
    found: Values = {}
    for field in resource.fields:
        value = getattr(struct, field.python, UNSET)
        if value is UNSET:
            continue
        nul.check(field.name, value)
        value = _accepted(field, value)
        if field.said_only:
            continue
        if found.setdefault(field.key, value) != value:
            raise Invalid(f"{field.name} {value!r} contradicts {found[field.key]!r}: give one")
    return found


def _accepted(field: Field, value: Any) -> Any:
    if field.accept is None:
        return value
    try:
        return field.accept(value)
    except (Invalid, ValueError) as error:
        type_ = error.type if isinstance(error, Invalid) else None
        raise Invalid(f"invalid input for {field.name}: {error}", type_=type_) from error


def shown(
    resource: Resource, rows: Sequence[Any], facts: Any, only: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return rows as JSON-ready dicts; `only` names the fields to show, empty is all."""
    render = resource.shown_only(only) if only else resource.shown
    return [render(row, facts) for row in rows]
