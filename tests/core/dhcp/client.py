"""A DHCP client's frames, and the server that they go to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from lessor.core.dhcp.leases import Leases
from lessor.core.dhcp.message import (
    EVERY_MAC,
    EVERYBODY,
    NO_ADDRESS,
    NO_FILE,
    NO_SNAME,
    Message,
    build,
    parse,
)
from lessor.core.dhcp.responder import Outcome, answer
from lessor.core.dhcp.rows import table
from lessor.core.dhcp.table import Table
from lessor.core.state import DhcpRange, DhcpServer, Reservation

MAC, OTHER_MAC = bytes.fromhex("fa163e000001"), bytes.fromhex("fa163e000003")
UNKNOWN, RELAY_MAC = bytes.fromhex("fa163e000099"), bytes.fromhex("525400000001")
SERVER_MAC = bytes.fromhex("fa163e0000fe")
DISCOVER, REQUEST, DECLINE, RELEASE, INFORM = 1, 3, 4, 7, 8
OFFER, ACK, NAK = 2, 5, 6
NOW = 1_000_000.0

RANGE = DhcpRange(
    subnet_id="s1",
    network_id="n1",
    cidr=IPv4Network("10.20.0.0/24"),
    server=IPv4Address("10.20.0.2"),
    start=IPv4Address("10.20.0.0"),
    router=IPv4Address("10.20.0.1"),
    mtu=1450,
    dns=(),
    routes=(),
    domain="example.org",
)
SECOND = replace(
    RANGE,
    subnet_id="s2",
    cidr=IPv4Network("10.30.0.0/24"),
    server=IPv4Address("10.30.0.2"),
    router=IPv4Address("10.30.0.1"),
)


def ip(text: str) -> bytes:
    return IPv4Address(text).packed


ADDRESS, SERVER = ip("10.20.0.101"), ip("10.20.0.2")


def reservation(number: int, *options: tuple[str, str], subnet: str = "s1") -> Reservation:
    """Return the reservation of MAC fa:16:3e:00:00:<number>, address .<100 + number>."""
    net = {"s1": "10.20.0", "s2": "10.30.0"}[subnet]
    return Reservation(
        port_id=f"p{number}",
        network_id="n1",
        subnet_id=subnet,
        mac=f"fa:16:3e:00:00:{number:02x}",
        address=IPv4Address(f"{net}.{100 + number}"),
        hostname=f"vm{number}",
        domain="",
        options=options,
    )


def server(*reservations: Reservation, lease_time: int = 86400) -> DhcpServer:
    return DhcpServer(
        name="br1",
        interface="br1",
        ranges=(RANGE, SECOND),
        reservations={str(one.address): one for one in reservations},
        lease_time=lease_time,
    )


def rows(*reservations: Reservation, **settings: Any) -> Table:
    return table(server(*reservations), SERVER_MAC, **settings)


TABLE = rows(reservation(1), reservation(3), relays=[RELAY_MAC])


def request(kind: int | None, options: Mapping[int, bytes] = {}, **fields: Any) -> Message:
    """Return a request of MAC, broadcast; a type of None is BOOTP."""
    typed = {53: bytes([kind])} if kind is not None else {}
    chaddr = fields.pop("mac", MAC)
    blank = Message(
        target=EVERY_MAC,
        sender=chaddr,
        source=NO_ADDRESS,
        destination=EVERYBODY,
        source_port=68,
        destination_port=67,
        op=1,
        htype=1,
        hlen=6,
        hops=0,
        xid=b"\x11\x22\x33\x44",
        secs=b"\0\7",
        flags=0,
        ciaddr=NO_ADDRESS,
        yiaddr=NO_ADDRESS,
        siaddr=NO_ADDRESS,
        giaddr=NO_ADDRESS,
        chaddr=chaddr.ljust(16, b"\0"),
        sname=NO_SNAME,
        file=NO_FILE,
        options=typed | dict(options),
    )
    return blank._replace(**fields)


def renewal(**fields: Any) -> Message:
    """Return a renewal, unicast to the server."""
    address = fields.pop("ciaddr", ADDRESS)
    sent = {"ciaddr": address, "source": address, "destination": SERVER, "target": SERVER_MAC}
    return request(REQUEST, **(sent | fields))


def ask(message: Message, to: Table = TABLE, leases: Leases | None = None) -> Outcome:
    return answer(to, leases or Leases(), build(message), NOW)


def replied(outcome: Outcome) -> Message:
    """Return the one answer; its frame is well-formed."""
    (frame,) = outcome.frames
    found = parse(frame)
    assert isinstance(found, Message)
    assert (found.op, found.hops, found.sender) == (2, 0, SERVER_MAC)
    return found


def kind(outcome: Outcome) -> int | None:
    """Return the type of the answer; None: there is none."""
    return replied(outcome).options[53][0] if outcome.frames else None
