"""The page about adding a host, typed as it is, on an emptied host of a lab."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lessor.lab.lab import Lab
from lessor.lab.state import HostSpec
from tests.docs.follow import Reader
from tests.docs.page import Step, steps
from tests.docs.test_howto import PAGES, ROOT, reader_in

TOKEN = re.compile(r"^[\w-]{43}$", re.MULTILINE)
EMPTY = f"""for folder in /etc/lessor /etc/systemd/system /var/lib; do mount -t tmpfs tmpfs $folder; done
cd {ROOT}"""

pytestmark = [pytest.mark.lab, pytest.mark.long]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab.up(tmp_path / "lab", [HostSpec(name="h2", network_host=True)])
    lab.kill("h2", "agent")
    lab.api.delete("hosts", "h2")
    yield lab
    lab.down()


def test_the_page_about_adding_a_host_is_true(lab: Lab) -> None:
    page = steps((PAGES / "add-a-host.md").read_text())
    with reader_in(lab) as reader:
        reader.terminal("h2").run(EMPTY)
        reader.follow(with_the_token(step, reader) for step in page)
        vm = lab.boot("vm1", "h2", lab.network("blue", "10.0.0.0/24"))
        lab.wait_active(vm, 30)
        assert vm.dhcp(20).address == vm.state.assigned


def with_the_token(step: Step, reader: Reader) -> Step:
    """Return a step with the token that was told on the way, not the page's."""
    said = [token for _, text in reader.seen for token in TOKEN.findall(text.replace("\r", ""))]
    return replace(step, typed=TOKEN.sub(said[0], step.typed)) if said else step
