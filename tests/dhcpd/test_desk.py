"""Whatever comes by the control socket is answered, and harms nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lessor.daemon.control import MAX_MESSAGE
from lessor.dhcpd.background import Background
from lessor.dhcpd.client import header_of
from lessor.dhcpd.database import Database
from lessor.dhcpd.desk import Desk
from lessor.dhcpd.messages import (
    ANSWER,
    PAGE,
    Close,
    Done,
    Drop,
    Dump,
    Figures,
    Hello,
    Open,
    Page,
    Put,
    Seed,
    Status,
    Welcome,
    encode,
    read,
)
from lessor.dhcpd.reporter import Reporter
from lessor.dhcpd.servers import Servers
from tests.core.dhcp.client import reservation, server
from tests.dhcpd.lan import SERVER, entry

HEADER = header_of(server())
NAME = HEADER.name


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    folder = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    servers = Servers(Database(tmp_path / "table"), {}, Background())
    servers.work()
    made = Desk(servers, Reporter(folder), "1", lambda: 1e9, lambda _: None)
    made.answer(encode(Open(HEADER)), [])
    yield made
    os.close(folder)


QUESTIONS = [
    Hello(),
    Open(HEADER),
    Put(NAME, tuple(entry(reservation(n)) for n in range(1, 4))),
    Drop(NAME, (entry(reservation(1)).address,)),
    Dump(NAME),
    Seed(NAME, (), complete=True),
    Status(NAME),
    Close(NAME),
    Status(SERVER),
]


@given(
    question=st.sampled_from(QUESTIONS),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=5),
    cut=st.integers(0, 50),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_message_has_an_answer(
    desk: Desk, question: Hello, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(encode(question))
    data = data[: max(1, len(data) - cut)]
    for at, value in changes:
        data[at % len(data)] = value
    answer = encode(desk.answer(bytes(data), []))
    assert len(answer) <= MAX_MESSAGE
    read(ANSWER, answer)
    assert isinstance(desk.answer(encode(Open(HEADER)), []), Done)


def test_the_counters_of_many_clients_fit_into_an_answer(desk: Desk) -> None:
    desk.answer(encode(Open(HEADER)), [])
    served = desk._servers.by_name[NAME]
    for number in range(PAGE + 10):
        for note in range(20):
            served._note(number.to_bytes(6, "big"), f"{note} {'x' * 60}")
    answer = desk.answer(encode(Status(NAME)), [])
    assert isinstance(answer, Figures)
    assert (PAGE + 9).to_bytes(6, "big") in answer.clients
    assert len(served.clients) == PAGE
    assert len(encode(answer)) <= MAX_MESSAGE


def test_more_servers_than_fit_are_told_in_pages(desk: Desk) -> None:
    names = {f"net-{number:03}" for number in range(PAGE + 20)}
    for name in names:
        desk.answer(encode(Open(msgspec.structs.replace(HEADER, name=name))), [])
    found: list[str] = []
    more = True
    while more:
        answer = desk.answer(encode(Hello(after=found[-1] if found else "")), [])
        assert isinstance(answer, Welcome)
        assert len(encode(answer)) <= MAX_MESSAGE
        found += [one.name for one in answer.servers]
        more = answer.more
    assert found == sorted(names | {NAME})


def test_texts_that_do_not_fit_into_an_answer_come_in_pages(desk: Desk) -> None:
    for number in range(1, 11):
        long = msgspec.structs.replace(entry(reservation(number)), reservation=b"x" * 50_000)
        assert isinstance(desk.answer(encode(Put(NAME, (long,))), []), Done)
    found: dict[bytes, bytes] = {}
    more = True
    while more:
        answer = desk.answer(encode(Dump(NAME, max(found, default=b""))), [])
        assert isinstance(answer, Page)
        assert len(encode(answer)) <= MAX_MESSAGE
        found |= answer.reservations
        more = answer.more
    assert [len(text) for text in found.values()] == [50_000] * 10


def test_a_revision_is_never_lower_than_before(desk: Desk) -> None:
    """The clock of the test stands still, and one may be set back."""
    revisions = []
    for _ in range(3):
        done = desk.answer(encode(Put(NAME, (entry(reservation(1)),))), [])
        assert isinstance(done, Done)
        revisions.append(done.revision)
    assert revisions == sorted(set(revisions))
