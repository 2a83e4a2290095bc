"""The page of faults names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "faults.md"


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 20
    assert named - there == set()


def test_every_line_of_the_page_that_refers_to_tests_has_its_list() -> None:
    text, _, tests = PAGE.read_text().partition("## The tests")
    referred = {int(number) for number in re.findall(r"\((\d+)\)", text)}
    listed = [int(number) for number in re.findall(r"(?m)^(\d+)\. ", tests)]
    assert listed == sorted(referred)
