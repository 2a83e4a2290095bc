from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.server_process import Process


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start servers; end them. What they said last stands beside a failure."""
    with ExitStack() as started:

        def make(connection: str, *args: str) -> Process:
            made = Process(tmp_path / "state", connection, *args)
            started.callback(made.end)
            started.callback(lambda: sys.stdout.write(made.last_words()))
            return made

        yield make
