from ipaddress import IPv4Address
from pathlib import Path

from lessor.agent.leases.inbox import Inbox
from lessor.agent.leases.leasebook import LeaseBook
from lessor.agent.leases.spool import Spool
from lessor.core.leases import LiveLease

FIVE = LiveLease(IPv4Address("10.0.0.5"), "fa:16:3e:00:00:05", 2000.0)
DEAD = LiveLease(IPv4Address("10.0.0.6"), "fa:16:3e:00:00:06", 500.0)


def book(folder: Path) -> LeaseBook:
    return LeaseBook(
        folder / "leases", Spool(folder / "spool", Inbox(folder / "hook")), clock=lambda: 1000.0
    )


def test_seeded_leases_are_there_at_once_and_outlive_the_agent(
    tmp_path: Path,
) -> None:
    made = book(tmp_path)
    assert made.live("n1") == {}
    made.seed("n1", [FIVE, DEAD])
    assert dict(made.live("n1")) == {FIVE.address: FIVE}
    assert dict(book(tmp_path).live("n1")) == {FIVE.address: FIVE}


def test_what_a_server_said_itself_is_newer_than_what_it_was_seeded_with(tmp_path: Path) -> None:
    made = book(tmp_path)
    made.seed("n1", [FIVE])
    made.end("n1", [FIVE])
    assert made.live("n1") == {}


def test_a_forgotten_server_has_no_file_and_the_others_keep_theirs(tmp_path: Path) -> None:
    made = book(tmp_path)
    for name in ("n1", "n2"):
        made.seed(name, [FIVE])
    made.forget("n1")
    assert [path.name for path in (tmp_path / "leases").iterdir()] == ["n2"]
    assert made.snapshot() == [("n2", FIVE)]
    assert book(tmp_path).snapshot() == [("n2", FIVE)]
