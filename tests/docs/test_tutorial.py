"""docs/tutorial.md and README.md are followed to the letter, on a fresh machine each.

One thing is lent: the packages of this repository's .venv, so that scripts/setup has nothing to
fetch. The guest's kernel, too, is fetched before; and where there is no systemd, nobody reads the
last section.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lessor.lab.guest.image import build_guest, default_cache
from tests.docs.follow import Reader
from tests.docs.machine import LEND_ENVIRONMENT, Machine
from tests.docs.page import Step, missing, sections, steps

ROOT = Path(__file__).parents[2]
TUTORIAL, README = ROOT / "docs/tutorial.md", ROOT / "README.md"


@pytest.fixture
def machine() -> Iterator[Machine]:
    build_guest(default_cache())
    machine = Machine(ROOT, default_cache())
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()


@pytest.fixture
def reader(machine: Machine) -> Reader:
    reader = Reader(lambda _: machine.terminal({"REPOSITORY": "file:///mnt/repository"}))
    reader.terminal().run("git config --global safe.directory '*'")  # whoever owns the repository
    return reader


def lent(step: Step) -> Step:
    return replace(
        step, typed=step.typed.replace("\nscripts/setup", f"\n{LEND_ENVIRONMENT}\nscripts/setup")
    )


@pytest.mark.lab
def test_the_tutorial_leads_to_a_vm_with_its_address(machine: Machine, reader: Reader) -> None:
    parts = sections(TUTORIAL.read_text())
    assert "systemctl" in parts[-1]
    read = parts if machine.has_systemd else parts[:-1]
    reader.follow(lent(step) for part in read for step in steps(part))


@pytest.mark.lab
def test_the_readme_leads_to_a_port_for_a_vm(reader: Reader) -> None:
    [use] = [part for part in sections(README.read_text()) if "lessor up" in part]
    for name in ("first", "up"):
        where = "git clone -q file:///mnt/repository /opt/lessor; " if name == "first" else ""
        reader.terminal(name).run(f"{where}cd /opt/lessor")
    for step in steps(use):
        if step.terminal == "up":
            reader.terminal("up").type(step.typed)
            reader.terminal("up").wait(lambda said: "listening" in said, 30)
        else:
            reader.follow([lent(replace(step, typed=f"\n{step.typed}"))])


@pytest.mark.parametrize(
    ("shown", "lacks"),
    [
        pytest.param(["b", "c"], "", id="a-part"),
        pytest.param(["a", "…", "c"], "", id="left-out"),
        pytest.param(["a", "c"], "a\nc", id="left-out-and-not-said"),
        pytest.param(["c", "…", "a"], "a", id="in-another-order"),
        pytest.param(["a", "…", "d"], "d", id="not-there"),
        pytest.param(["seen 2020-01-01T00:00:00Z  by 3f2a9c1e-5b00"], "", id="times-and-ids"),
        pytest.param(["seen 2020-01-01T00:00:00Z  by nobody"], "seen <time> by nobody", id="words"),
    ],
)
def test_what_a_page_shows_must_have_been_said(shown: list[str], lacks: str) -> None:
    said = "a\nb\n\nc\nseen 2026-11-22T05:08:08Z by 10000000-4c4c \n"
    assert missing(shown, said) == lacks
