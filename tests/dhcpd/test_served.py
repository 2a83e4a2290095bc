"""What a server does with a frame, whatever it is, and how often it does."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lessor.core.dhcp.leases import Action
from lessor.core.dhcp.message import build
from lessor.dhcpd.client import header_of
from lessor.dhcpd.messages import Held
from lessor.dhcpd.served import FLOOD, UNKNOWN, Served
from tests.core.dhcp.client import (
    ADDRESS,
    DECLINE,
    DISCOVER,
    INFORM,
    MAC,
    RELAY_MAC,
    RELEASE,
    REQUEST,
    SERVER,
    request,
    reservation,
    server,
)
from tests.core.dhcp.client import UNKNOWN as STRANGER
from tests.dhcpd.lan import entry

NOW = 1_000_000.0
FRAMES = [
    build(request(DISCOVER)),
    build(request(REQUEST, {50: ADDRESS, 54: SERVER, 61: b"\1\2"})),
    build(request(REQUEST, ciaddr=ADDRESS, destination=SERVER)),
    build(request(DECLINE, {50: ADDRESS, 54: SERVER})),
    build(request(RELEASE, {54: SERVER}, ciaddr=ADDRESS, destination=SERVER)),
    build(request(INFORM, ciaddr=ADDRESS)),
    build(request(None)),
]


def made(*numbers: int, **header: object) -> Served:
    served = Served(msgspec.structs.replace(header_of(server()), **header))
    for number in numbers:
        one = entry(reservation(number))
        served.put(one, served.row(one))
    return served


def heard(served: Served, frame: bytes, at: float, times: int) -> int:
    """Return how many of so many equal frames were not dropped."""
    return sum(served.hear(frame, NOW, at) is not None for _ in range(times))


def test_a_client_may_send_so_many_at_once_and_then_at_a_rate() -> None:
    served = made(1, 3, rate=2.0, burst=5.0)
    assert heard(served, FRAMES[0], 0.0, 20) == 5
    assert heard(served, FRAMES[0], 1.0, 20) == 2
    assert heard(served, build(request(DISCOVER, mac=bytes.fromhex("fa163e000003"))), 1.0, 9) == 5
    assert served.clients[MAC][FLOOD] == 33


def test_clients_without_reservation_have_one_limit() -> None:
    served = made(1)
    for number in range(int(UNKNOWN.burst)):
        frame = build(request(DISCOVER, mac=number.to_bytes(6, "big")))
        assert served.hear(frame, NOW, 0.0) is not None
    assert served.hear(build(request(DISCOVER, mac=STRANGER)), NOW, 0.0) is None
    assert served.hear(FRAMES[0], NOW, 0.0) is not None


def test_clients_of_a_relay_have_a_limit_each() -> None:
    served = made(1, 3, relays=(RELAY_MAC,), burst=3.0)
    for mac in (MAC, bytes.fromhex("fa163e000003")):
        relayed = build(request(DISCOVER, mac=mac, sender=RELAY_MAC, giaddr=SERVER))
        assert heard(served, relayed, 0.0, 9) == 3


def test_a_reservation_that_goes_takes_its_lease_along() -> None:
    served = made(1)
    assert served.hear(FRAMES[1], NOW, 0.0)
    assert ADDRESS in served.leases.live
    served.drop(ADDRESS)
    assert not served.leases.live
    assert not served.leases.ends
    assert not served.table.by_mac


def test_a_lease_that_was_told_counts_less_than_one_that_was_given() -> None:
    served = made(1)
    served.hear(FRAMES[1], NOW, 0.0)
    given_until = served.leases.live[ADDRESS].expires_at
    other = entry(reservation(3)).address
    served.seed([Held(ADDRESS, MAC, b"", 5.0), Held(other, MAC, b"", None)], complete=True)
    assert served.leases.live[ADDRESS].expires_at == given_until
    assert served.leases.complete
    outcome = served.hear(FRAMES[1], NOW, 0.0)
    assert outcome is not None
    assert [event.action for event in outcome.events] == [Action.RENEWED]


@given(
    frame=st.sampled_from(FRAMES),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 400),
    added=st.binary(max_size=40),
)
def test_no_frame_is_a_fault(
    frame: bytes, changes: list[tuple[int, int]], cut: int, added: bytes
) -> None:
    served = made(1)
    mutated = bytearray(frame[: max(0, len(frame) - cut)] + added)
    for at, value in changes:
        if at < len(mutated):
            mutated[at] = value
    mutated[40:42] = b"\0\0"  # no checksum, or hardly one would get far
    outcome = served.hear(bytes(mutated), NOW, 0.0)
    assert outcome is not None
