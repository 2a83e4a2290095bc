"""Adds query parameters of lists and errors to the OpenAPI page, beyond the handlers' types."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIType, Operation, Parameter, Schema
from msgspec import Struct

from lessor.api.rest.fields import Resource


class Problem(Struct):
    """What went wrong: the exception's name in OpenStack Networking, and a sentence."""

    type: str
    message: str
    detail: str


class ProblemBody(Struct):
    """The body of every error."""

    NeutronError: Problem


PROBLEMS = {
    400: ResponseSpec(ProblemBody, description="what was asked can't be meant"),
    404: ResponseSpec(ProblemBody, description="there is no such thing"),
    409: ResponseSpec(ProblemBody, description="it can't be done as things are now"),
    413: ResponseSpec(ProblemBody, description="the body is larger than max_body_bytes"),
}

_TEXT = Schema(type=OpenAPIType.STRING)
_TEXTS = Schema(type=OpenAPIType.ARRAY, items=_TEXT)


def listing(resource: Resource) -> type[Operation]:
    """Return the kind of operation that a list of the resource is."""

    @dataclass
    class Listing(Operation):
        def __post_init__(self) -> None:
            self.parameters = [*(self.parameters or []), *_parameters(resource)]

    return Listing


def _parameters(resource: Resource) -> list[Parameter]:
    filters = [
        Parameter(f.name, "query", schema=_TEXTS, description="only these; repeated: any of them")
        for f in resource.fields
        if f.query or f.fixed is not None
    ]
    return [*filters, *_paging(resource)]


def _paging(resource: Resource) -> list[Parameter]:
    keys = Schema(
        type=OpenAPIType.ARRAY,
        items=Schema(type=OpenAPIType.STRING, enum=[f.name for f in resource.fields if f.sort]),
    )
    turns = Schema(
        type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.STRING, enum=["asc", "desc"])
    )
    count = Schema(type=OpenAPIType.INTEGER, minimum=0)
    described = (
        ("fields", _TEXTS, "show only these fields; names that no field has count for nothing"),
        ("sort_key", keys, "sort by this; several: in turn"),
        ("sort_dir", turns, "one for each sort_key"),
        ("limit", count, "rows of a page; 0 is all"),
        ("marker", _TEXT, "the page after this row"),
        ("page_reverse", Schema(type=OpenAPIType.BOOLEAN), "the page before the marker"),
    )
    return [Parameter(name, "query", schema=kind, description=doc) for name, kind, doc in described]
