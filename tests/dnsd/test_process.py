"""The process as the agent has it: started, fed, killed, started again."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from lessor.agent.host.run import run
from lessor.core.dns.zone import entries, reserved
from lessor.core.state import DhcpServer
from lessor.daemon.home import Home
from lessor.daemon.line import Line
from lessor.daemon.process import find
from lessor.dnsd import files
from lessor.dnsd.client import Dnsd
from lessor.dnsd.messages import Sockets, encode
from lessor.errors import LessorError
from lessor.netns import inside
from tests.agent.drivers.dnsmasq_host import BRIDGE, Host, reserve, server
from tests.dnsd.asking import addresses, ask, code
from tests.dnsd.serving import Upstream

pytestmark = pytest.mark.lab


@pytest.fixture
def home(host: Host) -> Iterator[Home]:
    made = Home(host.folder / "dnsd")
    yield made
    running = find(made)
    if running is not None:
        running.end()
        running.close()


def bring(dnsd: Dnsd, want: DhcpServer) -> None:
    dnsd.open(want)
    dnsd.feed(want.name, (), entries(want))


def kill(home: Home) -> None:
    running = find(home)
    assert running
    running.end()
    running.close()


def test_it_answers_without_rights(home: Home) -> None:
    dnsd = Dnsd(home, "1.0")
    bring(dnsd, server(*(reserve(n) for n in range(2, 1002))))
    assert addresses(ask("vm999.novalocal")) == ["10.0.3.231"]
    status = Path(f"/proc/{dnsd.process.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split()[0] != "0"
    assert fields["CapEff"] == fields["CapBnd"] == "0" * 16
    assert fields["Threads"] == "2"
    assert len(list(dnsd.names(BRIDGE))) == 1000
    assert dnsd.counts(BRIDGE).counts == {"answered": 1}
    dnsd.close()


def test_it_outlives_the_agent_and_is_found_again(home: Home) -> None:
    first = Dnsd(home, "1.0")
    bring(first, server(reserve(5)))
    first.close()
    assert addresses(ask("vm5.novalocal")) == ["10.0.0.5"]
    second = Dnsd(home, "1.0")
    hello = second.hello()
    (state,) = hello.states
    assert state.name == BRIDGE
    assert state.complete
    assert state.serves
    assert (hello.program, hello.problems) == ("1.0", ())
    revision = second.feed(BRIDGE, reserved(reserve(5)), reserved(reserve(6)))
    assert revision > state.revision
    assert code(ask("vm5.novalocal")) == "NXDOMAIN"
    second.close()


def test_it_serves_again_without_being_fed(home: Home) -> None:
    dnsd = Dnsd(home, "1.0")
    bring(dnsd, server(reserve(5)))
    dnsd.close()
    kill(home)
    again = Dnsd(home, "1.0")
    assert addresses(ask("vm5.novalocal")) == ["10.0.0.5"]
    again.close()


def test_one_of_many_names_is_answered_soon_after_the_start(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    many = {str(one.address): one for one in (reserve(n) for n in range(2, 65002))}
    dnsd = Dnsd(home, "1.0")
    started = time.monotonic()
    bring(dnsd, replace(server(), reservations=many))
    fed = time.monotonic() - started
    took = []
    for n in range(50):
        started = time.monotonic()
        dnsd.feed(BRIDGE, reserved(reserve(n + 2)), reserved(reserve(n + 2, hostname=f"new{n}")))
        took.append(time.monotonic() - started)
    dnsd.close()
    kill(home)
    started = time.monotonic()
    again = Dnsd(home, "1.0")
    ready = time.monotonic() - started
    assert addresses(ask("vm65001.novalocal")) == ["10.0.253.233"]
    answered = time.monotonic() - started
    again.close()
    with capsys.disabled():
        print(  # noqa: T201 - measured, not asserted
            f"\n65,000 names: fed in {fed:.2f} s, a change {sorted(took)[25] * 1e3:.2f} ms, "
            f"ready after {ready * 1e3:.0f} ms, answered after {answered * 1e3:.0f} ms"
        )


def test_a_server_whose_names_are_lost_denies_none(home: Home) -> None:
    dnsd = Dnsd(home, "1.0")
    bring(dnsd, server(reserve(5)))
    dnsd.close()
    kill(home)
    for file in home.own.iterdir():
        file.write_bytes(b"garbage" * 1000)
    again = Dnsd(home, "1.0")
    hello = again.hello()
    assert not hello.states[0].complete
    assert "begun again" in hello.problems[0]
    assert code(ask("vm5.novalocal")) == "SERVFAIL"
    again.feed(BRIDGE, (), reserved(reserve(5)))
    assert addresses(ask("vm5.novalocal")) == ["10.0.0.5"]
    again.close()


def test_an_agent_that_dies_while_it_feeds_leaves_that_known(home: Home) -> None:
    dnsd = Dnsd(home, "1.0")
    dnsd.open(server())

    def dying() -> Iterator[object]:
        for n in range(2, 1000):
            yield from reserved(reserve(n))
        raise InterruptedError

    with pytest.raises(InterruptedError):
        dnsd.feed(BRIDGE, (), dying())  # type: ignore[arg-type]
    dnsd.close()
    again = Dnsd(home, "1.0")
    (state,) = again.hello().states
    assert not state.complete
    assert state.revision > 0
    again.close()


def test_a_server_that_is_dropped_is_not_served_again(home: Home) -> None:
    dnsd = Dnsd(home, "1.0")
    bring(dnsd, server(reserve(5)))
    dnsd.drop(BRIDGE)
    dnsd.drop(BRIDGE)
    dnsd.close()
    kill(home)
    again = Dnsd(home, "1.0")
    assert (again.hello().states, again.hello().problems) == ((), ())
    again.close()


def test_a_server_whose_namespace_is_not_there_is_said(home: Home) -> None:
    home.make()
    dnsd = Dnsd(home, "1.0")
    with pytest.raises(OSError, match="no network namespace"):
        dnsd.open(server(namespace="lessor-nowhere"))
    bring(dnsd, server(reserve(5)))
    dnsd.close()
    kill(home)
    (files.folder(home.folder) / "broken").write_bytes(b"\xc1")
    again = Dnsd(home, "1.0")
    assert "broken" in again.hello().problems[0]
    assert addresses(ask("vm5.novalocal")) == ["10.0.0.5"]
    again.close()


def test_nonsense_on_the_control_socket_is_refused(home: Home) -> None:
    dnsd = Dnsd(home, "1.0")
    bring(dnsd, server(reserve(5)))
    line = Line(home, dnsd.process)
    for message in (b"\xc1", b"\x90", b"\x91\xa5Hello" * 3, os.urandom(1000)):
        assert b"Refused" in line.ask(message)
    reading, writing = os.pipe()
    assert line.ask(b"nonsense", [writing])
    os.close(writing)
    assert os.read(reading, 1) == b"", "the process has closed it"
    with socket.socket(socket.AF_UNIX) as other:
        assert b"Done" in line.ask(encode(Sockets(BRIDGE)), [reading, other.fileno()])
    os.close(reading)
    line.close()
    with pytest.raises(LessorError, match="no DHCP server"):
        dnsd.feed("other", (), ())
    assert addresses(ask("vm5.novalocal")) == ["10.0.0.5"]
    dnsd.close()


def test_each_network_is_served_in_its_namespace(home: Home) -> None:
    spaces = [f"lessor-dns-{os.getpid()}-{n}" for n in (1, 2)]
    dnsd = Dnsd(home, "1.0")
    try:
        for n, space in enumerate(spaces, 1):
            run("ip", "netns", "add", space)
            for command in ("link set lo up", "addr add 10.0.0.50/32 dev lo"):
                run("ip", "-n", space, *command.split())
            vm = reserve(5, at=n)
            want = server(vm, upstream_dns=("192.0.2.9",), namespace=space)
            bring(dnsd, replace(want, name=space))  # its addresses come later
            for address in ("10.0.0.1/16", "192.0.2.9/24"):
                run("ip", "-n", space, "addr", "add", address, "dev", "lo")
        in_each(spaces)
        dnsd.close()
        kill(home)
        dnsd = Dnsd(home, "1.0")
        in_each(spaces)
    finally:
        for space in spaces:
            run("ip", "netns", "del", space)
        dnsd.close()


def in_each(spaces: Sequence[str]) -> None:
    for n, space in enumerate(spaces, 1):
        with inside(space):
            assert addresses(ask("vm5.novalocal")) == [f"10.0.0.{n}"]
            upstream = Upstream("192.0.2.9", partial(answer, f"198.51.100.{n}"))
            try:
                assert addresses(ask("www.example.org")) == [f"198.51.100.{n}"]
            finally:
                upstream.close()


def answer(address: str, question: dns.message.Message) -> bytes:
    made = dns.message.make_response(question)
    name = question.question[0].name
    made.answer.append(dns.rrset.from_text(name, 60, "IN", "A", address))
    return made.to_wire()


def test_upstream_servers_come_and_go_with_the_settings(home: Home) -> None:
    dnsd = Dnsd(home, "1.0")
    alone = server(reserve(5), namespace=f"lessor-dhcp-{os.getpid()}")
    bring(dnsd, alone)
    assert code(ask("www.example.org")) == "REFUSED"
    upstream = Upstream("192.0.2.9", partial(answer, "198.51.100.7"))
    try:
        for _ in range(2):
            dnsd.configure(replace(alone, upstream_dns=("192.0.2.9",)))
            assert addresses(ask("www.example.org")) == ["198.51.100.7"]
            dnsd.configure(alone)
            assert code(ask("www.example.org")) == "REFUSED"
            assert addresses(ask("vm5.novalocal")) == ["10.0.0.5"]
    finally:
        upstream.close()
    dnsd.close()
