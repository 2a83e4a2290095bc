from __future__ import annotations

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessor.core.dns.message import (
    BADVERS,
    FORMERR,
    NOERROR,
    NOTIMP,
    NXDOMAIN,
    PTR,
    SERVFAIL,
    TCP_SIZE,
    UDP_SIZE,
    A,
    Question,
    Records,
    ask_upstream,
    pass_on,
    read_question,
    read_reply,
    respond,
)
from lessor.core.dns.zone import wire_name

PLAIN = dns.message.make_query("VM5.novalocal", "A", id=7).to_wire()


def read(message: bytes) -> Question:
    question = read_question(message)
    assert question is not None
    return question


def edns(**more: object) -> bytes:
    return dns.message.make_query("vm5.novalocal", "A", use_edns=0, **more).to_wire()  # type: ignore[arg-type]


TWICE = edns()[:11] + b"\2" + edns()[12:] + edns()[-11:]


def test_a_plain_question_is_read() -> None:
    question = read(PLAIN)
    assert question.name == b"\x03vm5\x09novalocal\x00"
    assert question.wire == PLAIN[12:]
    assert (question.id, question.kind, question.cls, question.size) == (7, A, 1, 512)
    assert not question.edns
    assert question.rcode == NOERROR


@pytest.mark.parametrize(
    ("payload", "size"), [(0, 512), (100, 512), (900, 900), (1232, 1232), (4096, 1232)]
)
def test_edns_sizes_are_bounded(payload: int, size: int) -> None:
    question = read(edns(payload=payload))
    assert (question.size, question.edns, question.dnssec) == (size, True, False)


def test_the_do_bit_is_read_and_returned() -> None:
    question = read(edns(want_dnssec=True))
    assert question.dnssec
    reply = dns.message.from_wire(respond(question, NOERROR, size=512))
    assert reply.ednsflags & dns.flags.DO
    assert reply.payload == UDP_SIZE


def test_an_option_of_a_client_is_read_over_and_not_passed_on() -> None:
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    question = read(edns(options=[cookie]))
    assert question.rcode == NOERROR
    assert not dns.message.from_wire(ask_upstream(question, 9)).options


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        pytest.param(dns.message.make_query("a.", "A", use_edns=1).to_wire(), BADVERS, id="edns-1"),
        pytest.param(PLAIN[:2] + b"\x29" + PLAIN[3:], NOTIMP, id="update"),
        pytest.param(PLAIN[:5] + b"\0" + PLAIN[6:], FORMERR, id="no-question"),
        pytest.param(PLAIN[:5] + b"\2" + PLAIN[6:], FORMERR, id="two-questions"),
        pytest.param(PLAIN[:7] + b"\1" + PLAIN[8:], FORMERR, id="an-answer-section"),
        pytest.param(PLAIN[:11] + b"\1" + PLAIN[12:], FORMERR, id="a-record-that-is-not-there"),
        pytest.param(PLAIN[:-1], FORMERR, id="cut"),
        pytest.param(PLAIN[:12] + b"\xc0\x0c\0\1\0\1", FORMERR, id="a-name-that-points-to-itself"),
        pytest.param(PLAIN[:12] + b"\x40" + PLAIN[13:], FORMERR, id="a-label-of-64"),
        pytest.param(
            PLAIN[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", FORMERR, id="a-name-of-257"
        ),
        pytest.param(TWICE, FORMERR, id="opt-twice"),
    ],
)
def test_what_is_malformed_gets_an_error(message: bytes, rcode: int) -> None:
    question = read(message)
    assert question.rcode == rcode
    reply = respond(question, question.rcode, size=512)
    assert len(reply) <= len(message) or rcode == BADVERS
    assert dns.message.from_wire(reply).rcode() == rcode


@pytest.mark.parametrize("message", [b"", PLAIN[:11], PLAIN[:2] + b"\x81" + PLAIN[3:]])
def test_what_is_no_question_gets_no_answer(message: bytes) -> None:
    assert read_question(message) is None


def test_records_are_answered_under_the_name_as_it_was_asked() -> None:
    data = respond(read(PLAIN), NOERROR, Records(A, (b"\x0a\0\0\5", b"\x0a\0\0\6")), size=512)
    reply = dns.message.from_wire(data)
    (rrset,) = reply.answer
    assert rrset.name == dns.name.from_text("VM5.novalocal.")
    assert [one.address for one in rrset] == ["10.0.0.5", "10.0.0.6"]
    assert rrset.ttl == 0
    assert reply.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.RA


