"""How an API resource is declared: its fields as data, and the types made from them.

A resource is a table of `Field`s: the name clients use, the model field behind it, its type, who
may set it, how a query string filters by it. What is generated from the table once serves all
resources: the structs that requests are checked with and the OpenAPI page is made of, parsing
(`bodies`), rendering (`bodies`), filters and sorting (`queries`), routes (`routes`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv4Network
from math import floor
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from lessor.errors import Invalid
from lessor.model import LATEST
from lessor.net.address import Address, Block

HALF_A_MICROSECOND = 5e-7  # a date has whole ones, rounded
EARLIEST = -62135596800.0  # the first time that is a date: the year 1

Name = Annotated[str, Meta(max_length=255)]
LongText = Annotated[str, Meta(max_length=255)]
Tags = list[Annotated[str, Meta(min_length=1, max_length=255)]]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One attribute of a resource.

    Args:
        name: as clients write it ("binding:host_id").
        kind: the type of its JSON, for requests and for the OpenAPI page.
        attr: the model field and the key of the store's values; "" is `name`.
        on: "c" a client may set it at creation, "u" at an update, "" never.
        required: it must be given at creation.
        accept: makes the model's value of the JSON one; raises ValueError.
        show: makes the JSON value of (row, what `Resource.facts` found); None: the row's `attr`.
        query: makes a filter's value of its text; None: no filter.
        fixed: every row has this value, in text, so a filter needs no store.
        sort: lists may be sorted by it.
        write_only: never shown.
        said_only: what a client says of it is checked, and goes no further.
    """

    name: str
    kind: Any = str
    attr: str = ""
    on: str = ""
    required: bool = False
    accept: Callable[[Any], Any] | None = None
    show: Callable[[Any, Any], Any] | None = None
    query: Callable[[str], object] | None = None
    fixed: str | None = None
    sort: bool = False
    write_only: bool = False
    said_only: bool = False

    @property
    def key(self) -> str:
        """The model field behind it."""
        return self.attr or self.name

    @property
    def python(self) -> str:
        """Its name in a struct."""
        return re.sub(r"\W", "_", self.name)


@dataclass(frozen=True)
class Resource:
    """A noun of the API: its fields, and what its rows are shown with."""

    singular: str
    plural: str
    fields: tuple[Field, ...]
    doc: str = ""
    title: str = ""  # on the OpenAPI page, where another resource has the same noun
    limited: bool = False  # the store has rules for who acts for one project: values say which
    extensions: Mapping[str, tuple[str, str]] = field(default_factory=dict, hash=False)  # by alias

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """Its fields by the names clients use."""
        return {field.name: field for field in self.fields}

    @property
    def tagged(self) -> bool:
        """Whether its rows can have tags."""
        return "tags" in self.by_name

    @cached_property
    def shown(self) -> Renderer:
        """What makes an answer of a row, all of it."""
        return Renderer([field for field in self.fields if not field.write_only])

    def shown_only(self, names: Collection[str]) -> Renderer:
        """Return what makes an answer with these fields, as far as there are such."""
        return Renderer([f for f in self.fields if not f.write_only and f.name in names])

    @cached_property
    def create_struct(self) -> type[Struct]:
        """What a client may send to make one."""
        return self._struct("Create", "c", forbid=True)

    @cached_property
    def item_struct(self) -> type[Struct]:
        """What a client may send among several to make: one as it is, or wrapped in its name.

        Which of its fields are required is looked at afterwards (`bodies.given`).
        """
        fields: list[Any] = [
            (f.python, f.kind | UnsetType, UNSET) for f in self.fields if "c" in f.on
        ]
        if self.wraps:
            fields.append((self.singular, self.create_struct | UnsetType, UNSET))
        return msgspec.defstruct(
            self._title + "Item",
            fields,
            rename={field.python: field.name for field in self.fields},
            forbid_unknown_fields=True,
            kw_only=True,
        )

    @property
    def wraps(self) -> bool:
        """Whether one among several may be wrapped: its name must be no field's."""
        return self.singular not in self.by_name

    @cached_property
    def update_struct(self) -> type[Struct]:
        """What a client may send to change one."""
        return self._struct("Update", "u", forbid=True)

    @cached_property
    def show_struct(self) -> type[Struct]:
        """What an answer has, for the OpenAPI page: all of it, unless `fields=` asks for less."""
        shown = (f for f in self.fields if not f.write_only)
        fields = [(f.python, f.kind | UnsetType, UNSET) for f in shown]
        rename = {f.python: f.name for f in self.fields}
        return msgspec.defstruct(self._title, fields, rename=rename, kw_only=True)

    @property
    def _title(self) -> str:
        return self.title or self.singular.title().replace("_", "")

    def _struct(self, suffix: str, when: str, *, forbid: bool) -> type[Struct]:
        fields: list[Any] = []
        for one in self.fields:
            if when not in one.on:
                continue
            if one.required and when == "c":
                fields.append((one.python, one.kind))
            else:
                fields.append((one.python, one.kind | UnsetType, UNSET))
        return msgspec.defstruct(
            self._title + suffix,
            fields,
            rename={field.python: field.name for field in self.fields},
            forbid_unknown_fields=forbid,
            kw_only=True,
        )


