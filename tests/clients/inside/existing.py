"""Hooks for schemathesis: half of what it asks for exists, made just before.

It makes up ids by itself, and would learn only how the server says that it knows none of them.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from itertools import count
from typing import Any
from urllib.request import Request, urlopen

import schemathesis

ENDPOINT = os.environ["LESSOR_ENDPOINT"]
numbers = count(1)


def make(noun: str, plural: str, **fields: Any) -> dict[str, Any]:
    """Make one through the API."""
    body = json.dumps({noun: fields}).encode()
    asked = Request(f"{ENDPOINT}/v2.0/{plural}", body, {"Content-Type": "application/json"})  # noqa: S310 - the test's own server
    with urlopen(asked, timeout=30) as answer:  # noqa: S310 - see above
        made: dict[str, Any] = json.load(answer)[noun]
    return made


def network() -> str:
    """Make a network and return its id."""
    return str(make("network", "networks", **{"provider:network_type": "vxlan"})["id"])


def subnet() -> str:
    """Make a subnet and return its id."""
    made = make("subnet", "subnets", network_id=network(), cidr="10.0.0.0/24", ip_version=4)
    return str(made["id"])


# by the first word of the path
EXISTING: dict[str, Callable[[], str]] = {
    "networks": network,
    "subnets": subnet,
    "ports": lambda: str(make("port", "ports", network_id=network())["id"]),
    "subnetpools": lambda: str(make("subnetpool", "subnetpools", prefixes=["10.0.0.0/16"])["id"]),
    "address-scopes": lambda: str(make("address_scope", "address-scopes", ip_version=4)["id"]),
    "instances": lambda: str(make("instance", "instances", name="i")["id"]),
    "hosts": lambda: str(make("host", "hosts", name=f"h{next(numbers)}")["name"]),
    "agents": lambda: str(make("host", "hosts", name=f"h{next(numbers)}")["id"]),
    "extensions": lambda: "agent",
}


@schemathesis.hook  # type: ignore[untyped-decorator]  # it isn't in our own Python
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    """Put the id of something that exists into every other request."""
    path: str = context.operation.path
    make_one = EXISTING.get(path.removeprefix("/v2.0/").partition("/")[0])
    if not path_parameters or make_one is None:
        return path_parameters
    if zlib.crc32(json.dumps(path_parameters, default=str).encode()) % 2:
        return path_parameters
    return path_parameters | {("alias" if "alias" in path_parameters else "key"): make_one()}
