from __future__ import annotations

import re
from typing import Any

import pytest

from lessor.layout import Column, details, print_table, table

COLUMNS = (
    Column("NAME", "name"),
    Column("HOST", "host"),
    Column("ADDRESSES", lambda row: row["addresses"]),
)
ROWS: list[dict[str, Any]] = [
    {"name": "vm1", "host": "h1", "addresses": ["10.0.0.2", "10.0.0.3"]},
    {"name": "a-long-name", "host": None, "addresses": []},
]


def test_columns_are_aligned_and_what_is_not_there_is_a_dash() -> None:
    assert table(COLUMNS, ROWS).splitlines() == [
        "NAME         HOST  ADDRESSES",
        "vm1          h1    10.0.0.2, 10.0.0.3",
        "a-long-name  -     -",
    ]


def test_a_table_without_rows_has_its_titles() -> None:
    assert table(COLUMNS, []) == "NAME  HOST  ADDRESSES"


def test_zero_is_not_nothing() -> None:
    assert table((Column("N", "n"),), [{"n": 0}]).splitlines() == ["N", "0"]


def test_details_have_a_line_for_each_field_and_each_object_in_a_list() -> None:
    row = {
        "id": "1",
        "up": True,
        "fixed_ips": [{"subnet_id": "s", "ip_address": "10.0.0.2"}, {"ip_address": "10.0.0.3"}],
        "profile": {"tap": "managed"},
        "host": None,
    }
    assert details(row).splitlines() == [
        "id         1",
        "up         yes",
        "fixed_ips  subnet_id=s, ip_address=10.0.0.2",
        "           ip_address=10.0.0.3",
        'profile    tap="managed"',
        "host",
    ]


def test_without_a_terminal_a_table_is_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((Column("TEXT", "text"),), [{"text": "x" * 300}])
    assert capsys.readouterr().out == f"TEXT\n{'x' * 300}\n"


def test_on_a_terminal_a_table_fits_and_loses_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    print_table((Column("A", "a"), Column("B", "b")), [{"a": "x" * 50, "b": "y" * 50}])
    out = re.sub(r"\x1b\[1m|\x1b\[0m", "", capsys.readouterr().out)  # bold is no colour
    assert max(len(line) for line in out.splitlines()) <= 40
    assert (out.count("x"), out.count("y")) == (50, 50)
    assert "\x1b" not in out


def test_ids_are_wrapped_before_addresses_and_times(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    row = {"mac": "fa:16:3e:98:5a:f4", "id": "4a6ca063-e92f-4d95-842f-ceec37f29200"}
    print_table((Column("MAC", "mac"), Column("ID", "id")), [row])
    lines = re.sub(r"\x1b\[1m|\x1b\[0m", "", capsys.readouterr().out).splitlines()
    assert max(len(line) for line in lines) <= 40
    assert lines[1].startswith("fa:16:3e:98:5a:f4  4a6ca063-e92f-")
    assert "".join(line.split()[-1] for line in lines[1:]) == row["id"]


def test_a_column_that_nobody_needs_is_left_out() -> None:
    columns = (Column("NAME", "name"), Column("VNI", "vni", optional=True))
    assert table(columns, [{"name": "blue", "vni": None}]) == "NAME\nblue"
    assert table(columns, [{"name": "red", "vni": 7}]) == "NAME  VNI\nred   7"


def test_a_name_with_an_escape_sequence_is_shown_and_not_obeyed() -> None:
    row = {"name": "\x1b[2Jgone", "tags": ["\x9bx"], "problems": ["a sentence \x1b]0;t\x07"]}
    shown = table([Column("NAME", "name"), Column("TAGS", "tags")], [row]) + details(row)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)
    assert shown.count(r"\x1b") == 3


def test_neither_values_nor_keys_make_a_row_of_their_own() -> None:
    row = {"name": "a\nforged", "metadata": {"\x1b]0;owned\x07": "x", "k\nforged": "y"}}
    shown = table([Column("NAME", "name"), Column("METADATA", "metadata")], [row])
    assert len(shown.splitlines()) == 2
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown + details(row))
    assert "forged" not in {line.partition(" ")[0] for line in details(row).splitlines()}
    assert details(row).splitlines()[1] == "          forged", "lines of a text are of its column"
