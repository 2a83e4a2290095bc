from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.server_process import Process


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start servers; end them."""
    with ExitStack() as started:

        def make(connection: str, *args: str) -> Process:
            made = Process(tmp_path / "state", connection, *args)
            started.callback(made.end)
            return made

        yield make
