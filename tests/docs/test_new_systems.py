"""README's two commands, on new systems from nothing: all is fetched, as a user's machine would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.page import sections
from tests.docs.system import System, new_system

ROOT = Path(__file__).parents[2]
UBUNTU_KEYS = Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg")
SET_UP_S, DEMO_S, TEST_S = 900, 900, 1200
CLONE = "git config --global safe.directory '*'; git clone -q file:///mnt/repository /opt/lessor; "
# What meets the system's dnsmasq, nft, Open vSwitch, PostgreSQL and Python
PARTS = "tests/core tests/store tests/agent/drivers tests/lab/guest/test_realvm.py"

pytestmark = [pytest.mark.lab, pytest.mark.long]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("bookworm", "bookworm"), id="debian-12"),
        pytest.param(("trixie", "trixie"), id="debian-13"),
        pytest.param(
            ("noble", "gutsy"),
            id="ubuntu-24.04",
            marks=pytest.mark.skipif(
                not UBUNTU_KEYS.exists(), reason="debootstrap needs the package ubuntu-keyring"
            ),
        ),
    ],
)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    suite, script = request.param
    with new_system(suite, script, ROOT) as system:
        yield system


def test_the_readme_s_commands_pass_on_a_new_system(system: System) -> None:
    (part,) = [
        part for part in sections((ROOT / "README.md").read_text()) if "scripts/demo" in part
    ]
    assert "\nscripts/demo\nscripts/test\n" in part
    status, said = system.run(f"{CLONE}cd /opt/lessor; scripts/setup", SET_UP_S)
    assert status == 0, said
    status, said = system.run("/opt/lessor/.venv/bin/lessor --version", SET_UP_S)
    assert (status, said.split()[0]) == (0, "lessor")
    tools = (
        "cd /opt/lessor; ls -d .venv*; .venv/bin/pip list --format=freeze; type qemu-system-x86_64"
    )
    _, said = system.run(tools, SET_UP_S)
    for unwanted in (".venv-", "pytest", "mypy", "/qemu"):
        assert unwanted not in said, "scripts/setup installs what the product doesn't need"
    status, said = system.run("cd /opt/lessor; scripts/demo", SET_UP_S + DEMO_S)
    assert status == 0, said
    status, said = system.run(f"cd /opt/lessor; scripts/test -q {PARTS}", SET_UP_S + TEST_S)
    assert status == 0, said
