"""Servers and clients for the tests in this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.clients.started import (
    DATABASES,
    SOME,
    Openstack,
    Program,
    Running,
    clear,
    password_flags,
    server,
)
from tests.postgres import Cluster

StoreFlags = Callable[[], tuple[str, ...]]
# what differs by engine fails on PostgreSQL first: it refuses texts with NUL and wide numbers, too
SELDOM: tuple[dict[str, object], ...] = (
    {"database": "sqlite", "openstack": "http_basic"},
    {"database": "postgresql", "openstack": "none"},
    {"database": "sqlite", "examples": SOME},
)
USERS = {"root": "admin", "alice": "member", "bob": "member"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These combinations are tried in the long run only, the others in each."""
    for item in items:
        asked = getattr(item, "callspec", None)
        if asked and any(one.items() <= asked.params.items() for one in SELDOM):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    made = Program(tmp_path_factory.mktemp("openstack"))
    yield made
    made.close()


@pytest.fixture(scope="session", params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def store_flags(database: str, request: pytest.FixtureRequest) -> Iterator[StoreFlags]:
    """What gives the flags of a server with a new store, on the one or the other engine."""
    cluster: Cluster | None = None
    if database == "postgresql":
        cluster = request.getfixturevalue("postgres")
    with ExitStack() as opened:

        def flags() -> tuple[str, ...]:
            if cluster is None:
                return ()
            url = cluster.url(opened.enter_context(cluster.database()))
            return ("--set", f"database.connection={url}")

        yield flags


@pytest.fixture(scope="session")
def running(store_flags: StoreFlags, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all tests that need no settings of their own."""
    with server(tmp_path_factory.mktemp("server"), *store_flags()) as made:
        yield made


@pytest.fixture(scope="session")
def locked(store_flags: StoreFlags, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that asks for passwords (http_basic), with its administrator's."""
    folder = tmp_path_factory.mktemp("locked")
    with server(folder, *store_flags(), *password_flags(folder, USERS)) as made:
        yield replace(made, user="root")


@pytest.fixture
def endpoint(running: Running) -> Iterator[str]:
    """The address of a server that has nothing, and has nothing left afterwards."""
    yield running.api
    clear(running)


@pytest.fixture(params=["none", "http_basic"])
def openstack(
    program: Program, store_flags: StoreFlags, request: pytest.FixtureRequest
) -> Iterator[Openstack]:
    """The client, with `--os-auth-type` none or http_basic, and a server that has nothing."""
    of: Running = request.getfixturevalue("running" if request.param == "none" else "locked")
    yield Openstack(program, of)
    clear(of)


@pytest.fixture
def log_in(program: Program, locked: Running) -> Iterator[Callable[[str], Openstack]]:
    """What gives a user's client; each but root has a project of its own."""
    yield lambda name: Openstack(program, replace(locked, user=name))
    clear(locked)
