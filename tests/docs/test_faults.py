"""The pages of faults and of security name tests that there are, and files where they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("faults", "security")


def text(page: str) -> str:
    return (ROOT / "docs" / "reference" / f"{page}.md").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_the_page_names_is_there(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", text(page)))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 20
    assert named - there == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_the_page_that_refers_to_tests_has_its_list(page: str) -> None:
    before, _, tests = text(page).partition("## The tests")
    referred = {int(number) for number in re.findall(r"\((\d+)\)", before)}
    listed = [int(number) for number in re.findall(r"(?m)^(\d+)\. ", tests)]
    assert listed == sorted(referred)


def test_the_files_of_tests_that_the_page_of_security_names_are_there() -> None:
    """A name without a folder is of the folder that was named last."""
    folder, named = "tests", []
    for path, name in re.findall(r"\b(tests(?:/\w+)*/)?(test_\w+\.py)", text("security")):
        folder = path.removesuffix("/") or folder
        named.append(ROOT / folder / name)
    assert len(named) > 20
    assert [path for path in named if not path.is_file()] == []