class Renderer:
    """Makes JSON-ready dicts of rows.

    Most attributes are a row's own or the same for all rows: those are taken at once.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        constant = {f.name: f.show.value for f in fields if isinstance(f.show, Constant)}
        plain = [f for f in fields if f.show is None]
        self._template = {f.name: constant.get(f.name) for f in fields}  # in the order of fields
        self._names = tuple(f.name for f in plain)
        self._values = _all_of([f.key for f in plain])
        self._made = tuple(
            (f.name, f.show) for f in fields if f.show is not None and f.name not in constant
        )

    def __call__(self, row: Any, facts: Any) -> dict[str, Any]:
        """Return a row as a dict; `facts`: what it is shown with."""
        shown = self._template.copy()
        shown.update(zip(self._names, self._values(row), strict=True))
        for name, show in self._made:
            shown[name] = show(row, facts)
        return shown


def _all_of(keys: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads these attributes, of any number."""
    match keys:
        case []:
            return lambda _: ()
        case [key]:
            return lambda row: (getattr(row, key),)
    return attrgetter(*keys)


# --- how values are shown -------------------------------------------------------------------------


def as_text(key: str) -> Callable[[Any, Any], Any]:
    """Show a model value (an address, a block) as text; None stays null."""

    def show(row: Any, _: Any) -> str | None:
        value = getattr(row, key)
        return None if value is None else str(value)

    return show


@dataclass(frozen=True, slots=True, eq=False)  # a resource has a hash, and values may be lists
class Constant:
    """Shows the same for every row."""

    value: Any

    def __call__(self, _row: Any, _facts: Any) -> Any:
        """Return it."""
        return self.value


def constant(value: Any) -> Constant:
    """Show the same for every row."""
    return Constant(value)


def unset(
    name: str, value: Any, kind: Any, why: str = "leave it out", *, sort: bool = False
) -> Field:
    """Return a field that always has one value, which a client may repeat and not change.

    Clients say what they leave alone, too: "router:external": false. That is no reason to refuse.
    """

    def accept(given: Any) -> Any:
        if (given if given is not None else value) != value:
            raise Invalid(f"{given!r} is not supported; {why}")
        return value

    says = "" if value is None or value == [] else str(value)
    return Field(
        name=name,
        kind=kind,
        on="cu",
        accept=accept,
        show=constant(value),
        fixed=says,
        said_only=True,
        sort=sort,
    )


def as_time(key: str) -> Callable[[Any, Any], Any]:
    """Show seconds since 1970 as OpenStack writes times: 2026-11-22T03:35:00Z."""

    def show(row: Any, _: Any) -> str | None:
        return iso_time(getattr(row, key))

    return show


def iso_time(seconds: float | None) -> str | None:
    """Write a time as text, in UTC; None stays None."""
    if seconds is None:
        return None
    return _second(floor(min(max(seconds, EARLIEST), LATEST) + HALF_A_MICROSECOND))


