"""In docs/design/architecture.md every box is a folder or file, and no folder is missing."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lessor"
PAGE = (ROOT / "docs/design/architecture.md").read_text()
NAME = r"[a-z][a-z_]*"
PATH = re.compile(rf"(?<![\w/.]){NAME}(?:/{NAME})*(?:/(?![\w.])|\.py\b)")


def named() -> set[str]:
    """Return the folders ("core/plan/") and files ("wire.py") that the page names."""
    outside = ("tests/", "src/", "docs/")
    return {path for path in PATH.findall(PAGE) if not path.startswith(outside)}


def test_every_box_exists() -> None:
    assert len(named()) > 40
    missing = [path for path in named() if not (SOURCE / path).exists()]
    assert [path for path in missing if not (SOURCE / "metadata" / path).exists()] == []


def test_every_folder_has_a_box() -> None:
    folders = {path.parent.relative_to(SOURCE) for path in SOURCE.rglob("*.py")}
    shown = {f"{folder}/" for folder in folders if folder != Path()}
    assert {one for one in shown if not one.startswith("store/migrations")} - named() == set()
