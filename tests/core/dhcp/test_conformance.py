"""The responder beside dnsmasq 2.90, case by case: the same type and address, or why not.

data/dnsmasq-2.90.json has requests that were sent to a dnsmasq with the reservations of
`configuration`, and its answers. A fresh server for each case; `before` are requests sent first.
Octets are hexadecimal; 0*N stands for N zeros.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from lessor.core.dhcp.leases import Leases
from lessor.core.dhcp.message import Message, parse
from lessor.core.dhcp.plain import answer_plain
from lessor.core.dhcp.responder import answer
from lessor.core.dhcp.rows import table
from lessor.core.dhcp.table import Table
from lessor.core.state import DhcpRange, DhcpServer, Reservation
from tests.core.dhcp.client import MAC, NOW, SERVER_MAC

RECORD = json.loads((Path(__file__).parent / "data/dnsmasq-2.90.json").read_text())
BOOT = (
    ("bootfile-name", "b" * 100),
    ("tftp-server", "10.20.0.9"),
    ("server-ip-address", "10.20.0.9"),
    ("ntp-server", "10.20.0.8"),
    ("150", "10.20.0.9"),
    ("root-path", "r" * 200),
)
RANGE = DhcpRange(
    subnet_id="a",
    network_id="n",
    cidr=IPv4Network("10.20.0.0/24"),
    server=IPv4Address("10.20.0.2"),
    start=IPv4Address("10.20.0.0"),
    router=IPv4Address("10.20.0.1"),
    mtu=1450,
    dns=(),
    routes=((IPv4Network("169.254.169.254/32"), IPv4Address("10.20.0.2")),),
    domain="openstacklocal",
)


def reserved(number: int, *options: tuple[str, str]) -> Reservation:
    return Reservation(
        port_id=f"port-{number}",
        network_id="n",
        subnet_id="a",
        mac=f"fa:16:3e:00:00:{number:02x}",
        address=IPv4Address(f"10.20.0.{100 + number}"),
        hostname=f"host-10-20-0-{100 + number}",
        domain="openstacklocal",
        options=options,
    )


RESERVATIONS = (
    reserved(1),
    reserved(2, *BOOT),
    reserved(3),
    reserved(4, ("client-id", "01:02:03:04")),
    reserved(6),
)


def configured(run: str) -> Table:
    """Return the table of a dnsmasq's reservations; its relay has the MAC of client 1."""
    server = DhcpServer(
        name="tapq",
        interface="tapq",
        ranges=(RANGE,),
        reservations={str(one.address): one for one in RESERVATIONS},
    )
    return table(server, SERVER_MAC, relays=[MAC], rapid_commit=run.startswith("rapid"))


@dataclass(frozen=True)
class Case:
    """A recorded case and our answer to it."""

    name: str
    dnsmasq: dict[str, Any] | None
    ours: Message | None


def octets(text: str) -> bytes:
    parts = text.split(" ")
    return b"".join(
        bytes(int(part[2:])) if part.startswith("0*") else bytes.fromhex(part) for part in parts
    )


def played(case: dict[str, Any]) -> Case:
    made, leases = configured(case["run"]), Leases()
    outcome = answer(made, leases, b"", NOW)
    for step in [*case["before"], case["request"]]:
        outcome = answer(made, leases, octets(step), NOW)
        for event in outcome.events:
            leases.record(event)
    found = parse(outcome.frames[0]) if outcome.frames else None
    assert found is None or isinstance(found, Message)
    return Case(f"{case['run']}: {case['name']}", case["answer"], found)


CASES = [played(case) for case in RECORD["cases"]]
SILENCE = None
OFFER, ACK, NAK = (2, "10.20.0.101"), (5, "10.20.0.101"), (6, "0.0.0.0")

