"""Questions for others: in order, to servers that are silent, absent, wrong, or lie."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from lessor.dnsd import upstream as module
from lessor.dnsd.clients import MAX_OPEN
from tests.agent.drivers.dnsmasq_host import reserve, server
from tests.dnsd.asking import addresses, ask, ask_tcp, asker, code, query
from tests.dnsd.serving import Serving, TcpUpstream, Upstream

pytestmark = pytest.mark.lab

FIRST, SECOND, THIRD = "192.0.2.9", "192.0.2.10", "192.0.2.11"
OTHER_CLIENT = "10.0.0.51"
Answer = Callable[[dns.message.Message], bytes | None]


def right(question: dns.message.Message) -> bytes:
    return reply(question).to_wire()


def reply(question: dns.message.Message) -> dns.message.Message:
    made = dns.message.make_response(question)
    name = question.question[0].name
    made.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "198.51.100.7"))
    return made


def silent(_: dns.message.Message) -> None:
    return None


def failing(question: dns.message.Message) -> bytes:
    made = dns.message.make_response(question)
    made.set_rcode(dns.rcode.SERVFAIL)
    return made.to_wire()


@pytest.fixture
def answering(served: Serving) -> Iterator[Callable[[str, Answer], Upstream]]:
    with ExitStack() as stack:

        def make(address: str, answer: Answer) -> Upstream:
            made = Upstream(address, answer)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRY_S", 0.1)


Make = Callable[[str, Answer], Upstream]


def test_the_first_server_is_asked_and_its_answer_passed_on(
    served: Serving, answering: Make
) -> None:
    first, second = answering(FIRST, right), answering(SECOND, right)
    served.bring(server(upstream_dns=(FIRST, SECOND)))
    for n in range(5):
        assert addresses(ask(f"www{n}.example.org")) == ["198.51.100.7"]
    assert (len(first.asked), len(second.asked)) == (5, 0)


def test_ids_and_ports_are_new_for_each_question(served: Serving, answering: Make) -> None:
    first = answering(FIRST, right)
    served.bring(server(upstream_dns=(FIRST,)))
    for n in range(40):
        ask(f"www{n}.example.org")
    assert len({one.id for one in first.asked}) >= 38
    assert len({port for _, port in first.sources}) >= 35


def test_a_silent_server_is_followed_by_the_next(
    served: Serving, answering: Make, quick: None
) -> None:
    first, second = answering(FIRST, silent), answering(SECOND, right)
    served.bring(server(upstream_dns=(FIRST, SECOND)))
    for n in range(6):
        assert addresses(ask(f"www{n}.example.org")) == ["198.51.100.7"]
    assert len(first.asked) == module.SILENT, "then it is passed over"
    assert served.do(lambda: served.host.counts("br100"))[2] == (FIRST,)
    assert len(second.asked) == 6


def test_a_server_that_answers_again_is_the_first_again(
    served: Serving, answering: Make, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PASSED_OVER_S", 0.5)
    first, second = answering(FIRST, silent), answering(SECOND, right)
    served.bring(server(upstream_dns=(FIRST, SECOND)))
    for n in range(4):
        ask(f"www{n}.example.org")
    first.answer = right
    time.sleep(0.6)
    before = len(second.asked)
    for n in range(4):
        assert addresses(ask(f"again{n}.example.org")) == ["198.51.100.7"]
    assert len(second.asked) == before


def test_a_server_that_is_not_there_costs_no_time(served: Serving, answering: Make) -> None:
    answering(SECOND, right)
    served.bring(server(upstream_dns=(FIRST, SECOND)))
    started = time.monotonic()
    assert addresses(ask("www.example.org")) == ["198.51.100.7"]
    assert time.monotonic() - started < module.TRY_S / 2


def test_without_an_answer_the_client_is_told_so(
    served: Serving, answering: Make, quick: None
) -> None:
    first = answering(FIRST, silent)
    served.bring(server(reserve(5), upstream_dns=(FIRST,)))
    with asker() as waiting:
        waiting.sendto(query("www.example.org").to_wire(), ("10.0.0.1", 53))
        assert addresses(ask("vm5.novalocal")) == ["10.0.0.5"], "names of VMs don't wait"
        assert code(dns.message.from_wire(waiting.recv(512))) == "SERVFAIL"
    assert len(first.asked) == 3


def test_a_server_that_can_not_tell_is_followed_by_the_next(
    served: Serving, answering: Make
) -> None:
    answering(FIRST, failing)
    second = answering(SECOND, right)
    served.bring(server(upstream_dns=(FIRST, SECOND)))
    assert addresses(ask("www.example.org")) == ["198.51.100.7"]
    second.answer = failing
    assert code(ask("www2.example.org")) == "SERVFAIL"


def test_a_name_that_is_not_there_is_the_answer(served: Serving, answering: Make) -> None:
    def absent(question: dns.message.Message) -> bytes:
        made = dns.message.make_response(question)
        made.set_rcode(dns.rcode.NXDOMAIN)
        return made.to_wire()

    answering(FIRST, absent)
    second = answering(SECOND, right)
    served.bring(server(upstream_dns=(FIRST, SECOND)))
    assert code(ask("www.example.org")) == "NXDOMAIN"
    assert not second.asked


def test_what_is_no_answer_to_the_question_is_not_believed(
    served: Serving, answering: Make
) -> None:
    def lying(question: dns.message.Message) -> bytes:
        forged = reply(query("www.example.org"))
        target, forged.id = first.sources[-1], question.id
        other = reply(query("other.example.org"))
        other.id = question.id
        wrong_id = reply(question)
        wrong_id.id = question.id ^ 1
        for lie in (other, wrong_id):
            first.sock.sendto(lie.to_wire(), target)
        no_reply = query("www.example.org")
        no_reply.id = question.id
        first.sock.sendto(no_reply.to_wire(), target)
        first.sock.sendto(b"\0" * 5, target)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((SECOND, 53))
            forged.answer = [dns.rrset.from_text("www.example.org.", 9, "IN", "A", "203.0.113.66")]
            stranger.sendto(forged.to_wire(), target)
        time.sleep(0.05)
        return right(question)

    first = answering(FIRST, lying)
    served.bring(server(upstream_dns=(FIRST,)))
    assert addresses(ask("www.example.org")) == ["198.51.100.7"]


def test_equal_questions_are_asked_once(served: Serving, answering: Make) -> None:
    def slow(question: dns.message.Message) -> bytes:
        time.sleep(0.3)
        return right(question)

    first = answering(FIRST, slow)
    served.bring(server(upstream_dns=(FIRST,)))
    with asker() as one, asker(OTHER_CLIENT) as two:
        for sock, number in ((one, 1), (one, 1), (one, 2), (two, 3)):
            sock.sendto(query("www.example.org", id=number).to_wire(), ("10.0.0.1", 53))
        assert [int.from_bytes(one.recv(512)[:2]) for _ in range(2)] == [1, 2]
        assert int.from_bytes(two.recv(512)[:2]) == 3
        one.settimeout(0.1)
        with pytest.raises(TimeoutError):
            one.recv(512)
    assert len(first.asked) == 1


def test_a_client_whose_questions_nobody_answers_costs_itself_alone(
    served: Serving, answering: Make
) -> None:
    def only_good(question: dns.message.Message) -> bytes | None:
        return right(question) if "good" in str(question.question[0].name) else None

    answering(FIRST, only_good)
    served.bring(server(upstream_dns=(FIRST,)))
    with asker() as greedy:
        for n in range(MAX_OPEN + 20):
            greedy.sendto(query(f"n{n}.example.org").to_wire(), ("10.0.0.1", 53))
        refused = [dns.message.from_wire(greedy.recv(512)) for _ in range(20)]
        assert {code(one) for one in refused} == {"SERVFAIL"}
        assert addresses(ask("good.example.org", source=OTHER_CLIENT)) == ["198.51.100.7"]


def test_without_upstream_servers_questions_for_others_are_refused(served: Serving) -> None:
    served.bring(server(reserve(5), namespace="qdhcp"))
    assert code(ask("www.example.org")) == "REFUSED"
    assert code(ask("www.example.org", source=OTHER_CLIENT)) == "REFUSED"


def test_the_hosts_own_servers_are_asked_where_it_has_none_of_its_own(
    served: Serving, answering: Make
) -> None:
    answering(FIRST, right)
    served.bring(server())
    assert code(ask("www.example.org")) == "REFUSED"
    served.host.resolvers = ("10.0.0.1", FIRST)  # itself is passed over
    assert addresses(ask("www.example.org")) == ["198.51.100.7"]


def test_an_answer_that_is_too_long_says_so_and_comes_whole_over_tcp(
    served: Serving, answering: Make
) -> None:
    def long(question: dns.message.Message) -> dns.message.Message:
        made = reply(question)
        texts = [f"10.9.{n >> 8}.{n & 255}" for n in range(2000)]
        made.answer = [dns.rrset.from_text_list(question.question[0].name, 9, "IN", "A", texts)]
        return made

    def cut(question: dns.message.Message) -> bytes:
        made = dns.message.make_response(question)
        made.flags |= dns.flags.TC
        return made.to_wire()

    answering(FIRST, cut)
    whole = TcpUpstream(FIRST, lambda question: long(question).to_wire())
    try:
        served.bring(server(upstream_dns=(FIRST,)))
        short = ask("long.example.org")
        assert short is not None
        assert short.flags & dns.flags.TC
        for _ in range(6):  # sockets are used again
            assert len(addresses(ask_tcp("long.example.org"))) == 2000
    finally:
        whole.close()


def test_over_tcp_too_the_next_server_is_asked(served: Serving) -> None:
    second = TcpUpstream(SECOND, right)
    try:
        served.bring(server(upstream_dns=(FIRST, SECOND)))
        assert addresses(ask_tcp("www.example.org")) == ["198.51.100.7"]
    finally:
        second.close()
    assert code(ask_tcp("www.example.org")) == "SERVFAIL"


def test_where_many_questions_are_open_each_client_has_few(
    served: Serving, answering: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY", 50)
    answering(FIRST, lambda question: right(question) if "good" in str(question) else None)
    served.bring(server(upstream_dns=(FIRST,)))
    with asker() as greedy:
        for n in range(60):
            greedy.sendto(query(f"n{n}.example.org").to_wire(), ("10.0.0.1", 53))
        assert {code(dns.message.from_wire(greedy.recv(512))) for _ in range(10)} == {"SERVFAIL"}
        assert addresses(ask("good.example.org", source=OTHER_CLIENT)) == ["198.51.100.7"]


def test_what_is_open_when_the_sockets_change_is_forgotten(
    served: Serving, answering: Make, quick: None
) -> None:
    answering(FIRST, silent)
    want = server(upstream_dns=(FIRST,))
    served.bring(want)
    client = served.do(lambda: served.host._services[want.name]._clients.get("10.0.0.50"))
    with asker() as one:
        for n in range(10):
            one.sendto(query(f"n{n}.example.org").to_wire(), ("10.0.0.1", 53))
        while client.open < 10:
            time.sleep(0.01)
        served.do(served.host._services[want.name]._close_sockets)
        served.bring(want)
        assert client.open == 0
        time.sleep(1)
        assert client.open == 0
        one.settimeout(0.1)
        with pytest.raises(TimeoutError):
            one.recv(512)
    assert code(ask("www.example.org")) == "SERVFAIL"
