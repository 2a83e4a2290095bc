import re
from pathlib import Path
from types import ModuleType

import pytest

from lessor.core.openflow import int_flows, tun_flows

PAGE = Path(__file__).parents[2] / "docs" / "design" / "overlay.md"


def rows(text: str) -> list[str]:
    return re.findall(r"^\| \d+ \|.*\|$", text, re.MULTILINE)


@pytest.mark.parametrize(("bridge", "code"), [("br-int", int_flows), ("br-tun", tun_flows)])
def test_the_page_has_the_tables_of_the_code(bridge: str, code: ModuleType) -> None:
    section = PAGE.read_text().split(f"\n## {bridge}\n")[1].split("\n## ")[0]
    assert rows(section) == rows(code.__doc__ or "")
    assert [int(row.split()[1]) for row in rows(section)] == sorted(code.TABLES)


@pytest.mark.parametrize(
    ("code", "lines"), [(int_flows, int_flows.int_flows([])), (tun_flows, tun_flows.tun_flows([]))]
)
def test_every_table_of_the_code_has_flows(code: ModuleType, lines: tuple[str, ...]) -> None:
    used = {int(line.split(",")[0].removeprefix("table=")) for line in lines}
    assert used == set(code.TABLES)