# Where we answer otherwise: by a part of the case's name, with what we answer, and the reason.
NO_RECORD = "RFC 2131, 4.3.2: without a record of the client the server MUST remain silent"
KNOWN = "the reservation is the record (RFC 2131, 4.3.2): a lease need not be known"
DIFFERENT: dict[str, tuple[tuple[int, str] | None, str]] = {
    "plain: DISCOVER chaddr differs from Ethernet source": (
        SILENCE,
        "docs/decisions/0035: a client speaks for itself",
    ),
    "plain: DISCOVER truncated option": (SILENCE, "it is malformed: what else was cut, is unknown"),
    "plain: DISCOVER type twice": (SILENCE, "RFC 3396, 5: two are one of two octets, no type"),
    "plain: REQUEST init-reboot, right, no lease": (ACK, KNOWN),
    "plain: REQUEST init-reboot, wrong address of the subnet": (NAK, KNOWN),
    "plain: REQUEST init-reboot, wrong subnet": (NAK, KNOWN),
    "plain: REQUEST init-reboot, address leased to another": (NAK, KNOWN),
    "plain: REQUEST renewing unicast, no lease": (ACK, KNOWN),
    "plain: REQUEST rebinding broadcast, no lease": (ACK, KNOWN),
    "plain: REQUEST rebinding, wrong ciaddr of the subnet": (NAK, KNOWN),
    "plain: REQUEST rebinding, other subnet": (NAK, KNOWN),
    "authoritative: REQUEST selecting another server": (
        SILENCE,
        "RFC 2131, 4.3.2: the client chose another server, and hears nothing from us",
    ),
    "authoritative: REQUEST selecting us, no option 50": (
        SILENCE,
        "RFC 2131, 4.3.2: the address MUST be there; nothing to refuse",
    ),
    "authoritative: REQUEST without 50, 54, ciaddr": (
        SILENCE,
        "RFC 2131, table 4: in no state; nothing to refuse",
    ),
    "authoritative: REQUEST init-reboot, unknown MAC, subnet address": (SILENCE, NO_RECORD),
    "authoritative: REQUEST init-reboot, unknown MAC, wrong subnet": (SILENCE, NO_RECORD),
    **{
        f"{run}: INFORM {which}": (SILENCE, reason)
        for run in ("plain", "authoritative")
        for which, reason in (
            ("unknown MAC", "only ports are served, as dnsmasq is told to by dhcp-ignore"),
            ("address outside", "RFC 2131, 4.3.5: the address is checked for consistency"),
        )
    },
}


def shown(answered: dict[str, Any] | Message | None) -> tuple[int, str] | None:
    """Return type and address; type 0 is BOOTP's reply."""
    if answered is None:
        return None
    if isinstance(answered, Message):
        kind = int.from_bytes(answered.options.get(53, b""), "big")
        return kind, str(IPv4Address(answered.yiaddr))
    return answered["type"], answered["yiaddr"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_that_of_dnsmasq_or_differs_on_purpose(case: Case) -> None:
    if case.name in DIFFERENT:
        expected, reason = DIFFERENT[case.name]
        assert shown(case.ours) == expected, reason
        assert shown(case.dnsmasq) != expected, "no difference: remove it from the list"
    else:
        assert shown(case.ours) == shown(case.dnsmasq)


ALIKE = [case for case in CASES if case.ours and case.name not in DIFFERENT]
# Options whose values differ: by number, where, and why
OTHER_VALUES = (
    (56, "", "the words of a NAK are free"),
    (81, "FQDN", "RFC 4702, 3: a server may ignore it"),
    (51, "requested lease", "RFC 2131, 4.3.1: the server chooses the time"),
    (58, "requested lease", "follows from 51"),
    (59, "requested lease", "follows from 51"),
    (58, "REQUEST re", "RFC 2131, 4.4.5: dnsmasq takes a random part off; a choice"),
    (59, "REQUEST re", "as 58"),
    (52, "DISCOVER PXEClient", "more options, so more fields of the header"),
)


def differs_on_purpose(code: int, name: str) -> bool:
    return any(code == one and part in name for one, part, _ in OTHER_VALUES)


@pytest.mark.parametrize("case", ALIKE, ids=lambda case: case.name)
def test_an_option_of_dnsmasq_has_the_same_value_or_another_on_purpose(case: Case) -> None:
    assert case.ours
    assert case.dnsmasq
    theirs = {int(code): value for code, value in case.dnsmasq["options"].items()}
    ours = {code: value.hex() for code, value in case.ours.options.items()}
    other = {code for code, value in theirs.items() if ours.get(code) != value}
    assert {code for code in other if not differs_on_purpose(code, case.name)} == set()


@pytest.mark.parametrize("case", ALIKE, ids=lambda case: case.name)
def test_an_answer_goes_where_that_of_dnsmasq_goes(case: Case) -> None:
    assert case.ours
    assert case.dnsmasq
    to = f"{IPv4Address(case.ours.destination)}:{case.ours.destination_port}"
    if case.name.startswith("rapid+broadcast"):  # nobody tells us to broadcast without the flag
        flag = case.ours.flags & 0x8000
        assert to == ("255.255.255.255:68" if flag else "10.20.0.101:68")
    else:
        assert to == case.dnsmasq["to"]
        assert case.ours.target.hex(":") == case.dnsmasq["mac"]
    assert str(IPv4Address(case.ours.siaddr)) == case.dnsmasq["siaddr"]


def test_the_short_way_answers_a_recorded_request_alike_or_not() -> None:
    outcomes = []
    for case in RECORD["cases"]:
        made, frame = replace(configured(case["run"]), by_client={}), octets(case["request"])
        outcomes.append(answer_plain(made, Leases(), frame, NOW))
        assert outcomes[-1] in (None, answer(made, Leases(), frame, NOW))
    assert len(list(filter(None, outcomes))) > 40


def test_every_difference_is_of_a_case() -> None:
    assert set(DIFFERENT) <= {case.name for case in CASES}
    assert len(CASES) == 135
