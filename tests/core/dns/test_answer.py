from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import dns.message
import dns.rdatatype
import pytest

from lessor.core.dns.answer import MAX_RECORDS, Answer, answer, read_reverse
from lessor.core.dns.message import (
    NOERROR,
    NXDOMAIN,
    PTR,
    REFUSED,
    TCP_SIZE,
    A,
    Question,
    Records,
    read_question,
)
from lessor.core.dns.zone import Entry, entries, wire_name, zone_of
from lessor.core.state import DhcpServer
from tests.core.dns.records import ListedNames
from tests.core.dns.test_zone import RANGE, SERVER, VM, packed

VM5 = Records(A, (packed("10.0.0.5"),))
OTHER = replace(
    RANGE,
    subnet_id="s2",
    cidr=IPv4Network("10.1.0.0/25"),
    server=IPv4Address("10.1.0.1"),
    domain="vms.example.org",
)
FORWARDED = replace(RANGE, domain="example.org")


def asked(name: str, kind: str = "A", cls: str = "IN", number: int = 0) -> Question:
    question = read_question(dns.message.make_query(name, kind, cls, id=number).to_wire())
    assert question
    return question


def answered(
    question: Question, server: DhcpServer = SERVER, at: int = 0, size: int = 512
) -> Answer | None:
    zone = zone_of(server)
    return answer(zone, ListedNames(entries(server)), question, zone.ranges[at], size)


def named(*names: tuple[str, str], **more: Any) -> DhcpServer:
    return replace(SERVER, names=tuple((IPv4Address(ip), name) for ip, name in names), **more)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        pytest.param("vm5.novalocal", "A", Answer(NOERROR, VM5), id="a"),
        pytest.param("VM5.NovaLocal", "A", Answer(NOERROR, VM5), id="letters-are-equal"),
        pytest.param("vm5", "A", Answer(NOERROR, VM5), id="no-domain"),
        pytest.param("vm5.novalocal", "ANY", Answer(NOERROR, VM5), id="any"),
        pytest.param("vm5.novalocal", "AAAA", Answer(NOERROR), id="no-such-type"),
        pytest.param("vm5", "MX", Answer(NOERROR), id="no-such-type-without-domain"),
        pytest.param("vm6.novalocal", "A", Answer(NXDOMAIN), id="nobody"),
        pytest.param("x.vm5.novalocal", "A", Answer(NXDOMAIN), id="below-a-vm"),
        pytest.param("vm6", "A", Answer(NXDOMAIN), id="nobody-without-domain"),
        pytest.param("com", "NS", None, id="a-top-level-domain"),
        pytest.param("novalocal", "A", Answer(NOERROR), id="the-domain-itself"),
        pytest.param("novalocal", "NS", Answer(NOERROR), id="the-domain-itself-other-type"),
        pytest.param("www.example.org", "A", None, id="elsewhere"),
        pytest.param("vm5.example.org", "A", None, id="a-vms-name-elsewhere"),
        pytest.param(".", "NS", None, id="the-root"),
        pytest.param(
            "5.0.0.10.in-addr.arpa",
            "PTR",
            Answer(NOERROR, Records(PTR, (wire_name("vm5.novalocal"),))),
            id="reverse",
        ),
        pytest.param("5.0.0.10.in-addr.arpa", "A", Answer(NOERROR), id="reverse-other-type"),
        pytest.param("6.0.0.10.in-addr.arpa", "PTR", Answer(NXDOMAIN), id="reverse-nobody"),
        pytest.param("1.5.0.0.10.in-addr.arpa", "PTR", Answer(NXDOMAIN), id="below-an-address"),
        pytest.param("3.0.10.in-addr.arpa", "SOA", Answer(NXDOMAIN), id="a-block-of-the-subnet"),
        pytest.param("4.0.10.in-addr.arpa", "SOA", None, id="a-block-behind-the-subnet"),
        pytest.param("0.10.in-addr.arpa", "SOA", None, id="a-block-around-the-subnet"),
        pytest.param("1.4.0.10.in-addr.arpa", "PTR", None, id="reverse-elsewhere"),
        pytest.param("x.0.0.10.in-addr.arpa", "PTR", Answer(NXDOMAIN), id="no-address"),
        pytest.param("x.10.in-addr.arpa", "PTR", None, id="no-address-elsewhere"),
    ],
)
def test_a_server_answers_its_own(name: str, kind: str, expected: Answer | None) -> None:
    assert answered(asked(name, kind)) == expected


