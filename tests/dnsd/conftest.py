"""A namespace with a bridge, an address of a DHCP server, and clients' addresses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lessor.agent.host.run import run
from tests.agent.drivers.dnsmasq_host import Host, host_in_namespace
from tests.dnsd.serving import Serving, serving


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        for address in ("10.0.0.50/32", "10.0.0.51/32", "192.0.2.10/32", "192.0.2.11/32"):
            run("ip", "addr", "add", address, "dev", "lo")
        yield made


@pytest.fixture
def served(host: Host) -> Iterator[Serving]:
    with serving(host.folder / "names.db") as made:
        yield made
