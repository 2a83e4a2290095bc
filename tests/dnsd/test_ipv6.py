"""Servers, clients and upstream servers of IPv6."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import dns.message
import dns.rrset
import pytest

from lessor.agent.host.run import run
from tests.agent.drivers.dnsmasq_host import RANGE, Host, server
from tests.dnsd.asking import addresses, query
from tests.dnsd.serving import Serving

pytestmark = pytest.mark.lab

SIX = replace(
    RANGE,
    cidr=IPv6Network("fd00::/64"),
    server=IPv6Address("fd00::1"),
    start=IPv6Address("fd00::2"),
)
UPSTREAM = "fd00:0:0:1::9"


def ask(name: str, kind: str) -> dns.message.Message:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind(("fd00::50", 0))
        sock.sendto(query(name, kind).to_wire(), ("fd00::1", 53))
        return dns.message.from_wire(sock.recv(4096))


def answer_once(sock: socket.socket) -> None:
    data, source = sock.recvfrom(4096)
    question = dns.message.from_wire(data)
    reply = dns.message.make_response(question)
    name = question.question[0].name
    reply.answer.append(dns.rrset.from_text(name, 60, "IN", "AAAA", "2001:db8::7"))
    sock.sendto(reply.to_wire(), source)


def test_a_server_of_ipv6_answers_and_asks(host: Host, served: Serving) -> None:
    for address in ("fd00::1/128", "fd00::50/128", f"{UPSTREAM}/128"):
        run("ip", "addr", "add", address, "dev", "lo", "nodad")
    named = ((IPv6Address("fd00::5"), "vm5.novalocal"),)
    served.bring(server(ranges=(SIX,), names=named, upstream_dns=(UPSTREAM,)))
    assert addresses(ask("vm5.novalocal", "AAAA")) == ["fd00::5"]
    reverse = IPv6Address("fd00::5").reverse_pointer
    assert str(ask(reverse, "PTR").answer[0][0]) == "vm5.novalocal."
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as upstream:
        upstream.bind((UPSTREAM, 53))
        thread = threading.Thread(target=answer_once, args=(upstream,))
        thread.start()
        assert addresses(ask("www.example.org", "AAAA")) == ["2001:db8::7"]
        thread.join()