def test_what_has_no_room_is_left_out_and_said() -> None:
    many = Records(A, tuple(bytes((10, 0, n >> 8, n & 255)) for n in range(5000)))
    for size in (512, UDP_SIZE, TCP_SIZE):
        data = respond(read(edns()), NOERROR, many, size=size)
        assert size - 16 < len(data) <= size
        reply = dns.message.from_wire(data)
        assert reply.flags & dns.flags.TC
        assert reply.edns == 0
    whole = respond(read(edns()), NOERROR, Records(A, many.data[:50]), size=UDP_SIZE)
    assert not dns.message.from_wire(whole).flags & dns.flags.TC


def test_a_question_is_passed_on_without_what_is_the_clients_own() -> None:
    question = read(edns(want_dnssec=True, id=5))
    passed = dns.message.from_wire(ask_upstream(question, 77))
    assert passed.id == 77
    assert passed.question == dns.message.from_wire(edns()).question
    assert passed.ednsflags & dns.flags.DO
    assert dns.message.from_wire(ask_upstream(read(PLAIN), 8)).edns == -1


def reply_to(message: bytes, rcode: int = NOERROR, records: int = 1) -> bytes:
    reply = dns.message.make_response(dns.message.from_wire(message))
    reply.flags |= dns.flags.AA | dns.flags.AD
    reply.set_rcode(dns.rcode.Rcode.make(rcode))
    for n in range(records):
        name = reply.question[0].name
        rrset = reply.find_rrset(
            reply.answer, name, dns.rdataclass.IN, dns.rdatatype.A, create=True
        )
        rrset.add(dns.rdata.from_text("IN", "A", f"10.9.{n >> 8}.{n & 255}"), 60)
    return reply.to_wire()


def test_an_upstream_servers_answer_is_read() -> None:
    reply = read_reply(reply_to(PLAIN, NXDOMAIN))
    assert reply == (7, NXDOMAIN, False, PLAIN[12:].lower())
    assert read_reply(PLAIN) is None
    assert read_reply(PLAIN[:5]) is None
    assert read_reply(reply_to(PLAIN)[:20]) is None


def test_an_answer_is_passed_on_with_the_clients_id_and_as_not_validated() -> None:
    question = read(PLAIN)._replace(id=99)
    reply = dns.message.from_wire(pass_on(reply_to(PLAIN), question, 512))
    assert reply.id == 99
    assert not reply.flags & dns.flags.AD
    assert reply.flags & dns.flags.RA
    assert len(reply.answer[0]) == 1


def test_an_answer_that_is_too_large_is_cut_down_to_its_question() -> None:
    question = read(edns(payload=600))
    data = pass_on(reply_to(edns(), records=60), question, question.size)
    reply = dns.message.from_wire(data)
    assert reply.flags & dns.flags.TC
    assert not reply.answer
    assert reply.edns == 0


LABEL = st.binary(min_size=1, max_size=63)


@given(labels=st.lists(LABEL, max_size=4), kind=st.integers(0, 65535), cls=st.integers(0, 65535))
def test_any_name_is_read_as_dnspython_does(labels: list[bytes], kind: int, cls: int) -> None:
    wire = b"".join(bytes((len(one),)) + one for one in labels) + b"\0"
    message = b"\0\7\1\0\0\1\0\0\0\0\0\0" + wire + kind.to_bytes(2) + cls.to_bytes(2)
    question = read(message)
    if len(wire) > 255:
        assert question.rcode == FORMERR
        return
    assert question.name == dns.name.from_wire(message, 12)[0].canonicalize().to_wire()
    assert (question.kind, question.cls) == (kind, cls)


@given(st.binary(max_size=600))
@example(PLAIN)
@example(edns())
def test_any_octets_are_answered_or_ignored(message: bytes) -> None:
    read_reply(message)
    question = read_question(message)
    if question is not None:
        reply = respond(question, question.rcode or SERVFAIL, size=question.size)
        assert reply[:2] == message[:2]
        assert dns.message.from_wire(reply).rcode() == (question.rcode or SERVFAIL)
        ask_upstream(question, 1)


@given(st.data())
def test_changed_questions_are_answered_or_ignored(data: st.DataObject) -> None:
    message = bytearray(data.draw(st.sampled_from([PLAIN, edns(), edns(want_dnssec=True)])))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    test_any_octets_are_answered_or_ignored.hypothesis.inner_test(bytes(message))  # type: ignore[attr-defined]


def test_a_pointer_record_has_its_name_whole() -> None:
    message = dns.message.make_query("5.0.0.10.in-addr.arpa", "PTR").to_wire()
    data = respond(read(message), NOERROR, Records(PTR, (wire_name("vm5.novalocal"),)), size=512)
    assert str(dns.message.from_wire(data).answer[0][0]) == "vm5.novalocal."
