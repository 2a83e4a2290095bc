"""openstacksdk against a real server: the clients' own Python runs the files of `inside`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.started import CLIENTS, INSIDE, Running, environment, needs_clients

pytestmark = [pytest.mark.clients, needs_clients]
FILES = sorted(map(str, INSIDE.glob("sdk_*.py")))


def test_the_calls_of_the_library_work(running: Running, endpoint: str, tmp_path: Path) -> None:
    argv = [str(CLIENTS / "python"), "-m", "pytest", *FILES, "-q", "--tb=short"]
    argv += ["-c", os.devnull, "--confcutdir", str(INSIDE), "-p", "no:cacheprovider"]
    argv += ["-W", "ignore", "--durations=5"]
    where = {"LESSOR_ENDPOINT": endpoint, "LESSOR_AGENTS": running.agents}
    env = environment(tmp_path, PYTHONDONTWRITEBYTECODE="1", **where)
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
