from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lessor.store.engine.database import FILE
from lessor.store.store import Store
from tests.postgres import Cluster
from tests.store.store_cloud import Cloud, open_cloud, settings_in


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database: copied, since the migrations take longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    Store.open(settings_in(folder)).close()
    return folder / FILE


@pytest.fixture
def connection(engine: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return `[database] connection` of an empty database: "" is a file in state_dir."""
    if engine == "sqlite":
        yield ""
        return
    server: Cluster = request.getfixturevalue("postgres")
    with server.database() as name:
        yield server.url(name)


@pytest.fixture
def make_cloud(
    tmp_path: Path, empty_database: Path, connection: str
) -> Iterator[Callable[..., Cloud]]:
    """Open stores with settings of their own, on one database; all are closed at the end."""
    with ExitStack() as stack:

        def make(**settings: object) -> Cloud:
            file = tmp_path / "state" / FILE
            if not connection and not file.exists():
                file.parent.mkdir()
                shutil.copy(empty_database, file)
            cloud = open_cloud(tmp_path / "state", **{"connection": connection} | settings)
            stack.callback(cloud.store.close)
            return cloud

        yield make


@pytest.fixture
def cloud(make_cloud: Callable[..., Cloud]) -> Cloud:
    return make_cloud()
