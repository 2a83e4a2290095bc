"""What tests of several folders share: the databases; and what of them has to run in one process.

Where several processes share the work (`scripts/test`), a file's tests stay together, since they
share fixtures of the module, labs among them; so does what stands on one of the labs that a whole
session keeps, one for each gateway_firewall.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import Cluster, cluster

ENGINES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """Return a PostgreSQL server of this test process's own."""
    with cluster() as made:
        made.prepare()
        yield made


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Return the database's kind: a test that asks for it, even indirectly, runs on each."""
    return str(request.param)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put each test into its group."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    if "lab_with" not in getattr(item, "fixturenames", ()):
        return item.nodeid.partition("::")[0]
    return "iptables" if "[iptables" in item.nodeid else "nftables"
