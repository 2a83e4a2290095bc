"""What tests of several folders share: the databases; and how test processes share the work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import Cluster, cluster
from tests.sharing import ByGroup

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
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    """Share work out by these groups, for `--dist=loadscope`."""
    return ByGroup(config, log)
