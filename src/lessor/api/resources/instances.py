"""/v2.0/instances: what the metadata service tells the VM whose ports carry an id."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from lessor.api.resources.routes import Calls, routes
from lessor.api.rest.fields import NAME, PROJECT, TIMES, Field, Name, Resource, text
from lessor.api.rest.names import dns_name
from lessor.errors import Invalid
from lessor.store.store import Store

MAX_USER_DATA = 65535  # bytes in base64, as the compute API has it
Texts = dict[Name, str]


def _base64(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise Invalid(f"it is not base64: {error}") from error
    return value


RESOURCE = Resource(
    "instance",
    "instances",
    (
        Field(name="id", kind=Name, on="c", query=text, sort=True),
        NAME,
        *PROJECT,
        Field(name="hostname", on="cu", accept=dns_name, query=text),
        Field(name="availability_zone", kind=Name, on="cu", query=text),
        Field(name="public_keys", kind=Texts, on="cu"),
        Field(
            name="user_data",
            kind=Annotated[str, Meta(max_length=MAX_USER_DATA)] | None,
            on="cu",
            accept=_base64,
        ),
        Field(name="metadata", kind=Texts, on="cu"),
        Field(name="launch_index", kind=Annotated[int, Meta(ge=0)], on="cu", query=int),
        Field(name="password"),
        *TIMES,
    ),
    doc="What the metadata service tells a virtual machine.",
)


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of instances."""
    calls = Calls.of(
        store.instances,
    )
    return routes(RESOURCE, calls)
