"""Servers and clients for the tests in this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clients.started import DATABASES, Openstack, Program, clear, server
from tests.postgres import Cluster


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    made = Program(tmp_path_factory.mktemp("openstack"))
    yield made
    made.close()


@pytest.fixture(scope="session", params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def running(
    database: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    """One server for all tests that need no settings of their own."""
    with ExitStack() as opened:
        flags: tuple[str, ...] = ()
        if database == "postgresql":
            cluster: Cluster = request.getfixturevalue("postgres")
            url = cluster.url(opened.enter_context(cluster.database()))
            flags = ("--set", f"database.connection={url}")
        yield opened.enter_context(server(tmp_path_factory.mktemp("server"), *flags))


@pytest.fixture
def endpoint(running: str) -> Iterator[str]:
    """The address of a server that has nothing, and has nothing left afterwards."""
    yield running
    clear(running)


@pytest.fixture
def openstack(program: Program, endpoint: str) -> Openstack:
    return Openstack(program, {"auth-type": "none", "endpoint": endpoint})
