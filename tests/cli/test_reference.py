from __future__ import annotations

from pathlib import Path

from lessor.cli import reference

ROOT = Path(__file__).parents[2]


def test_the_page_of_commands_is_current() -> None:
    assert (ROOT / "docs/reference/cli.md").read_text() == reference.page(), "run scripts/pages"


def test_the_page_has_what_a_command_of_a_noun_takes() -> None:
    page = reference.page()
    assert "### `lessor network delete [OPTIONS] [NETWORKS...]`" in page
    assert "- `--cidr`, `--fixed-range-v4` CIDR: Also create a subnet" in page
    assert "--bridge-interface" not in page, "hidden: it is understood, and not taken"