@pytest.mark.parametrize("cls", ["CH", "HS", "ANY"])
def test_there_is_only_the_internet(cls: str) -> None:
    assert answered(asked("vm5.novalocal", cls=cls)) == Answer(REFUSED)


def test_a_domain_that_others_know_too_is_asked_upstream() -> None:
    vm = replace(VM, domain="example.org")
    server = replace(SERVER, ranges=(FORWARDED,), reservations={"": vm}, forwarded=("example.org",))
    assert answered(asked("vm5.example.org"), server) == Answer(NOERROR, VM5)
    assert answered(asked("vm5.example.org", "AAAA"), server) is None
    assert answered(asked("www.example.org"), server) is None
    assert answered(asked("vm5"), server) == Answer(NOERROR, VM5)


def test_equal_names_are_all_answered_another_one_first_each_time() -> None:
    server = named(("10.0.0.8", "web.novalocal"), ("10.0.0.7", "web.novalocal"), namespace="x")
    first = answered(asked("web", number=2), server)
    assert first == Answer(NOERROR, Records(A, (packed("10.0.0.7"), packed("10.0.0.8"))))
    second = answered(asked("web", number=3), server)
    assert second == Answer(NOERROR, Records(A, (packed("10.0.0.8"), packed("10.0.0.7"))))


def test_on_a_bridge_a_name_is_the_own_subnets_first() -> None:
    server = named(("10.0.0.8", "db"), ("10.1.0.8", "db"), ranges=(RANGE, OTHER))
    for at, address in ((0, "10.0.0.8"), (1, "10.1.0.8")):
        assert answered(asked("db"), server, at) == Answer(NOERROR, Records(A, (packed(address),)))
    assert answered(asked("vm5"), server, at=1) == Answer(NOERROR, VM5), (
        "others' where there is none"
    )


def test_a_subnet_within_an_octet_answers_its_own_addresses() -> None:
    server = replace(SERVER, ranges=(OTHER,))
    assert answered(asked("127.0.1.10.in-addr.arpa", "PTR"), server) == Answer(NXDOMAIN)
    assert answered(asked("128.0.1.10.in-addr.arpa", "PTR"), server) is None


def test_an_answer_has_no_more_records_than_have_room() -> None:
    names = [(f"10.0.{n >> 8}.{n & 255}", "many") for n in range(1000)]
    for size, count in ((512, 33), (1232, 78), (TCP_SIZE, MAX_RECORDS)):
        found = answered(asked("many"), named(*names), size=size)
        assert found
        assert len(found.records.data) == count


def test_an_address_of_ipv6_is_answered_as_one() -> None:
    server = replace(SERVER, names=((IPv6Address("fd00::5"), "six.novalocal"),))
    found = answered(asked("six.novalocal", "AAAA"), server)
    assert found
    assert found.records == (dns.rdatatype.AAAA, (IPv6Address("fd00::5").packed,))
    assert answered(asked("six.novalocal"), server) == Answer(NOERROR)


@pytest.mark.parametrize(
    ("name", "bits", "exact"),
    [
        ("5.0.0.10.in-addr.arpa", 32, True),
        ("10.in-addr.arpa", 8, True),
        ("a.b.5.0.0.10.in-addr.arpa", 32, False),
        ("d.f.ip6.arpa", 8, True),
        ("1000.10.in-addr.arpa", 8, False),
        ("256.in-addr.arpa", 0, False),
        ("ff.ip6.arpa", 0, False),
    ],
)
def test_reverse_names_are_about_addresses(name: str, bits: int, *, exact: bool) -> None:
    found = read_reverse(wire_name(name))
    assert found
    assert (found.bits, found.exact) == (bits, exact)


@pytest.mark.parametrize(
    "name",
    ["in-addr.arpa", "10.arpa", "a"],
)
def test_what_is_no_reverse_name_is_about_no_address(name: str) -> None:
    assert read_reverse(wire_name(name)) is None


def test_an_entry_is_a_name_and_an_address() -> None:
    assert list(entries(SERVER)) == [Entry(wire_name("vm5.novalocal"), packed("10.0.0.5"))]
