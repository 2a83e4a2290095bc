"""Lease events: in the inbox, or in memory until they can be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessor.core.dhcp.leases import Action, Event
from lessor.core.leases import parse_line
from lessor.dhcpd import reporter
from lessor.dhcpd.reporter import Reporter
from lessor.model import LeaseEvent

MAC = bytes.fromhex("fa163e000001")


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[tuple[Reporter, Path]]:
    folder = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    (tmp_path / "current").touch()
    yield Reporter(folder), tmp_path / "current"
    os.close(folder)


def event(action: Action, last: int, until: float | None = 1_800_000_000.9) -> Event:
    return Event(action, bytes((10, 0, 0, last)), MAC, b"\1\xff", until, 1_799_999_000.0)


def read(file: Path) -> list[LeaseEvent]:
    lines = filter(None, file.read_text().split("\n"))
    found = [parse_line(line, 1, 0.0, 1e12) for line in lines]
    assert None not in found
    return [one for one in found if one]


@pytest.mark.parametrize(
    ("action", "word", "expires_at"),
    [
        (Action.GRANTED, "add", 1_800_000_000.0),
        (Action.RENEWED, "old", 1_800_000_000.0),
        (Action.RELEASED, "del", 1_800_000_000.0),
        (Action.EXPIRED, "del", 1_800_000_000.0),
        (Action.DECLINED, "del", None),
    ],
)
def test_each_action_has_its_word(
    inbox: tuple[Reporter, Path], action: Action, word: str, expires_at: float | None
) -> None:
    made, file = inbox
    made.add("net", event(action, 5), "vm1")
    made.flush(again=False)
    (found,) = read(file)
    assert (found.server, found.action, found.expires_at) == ("net", word, expires_at)
    assert (found.mac_address, found.client_id) == ("fa:16:3e:00:00:01", "01:ff")
    assert found.hostname == "vm1"


def test_a_lease_without_end_has_none(inbox: tuple[Reporter, Path]) -> None:
    made, file = inbox
    made.add("net", event(Action.GRANTED, 5, None), "*")
    made.flush(again=False)
    (found,) = read(file)
    assert (found.expires_at, found.hostname) == (None, "")


def test_what_cannot_be_written_waits_and_its_last_event_counts(
    inbox: tuple[Reporter, Path],
) -> None:
    made, file = inbox
    file.unlink()
    for action, last in ((Action.GRANTED, 5), (Action.GRANTED, 6), (Action.RENEWED, 5)):
        made.add("net", event(action, last), "*")
        made.flush(again=False)
    assert (made.waiting, made.lost) == (2, 0)
    assert "No such file" in made.problem
    file.touch()
    made.flush(again=False)
    assert read(file) == []
    made.flush(again=True)
    assert [(one.action, str(one.address)) for one in read(file)] == [
        ("add", "10.0.0.6"),
        ("old", "10.0.0.5"),
    ]
    assert (made.waiting, made.problem) == (0, "")


def test_only_so_many_wait(inbox: tuple[Reporter, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "MAX_WAITING", 3)
    made, file = inbox
    file.unlink()
    for last in range(5):
        made.add("net", event(Action.GRANTED, last), "*")
    made.flush(again=True)
    assert (made.waiting, made.lost) == (3, 2)