@lru_cache(maxsize=1024)  # what was made together has the same one
def _second(number: int) -> str:
    return utc(number).isoformat(timespec="seconds")[: -len("+00:00")] + "Z"


def utc(seconds: float) -> datetime:
    """Return a time as a date; a time outside of the calendar as its first or last date."""
    return datetime.fromtimestamp(min(max(seconds, EARLIEST), LATEST), UTC)


# --- parsers of values ----------------------------------------------------------------------------


def uuid(value: str | None) -> str | None:
    """Read the id of something else, as it is; None stays None.

    Raises:
        Invalid: nothing has such an id.
    """
    try:
        if value is not None:
            UUID(value)
    except ValueError:
        raise Invalid(f"{value!r} is not a UUID") from None
    return value


# --- how the text of a filter is read -------------------------------------------------------------


def text(value: str) -> str:
    """Read a filter's value as it is."""
    return value


def text_or_none(value: str) -> str | None:
    """Read a filter's value of something that may be null: nothing is null."""
    return value or None


def number_or_none(value: str) -> int | None:
    """Read a number that may be null: nothing is null."""
    return int(value) if value else None


def split(value: str) -> list[str]:
    """Read a list, with commas between its parts."""
    return value.split(",")


def tag_list(given: list[str]) -> tuple[str, ...]:
    """Read tags.

    Raises:
        Invalid: one is given twice.
    """
    if twice := sorted(tag for tag, times in Counter(given).items() if times > 1):
        raise Invalid(f"tag {twice[0]!r} is given twice")
    return tuple(given)


def flag(value: str) -> bool:
    """Read true or false, in the ways that OpenStack clients write them."""
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return known[value.lower()]
    except KeyError:
        raise Invalid(f"{value!r} is neither true nor false") from None


def time(value: str) -> float:
    """Read a time: seconds since 1970, or ISO 8601 (without an offset it is UTC)."""
    try:
        return float(value)
    except ValueError:
        moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def mac(value: str) -> str:
    """Read a MAC address: six octets, lower case, colons.

    Raises:
        Invalid: it isn't one, or it is a group's or all zero, which no NIC may have.
    """
    octets = value.lower().replace("-", ":")
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", octets):
        raise Invalid(f"{value!r} is not a MAC address; write it like fa:16:3e:00:00:01")
    if int(octets[:2], 16) & 1 or octets == "00:00:00:00:00:00":
        raise Invalid(f"{value!r} can't be a port's MAC address: it is a group's, or all zero")
    return octets


def address(value: str) -> Address:
    """Read an IPv4 address."""
    return IPv4Address(value)


def address_or_none(value: str) -> Address | None:
    """Read an IPv4 address that may be null: nothing is null."""
    return address(value) if value else None


def block(value: str) -> Block:
    """Read an IPv4 block; an address with host bits set is one of its block's."""
    return IPv4Network(value, strict=False)


# --- fields that most resources have --------------------------------------------------------------

ID = Field(name="id", query=text, sort=True)
NAME = Field(name="name", kind=Name, on="cu", query=text, sort=True)
DESCRIPTION = Field(name="description", kind=LongText, on="cu", query=text)
PROJECT = (
    Field(name="project_id", kind=Name, on="c", query=text, sort=True),
    Field(name="tenant_id", attr="project_id", kind=Name, on="c", query=text, sort=True),
)
TAGS = (
    Field(name="tags", kind=Tags, on="c", accept=tag_list, show=constant([]), query=split),
    *(
        Field(name=name, query=split, write_only=True)
        for name in ("tags-any", "not-tags", "not-tags-any")
    ),
)  # shown by `routes.shown`: they are no part of a row
CHANGED_SINCE = Field(name="changed_since", query=time, write_only=True)
TIMES = (
    CHANGED_SINCE,
    Field(name="created_at", kind=str, show=as_time("created_at"), sort=True),
    Field(name="updated_at", kind=str, show=as_time("updated_at"), sort=True),
    Field(name="revision_number", kind=int, attr="revision", query=int),
)
