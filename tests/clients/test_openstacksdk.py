"""openstacksdk against a real server process: each file of `inside` is run by the clients' own Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.started import CLIENTS, INSIDE, environment, needs_clients

pytestmark = [pytest.mark.clients, needs_clients]
FILES = sorted(path.name for path in INSIDE.glob("sdk_*.py"))


@pytest.mark.parametrize("file", FILES)
def test_the_calls_of_the_library_work(file: str, endpoint: str, tmp_path: Path) -> None:
    argv = [str(CLIENTS / "python"), "-m", "pytest", str(INSIDE / file), "-q", "--tb=short"]
    argv += ["-c", os.devnull, "--confcutdir", str(INSIDE), "-p", "no:cacheprovider"]
    argv += ["-W", "ignore", "--durations=5"]
    env = environment(tmp_path, LESSOR_ENDPOINT=endpoint, PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
