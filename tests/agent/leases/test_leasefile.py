from ipaddress import IPv4Address
from pathlib import Path

from lessor.agent.leases.inbox import Inbox
from lessor.agent.leases.leasebook import LeaseBook
from lessor.agent.leases.leasefile import file_of, leases_of
from lessor.agent.leases.spool import Spool
from lessor.core.leases import LiveLease

A, B = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
NAMED = LiveLease(IPv4Address("10.0.0.9"), A, 50.0, "web", "01:02")
ENDLESS = LiveLease(IPv4Address("10.0.0.10"), B, None, 'a "b"\n')
FORMER = f"50 {A} 10.0.0.9 web 01:02\n0 {B} 10.0.0.10 * *\n"  # of Lessor 0.1.0


def test_a_lease_is_a_line_of_json_and_reads_back() -> None:
    content = file_of([ENDLESS, NAMED])
    assert content.count(b"\n") == 2
    assert list(leases_of(content).values()) == [NAMED, ENDLESS]


def test_a_malformed_line_costs_no_other() -> None:
    content = b'{"address": 7}\n{\n\xff\n' + file_of([NAMED]) + b"50 x y\n"
    assert list(leases_of(content).values()) == [NAMED]


def test_an_upgraded_agent_has_the_leases_of_the_former_form(tmp_path: Path) -> None:
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases/br100").write_text(FORMER)
    spool = Spool(tmp_path / "spool", Inbox(tmp_path / "hook"))
    book = LeaseBook(tmp_path / "leases", spool, lambda: 0.0)
    renewed = LiveLease(NAMED.address, A, 90.0, "web", "01:02")
    assert list(book.live("br100").values()) == [NAMED, LiveLease(ENDLESS.address, B, None)]
    spool.add("br100", "old", renewed)
    book.catch_up()
    written = leases_of((tmp_path / "leases/br100").read_bytes())
    assert list(written.values()) == [renewed, LiveLease(ENDLESS.address, B, None)]
    assert (tmp_path / "leases/br100").read_bytes().startswith(b"{")
