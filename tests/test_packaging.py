"""The systemd units: what must hold of them, and that systemd can read them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[1] / "packaging/systemd"


def settings(unit: str) -> list[str]:
    lines = (UNITS / unit).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "["))]


def test_the_end_of_the_agent_ends_only_itself() -> None:
    assert "KillMode=process" in settings("lessor-agent.service")


def test_the_server_is_started_when_it_answers() -> None:
    assert "Type=notify" in settings("lessor-server.service")


@pytest.mark.parametrize("unit", ["lessor-server.service", "lessor-agent.service"])
def test_a_process_that_fails_is_started_again(unit: str) -> None:
    assert "Restart=on-failure" in settings(unit)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", ["lessor-server.service", "lessor-agent.service"])
def test_systemd_finds_nothing_wrong(unit: str, tmp_path: Path) -> None:
    text = (UNITS / unit).read_text().replace("/usr/bin/lessor ", "/bin/true ")
    (tmp_path / unit).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
