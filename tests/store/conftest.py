from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.store.store_cloud import Cloud, open_cloud


@pytest.fixture
def make_cloud(tmp_path: Path) -> Iterator[Callable[..., Cloud]]:
    """Open stores with settings of their own; all are closed at the end."""
    with ExitStack() as stack:

        def make(**settings: object) -> Cloud:
            cloud = open_cloud(tmp_path / "state", **settings)
            stack.callback(cloud.store.close)
            return cloud

        yield make


@pytest.fixture
def cloud(make_cloud: Callable[..., Cloud]) -> Cloud:
    return make_cloud()
