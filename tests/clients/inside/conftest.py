"""openstacksdk, connected to the server whose address is in LESSOR_ENDPOINT."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest


@pytest.fixture(scope="session")
def cloud() -> Iterator[Any]:
    import openstack  # noqa: PLC0415 - only the clients' own Python has it; pytest of ours looks here, too

    made = openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_type="none",
        endpoint=os.environ["LESSOR_ENDPOINT"],
        identity_endpoint_override=os.environ["LESSOR_ENDPOINT"] + "/v3",
    )
    yield made
    made.close()


@pytest.fixture
def network(cloud: Any) -> Any:
    """The proxy of the networking service."""
    return cloud.network


@pytest.fixture
def blue(network: Any) -> Iterator[Any]:
    """A network with a subnet; both go with all ports on them."""
    made = network.create_network(name="blue")
    network.create_subnet(network_id=made.id, name="blue4", ip_version=4, cidr="10.1.0.0/16")
    yield made
    ports = network.get(f"/ports?network_id={made.id}&fields=id").json()["ports"]
    with ThreadPoolExecutor(8) as several:  # a thousand of them
        list(several.map(network.delete, (f"/ports/{port['id']}" for port in ports)))
    network.delete_network(made)
