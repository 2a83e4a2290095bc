"""The same questions to dnsmasq, with the command line that Lessor gives it, and to our process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

from lessor.core.state import DhcpServer
from tests.agent.drivers.dnsmasq_host import RANGE, Host, host_in_namespace, reserve, server
from tests.dnsd.serving import Upstream, serving

pytestmark = pytest.mark.lab

UPSTREAM = "192.0.2.9"
ANSWER_S = 0.5


@dataclass(frozen=True)
class Case:
    """A question, by name."""

    name: str
    kind: str = "A"
    cls: str = "IN"
    edns: int | None = None
    payload: int = 1232
    dnssec: bool = False
    flags: int = dns.flags.RD
    at: str = "10.0.0.1"
    change: Callable[[bytearray], None] | None = None
    note: str = ""

    def wire(self) -> bytes:
        message = dns.message.make_query(
            self.name,
            self.kind,
            self.cls,
            use_edns=self.edns if self.edns is not None else False,
            payload=self.payload,
            want_dnssec=self.dnssec,
            id=0x1234,
            flags=self.flags,
        )
        data = bytearray(message.to_wire())
        if self.change:
            self.change(data)
        return bytes(data)

    def __str__(self) -> str:
        more = [self.note] if self.note else []
        more += ["edns do" if self.dnssec else "edns"] if self.edns == 0 else []
        more += [f"at {self.at}"] if self.at != "10.0.0.1" else []
        return " ".join([self.name, self.kind, *more])


def summary(data: bytes | None) -> str:
    """Return an answer as a line; records in order of their text."""
    if data is None:
        return "silence"
    try:
        message = dns.message.from_wire(data, ignore_trailing=True)
    except dns.exception.DNSException:
        return f"{dns.rcode.to_text(dns.rcode.Rcode(data[3] & 15))}, the question as it came"
    flags = dns.flags.to_text(message.flags)
    records = sorted(
        f"{one.ttl} {dns.rdatatype.to_text(one.rdtype)} {data}"
        for one in (*message.answer, *message.authority)
        for data in one
    )
    if len(records) > 3:
        records = [records[0], f"… {len(records)}"]
    opt = (
        f" opt={message.payload}{' do' if message.ednsflags & dns.flags.DO else ''}"
        if message.edns >= 0
        else ""
    )
    asked = "" if message.question else " no-question"
    return f"{dns.rcode.to_text(message.rcode())} {flags} {records}{opt}{asked}"


def ask(case: Case) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(ANSWER_S)
        asker.sendto(case.wire(), (case.at, 53))
        try:
            return asker.recv(4096)
        except TimeoutError:
            return None


def answered(question: dns.message.Message) -> bytes:
    """The upstream server: a record with TTL 60 for every A, NODATA for the rest; AA and AD."""
    reply = dns.message.make_response(question)
    reply.flags |= dns.flags.AA | dns.flags.AD | dns.flags.RA
    (asked,) = question.question
    if asked.rdtype == dns.rdatatype.A:
        reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "A", "198.51.100.7"))
    return reply.to_wire()


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        yield made


OTHER = replace(
    RANGE,
    subnet_id="s2",
    network_id="n2",
    cidr=IPv4Network("10.1.0.0/24"),
    server=IPv4Address("10.1.0.1"),
    start=IPv4Address("10.1.0.2"),
    router=IPv4Address("10.1.0.1"),
    domain="Other.Example.org",
)


def flat(**more: Any) -> DhcpServer:
    theirs = replace(
        reserve(9, hostname="db"),
        network_id="n2",
        subnet_id="s2",
        address=IPv4Address("10.1.0.9"),
        domain="Other.Example.org",
    )
    many = [replace(reserve(n, hostname="many")) for n in range(1000, 1100)]
    return server(
        reserve(5),
        reserve(6, hostname="web"),
        reserve(7, hostname="web"),
        reserve(8, hostname="db"),
        reserve(10, domain=""),
        theirs,
        *many,
        **{
            "ranges": (RANGE, OTHER),
            "names": (
                (IPv4Address("10.0.0.77"), "extra.novalocal"),
                (IPv4Address("10.0.0.5"), "second.novalocal"),
                (IPv4Address("10.0.0.78"), "bare"),
            ),
            "upstream_dns": (UPSTREAM,),
            **more,
        },
    )


def _set(at: int, value: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[at] = value

    return change


CASES = [
    Case("vm5.novalocal"),
    Case("VM5.NovaLocal"),
    Case("vm5"),
    Case("vm5.other.example.org"),
    Case("vm5.example.org"),
    Case("www.example.org"),
    Case("www.example.org", "AAAA"),
    Case("www.example.org", edns=0),
    Case("www.example.org", edns=0, dnssec=True),
    Case("vm5.novalocal", "AAAA"),
    Case("vm5.novalocal", "MX"),
    Case("vm5.novalocal", "TXT"),
    Case("vm5.novalocal", "SOA"),
    Case("vm5.novalocal", "ANY"),
    Case("vm5.novalocal", "PTR"),
    Case("vm5.novalocal", "CNAME"),
    Case("vm5.novalocal", "HTTPS"),
    Case("vm5", "AAAA"),
    Case("vm5", "MX"),
    Case("vm5", "ANY"),
    Case("nobody.novalocal"),
    Case("nobody.novalocal", "AAAA"),
    Case("nobody.novalocal", "MX"),
    Case("nobody.novalocal", "ANY"),
    Case("nobody"),
    Case("nobody", "AAAA"),
    Case("nobody", "MX"),
    Case("nobody", "NS"),
    Case("nobody", "SOA"),
    Case("nobody", "DS"),
    Case("nobody", "ANY"),
    Case("com", "NS"),
    Case("novalocal"),
    Case("novalocal", "AAAA"),
    Case("novalocal", "SOA"),
    Case("novalocal", "NS"),
    Case("other.example.org"),
    Case("other.example.org", "SOA"),
    Case("example.org"),
    Case("below.vm5.novalocal"),
    Case("_ldap._tcp.novalocal", "SRV"),
    Case("wpad.other.example.org"),
    Case("."),
    Case(".", "NS"),
    Case("localhost"),
    Case("localhost", "AAAA"),
    Case("a.localhost"),
    Case("a.invalid"),
    Case("a.test"),
    Case("a.local"),
    Case("web.novalocal"),
    Case("web"),
    Case("db"),
    Case("db", at="10.1.0.1"),
    Case("db.novalocal", at="10.1.0.1"),
    Case("db.other.example.org"),
    Case("extra.novalocal"),
    Case("extra"),
    Case("bare"),
    Case("bare.novalocal"),
    Case("vm10"),
    Case("vm10.novalocal"),
    Case("second.novalocal"),
    Case("many.novalocal"),
    Case("many.novalocal", edns=0),
    Case("many.novalocal", edns=0, payload=4096, note="4096"),
    Case("many.novalocal", edns=0, payload=100, note="100"),
    Case("5.0.0.10.in-addr.arpa", "PTR"),
    Case("5.0.0.10.in-addr.arpa", "A"),
    Case("5.0.0.10.in-addr.arpa", "ANY"),
    Case("5.0.0.10.in-addr.arpa", "TXT"),
    Case("9.0.1.10.in-addr.arpa", "PTR"),
    Case("10.0.0.10.in-addr.arpa", "PTR"),
    Case("77.0.0.10.in-addr.arpa", "PTR"),
    Case("78.0.0.10.in-addr.arpa", "PTR"),
    Case("99.0.0.10.in-addr.arpa", "PTR"),
    Case("99.0.0.10.in-addr.arpa", "A"),
    Case("0.0.10.in-addr.arpa", "PTR"),
    Case("0.0.10.in-addr.arpa", "SOA"),
    Case("0.10.in-addr.arpa", "SOA"),
    Case("0.10.in-addr.arpa", "NS"),
    Case("10.in-addr.arpa", "SOA"),
    Case("x.0.0.10.in-addr.arpa", "PTR"),
    Case("1.5.0.0.10.in-addr.arpa", "PTR"),
    Case("lb._dns-sd._udp.0.0.0.10.in-addr.arpa", "PTR"),
    Case("1.2.0.192.in-addr.arpa", "PTR"),
    Case("1.0.1.10.in-addr.arpa", "PTR"),
    Case("1.0.2.10.in-addr.arpa", "PTR"),
    Case("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.ip6.arpa", "PTR"),
    Case("vm5.novalocal", edns=0),
    Case("vm5.novalocal", edns=0, dnssec=True),
    Case("vm5.novalocal", edns=1, note="edns version 1"),
    Case("vm5.novalocal", flags=0, note="without RD"),
    Case("nobody.novalocal", flags=0, note="without RD"),
    Case("www.example.org", flags=0, note="without RD"),
    Case("vm5.novalocal", flags=dns.flags.RD | dns.flags.CD | dns.flags.AD, note="CD AD"),
    Case("vm5.novalocal", flags=dns.flags.RD | dns.flags.AA | dns.flags.TC, note="AA TC"),
    Case("vm5.novalocal", flags=dns.flags.QR, note="an answer"),
    Case("vm5.novalocal", cls="CH", note="class CH"),
    Case("vm5.novalocal", cls="ANY", note="class ANY"),
    Case("version.bind", "TXT", cls="CH", note="class CH"),
    Case("vm5.novalocal", change=_set(2, 0x21), note="NOTIFY"),
    Case("vm5.novalocal", change=_set(2, 0x29), note="UPDATE"),
    Case("vm5.novalocal", change=_set(5, 0), note="no question"),
    Case("vm5.novalocal", change=_set(5, 2), note="two questions, one there"),
    Case("vm5.novalocal", change=_set(7, 1), note="an answer section"),
    Case("vm5.novalocal", change=_set(12, 0x50), note="a label of 80"),
    Case("vm5.novalocal", change=_set(12, 0xC0), note="a pointer"),
    Case("vm5.novalocal", change=lambda data: data.extend(b"more"), note="octets behind it"),
    Case("vm5.novalocal", change=lambda data: data.__delitem__(slice(20, None)), note="cut"),
    Case("a" * 63 + ".novalocal"),
    Case("*.novalocal"),
    Case("vm5\\.novalocal", note="one label"),
]
NONE = "without upstream servers"
WITHOUT = [Case("www.example.org"), Case("vm5.novalocal"), Case("www.example.org", edns=0)]

# what differs on purpose: question -> reason
_ERROR = "an error, as RFC 1035 (4.1.1) has it, and not silence"
_SIZE = "the size is what the upstream server takes; dnsmasq writes its own"
_OPT = "an answer to EDNS has an OPT record (RFC 6891, 6.1.1), also one that is cut"
_NO_DATA = "a name that has a PTR record exists (RFC 8020)"
DIFFERENCES = {
    "www.example.org A edns": _SIZE,
    "www.example.org A edns do": _SIZE,
    "vm5 MX": "nobody upstream is told of a VM",
    "many.novalocal A edns": _OPT,
    "many.novalocal A 4096 edns": _OPT,
    "many.novalocal A 100 edns": _OPT,
    "5.0.0.10.in-addr.arpa A": _NO_DATA,
    "5.0.0.10.in-addr.arpa TXT": _NO_DATA,
    "1.5.0.0.10.in-addr.arpa PTR": "a name below an address is not that address",
    "vm5.novalocal A edns version 1": "BADVERS, as RFC 6891 (6.1.3) has it",
    "vm5.novalocal A class CH": "only the Internet's names are served, or asked upstream",
    "vm5.novalocal A class ANY": "only the Internet's names are served, or asked upstream",
    "version.bind TXT class CH": "no VM needs to know which program answers",
    "vm5.novalocal A NOTIFY": "NOTIMP: only questions are answered, or asked upstream",
    "vm5.novalocal A UPDATE": "NOTIMP, and not silence",
    "vm5.novalocal A no question": _ERROR,
    "vm5.novalocal A two questions, one there": _ERROR,
    "vm5.novalocal A an answer section": _ERROR,
    "vm5.novalocal A a label of 80": _ERROR,
    "vm5.novalocal A a pointer": "FORMERR; dnsmasq forwards what it can't read",
    "vm5.novalocal A cut": _ERROR,
}


def test_each_difference_has_its_reason(host: Host) -> None:
    upstream = Upstream(UPSTREAM, answered)
    try:
        found = {}
        for what, cases, desired in (("", CASES, flat()), (NONE, WITHOUT, none())):
            host.bring(desired)
            theirs = [summary(ask(case)) for case in cases]
            host.bring()
            with serving(host.folder / "names.db") as ours:
                ours.bring(desired)
                mine = [summary(ask(case)) for case in cases]
            for case, their, my in zip(cases, theirs, mine, strict=True):
                if their != my:
                    found[f"{case} {what}".rstrip()] = (their, my)
        assert {one: found[one] for one in found if one not in DIFFERENCES} == {}
        assert sorted(found) == sorted(DIFFERENCES)
    finally:
        upstream.close()


def none() -> DhcpServer:
    """As in a namespace: no resolver of the host is reached from there."""
    return flat(upstream_dns=(), namespace=f"lessor-dhcp-{os.getpid()}")
