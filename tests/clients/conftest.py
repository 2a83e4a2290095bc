"""Servers and clients for the tests in this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.started import Openstack, Program, clear, server


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    made = Program(tmp_path_factory.mktemp("openstack"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all tests that need no settings of their own."""
    with server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def endpoint(running: str) -> Iterator[str]:
    """The address of a server that has nothing, and has nothing left afterwards."""
    yield running
    clear(running)


@pytest.fixture
def openstack(program: Program, endpoint: str) -> Openstack:
    return Openstack(program, {"auth-type": "none", "endpoint": endpoint})
