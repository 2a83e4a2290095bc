"""A real server for the commands to talk to: one a session, on a store of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lessor.cli.main import program
from lessor.errors import LessorError

Lessor = Callable[..., str]


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("cli-server")
    settings = folder / "lessor.conf"
    settings.write_text(
        "[DEFAULT]\nlisten = 127.0.0.1:0\nagent_listen = 127.0.0.1:0\nflat_network_bridge = br100\n"
        "flat_interface = eth1\nflat_mappings = physnet2:br200:eth2\n"
    )
    command = [sys.executable, "-m", "lessor.cli.main", "server", "--state-dir", str(folder)]
    with subprocess.Popen(
        [*command, "--config-file", str(settings)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:  # ends when the process does
            said.append(line)
            if found := re.search(r"\bapi=(127\.0\.0\.1:\d+)", line):
                break
        else:
            pytest.fail(f"the server did not start: {''.join(said)}")
        yield f"http://{found[1]}"
        process.terminate()
        process.stderr.read()


@pytest.fixture
def lessor(server_url: str) -> Lessor:
    """Run a command that is to be done, and return what it prints."""

    def run(*arguments: str | Path) -> str:
        done = CliRunner().invoke(
            program(), [*map(str, arguments)], env={"LESSOR_SERVER": server_url}
        )
        if isinstance(done.exception, LessorError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    return run
