"""The generated pages are those of the options as they are."""

from __future__ import annotations

from pathlib import Path

from lessor.config import reference
from lessor.config.options import by_key

ROOT = Path(__file__).parents[2]


def test_the_sample_file_is_current() -> None:
    made = (ROOT / "packaging/lessor.conf.sample").read_text()
    assert made == reference.sample(), "lessor config sample > packaging/lessor.conf.sample"


def test_the_reference_page_is_current() -> None:
    made = (ROOT / "docs/reference/configuration.md").read_text()
    assert made == reference.page(), "lessor config reference > docs/reference/configuration.md"


def test_every_option_says_what_it_is_for() -> None:
    assert [name for name, option in by_key().items() if not option.help] == []
