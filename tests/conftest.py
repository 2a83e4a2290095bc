"""What tests of several folders share: the databases; and what of them has to run in one process.

Where several processes share the work (`scripts/test`), a file's tests stay together, since they
share fixtures of the module, labs among them; so does what stands on one of the labs that a whole
session keeps, one for each gateway_firewall.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.postgres import Cluster, cluster

ENGINES = ("sqlite", "postgresql")


def pytest_configure() -> None:
    """Let properties take their time: how long they take is no property, and machines are busy."""
    patient = [HealthCheck.too_slow]
    settings.register_profile("patient", deadline=None, suppress_health_check=patient)
    settings.load_profile("patient")


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Share work out by these groups, for `--dist=loadscope`."""
    return _ByGroup(config, log)


class _ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if not file.startswith("tests/lab/test_acceptance_"):
            return file
        return "iptables" if "[iptables" in nodeid else "nftables"
