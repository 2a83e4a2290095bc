"""The pages about vxlan networks and about the lab itself are followed to the letter."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lessor.lab.lab import Lab
from lessor.lab.state import HostSpec
from tests.docs.follow import Reader
from tests.docs.page import steps
from tests.docs.terminal import Terminal
from tests.docs.test_howto import CLIENTS, read, reader_in

PATIENCE_S = 180  # with a lab that is made
LIMIT_S = 30

pytestmark = [pytest.mark.lab, pytest.mark.long]


@pytest.fixture(scope="module")
def overlay_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    names = {"net1": True, "net2": True, "cmp1": False}
    hosts = [HostSpec(name=n, network_host=owns, overlay=True) for n, owns in names.items()]
    lab = Lab.up(tmp_path_factory.mktemp("overlay") / "lab", hosts)
    yield lab
    lab.down()


@pytest.fixture
def in_the_lab(overlay_lab: Lab) -> Iterator[Reader]:
    with reader_in(overlay_lab) as reader:
        yield reader


def test_the_page_about_the_tour_is_true(in_the_lab: Reader) -> None:
    read("read-the-tour.md", in_the_lab)


def net2(lab: Lab) -> dict[str, Any]:
    return lab.api.find("hosts", "net2")


def test_the_page_about_vxlan_networks_is_true(overlay_lab: Lab, in_the_lab: Reader) -> None:
    settings = overlay_lab.node("net2").etc_dir / "lessor.conf"
    text = settings.read_text()
    settings.write_text(text.replace("local_ip = 203.0.113.12\n", ""))  # the page says it
    assert settings.read_text() != text
    read("vxlan-networks.md", in_the_lab)
    overlay_lab.wait_for(lambda: net2(overlay_lab)["availability_zone"] == "west", LIMIT_S)
    assert net2(overlay_lab)["local_ip"] == "203.0.113.12"


@pytest.mark.clients
@pytest.mark.skipif(not CLIENTS.exists(), reason="scripts/setup makes .venv-clients")
def test_the_page_about_moving_a_dhcp_server_is_true(in_the_lab: Reader) -> None:
    read("move-a-dhcp-server.md", in_the_lab)


def test_the_page_about_labs_is_true(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(tmp_path), "TERM": "xterm", "LESSOR_LAB": str(folder)}
    terminal = Terminal(("setsid", "--ctty", "bash", "--norc", "--noprofile"), environment)
    try:
        page = Path(__file__).parents[2] / "docs/how-to/make-a-lab.md"
        Reader(lambda _: terminal).follow(steps(page.read_text()), PATIENCE_S)
        assert Lab(folder).down() == 0, "the page's last command left something"
    finally:
        terminal.close()
        Lab(folder).down()
