"""What the responder answers, message by message, in the words of the RFCs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.core.dhcp.leases import Action, Lease, Leases
from lessor.core.dhcp.message import (
    EVERY_MAC,
    EVERYBODY,
    NO_ADDRESS,
    Malformed,
    Message,
    build,
    parse,
)
from lessor.core.dhcp.responder import RENEWAL_WAIT, Note, answer
from lessor.core.dhcp.rows import table
from lessor.core.dhcp.table import Table
from tests.core.dhcp.client import (
    ACK,
    ADDRESS,
    DECLINE,
    DISCOVER,
    INFORM,
    MAC,
    NAK,
    NOW,
    OFFER,
    OTHER_MAC,
    RANGE,
    RELAY_MAC,
    RELEASE,
    REQUEST,
    SERVER,
    SERVER_MAC,
    TABLE,
    UNKNOWN,
    ask,
    ip,
    kind,
    renewal,
    replied,
    request,
    reservation,
    rows,
    server,
)

SELECTING = {50: ADDRESS, 54: SERVER}
LEASED = Leases(live={ADDRESS: Lease(MAC, b"", NOW + 100)})
DECLINED = Leases(declined={ADDRESS: NOW + 1})


def test_a_discover_is_offered_the_reservation() -> None:
    outcome = ask(request(DISCOVER))
    found = replied(outcome)
    assert (found.options[53], found.yiaddr, found.siaddr) == (b"\2", ADDRESS, SERVER)
    assert (found.xid, found.secs, found.ciaddr) == (b"\x11\x22\x33\x44", b"\0\0", NO_ADDRESS)
    assert found.options[54] == SERVER
    assert outcome.events == ()  # an offer is no lease


def test_a_discover_gets_no_other_address_than_the_reservation() -> None:
    assert replied(ask(request(DISCOVER, {50: ip("10.20.0.150")}))).yiaddr == ADDRESS


def test_a_client_without_reservation_hears_nothing() -> None:
    outcome = ask(request(DISCOVER, mac=UNKNOWN))
    assert (outcome.frames, outcome.notes) == ((), (Note.UNKNOWN,))


def test_an_answer_goes_to_the_clients_mac_and_new_address() -> None:
    found = replied(ask(request(DISCOVER)))
    assert (found.target, found.destination, found.destination_port) == (MAC, ADDRESS, 68)


def test_an_answer_is_broadcast_if_the_client_asks_for_that() -> None:
    found = replied(ask(request(DISCOVER, flags=0x8000)))
    assert (found.target, found.destination, found.flags) == (EVERY_MAC, EVERYBODY, 0x8000)


def test_a_lease_is_given_where_the_client_chose_us() -> None:
    outcome = ask(request(REQUEST, SELECTING))
    assert (kind(outcome), replied(outcome).yiaddr, outcome.wait) == (ACK, ADDRESS, 0.0)
    (event,) = outcome.events
    assert (event.action, event.address, event.mac) == (Action.GRANTED, ADDRESS, MAC)
    assert (event.until, event.at) == (NOW + 86400, NOW)


def test_another_servers_client_hears_nothing() -> None:
    outcome = ask(request(REQUEST, {50: ip("10.20.0.150"), 54: ip("10.20.0.3")}))
    assert (outcome.frames, outcome.notes) == ((), (Note.OTHER_SERVER,))


# A REQUEST and what is answered. Unknown clients may be those of other servers.
@pytest.mark.parametrize(
    ("message", "answered"),
    [
        pytest.param(request(REQUEST, SELECTING), ACK, id="selecting"),
        pytest.param(request(REQUEST, SELECTING | {50: ip("10.20.0.9")}), NAK, id="wrong"),
        pytest.param(request(REQUEST, SELECTING, mac=UNKNOWN), NAK, id="selecting-us-unknown"),
        pytest.param(request(REQUEST, {54: SERVER}), None, id="selecting-no-address"),
        pytest.param(request(REQUEST, {54: SERVER}, ciaddr=ADDRESS), ACK, id="selecting-ciaddr"),
        pytest.param(request(REQUEST, {50: ADDRESS}), ACK, id="init-reboot"),
        pytest.param(request(REQUEST, {50: ip("10.20.0.9")}), NAK, id="init-reboot-wrong"),
        pytest.param(request(REQUEST, {50: ip("192.168.1.5")}), NAK, id="init-reboot-wrong-net"),
        pytest.param(request(REQUEST, {50: ADDRESS}, mac=UNKNOWN), None, id="init-reboot-unknown"),
        pytest.param(
            request(REQUEST, {50: ip("192.168.1.5")}, mac=UNKNOWN),
            None,
            id="init-reboot-unknown-wrong-net",
        ),
        pytest.param(renewal(), ACK, id="renewing"),
        pytest.param(renewal(ciaddr=ip("10.20.0.9")), NAK, id="renewing-wrong"),
        pytest.param(renewal(mac=UNKNOWN), NAK, id="renewing-unknown"),
        pytest.param(request(REQUEST, ciaddr=ADDRESS), ACK, id="rebinding"),
        pytest.param(request(REQUEST, ciaddr=ip("10.20.0.9")), NAK, id="rebinding-wrong"),
        pytest.param(request(REQUEST, ciaddr=ADDRESS, mac=UNKNOWN), None, id="rebinding-unknown"),
        pytest.param(request(REQUEST), None, id="no-address-at-all"),
    ],
)
@pytest.mark.parametrize("leases", [Leases(), LEASED], ids=["no-lease", "leased"])
def test_a_request_in_each_state(message: Message, answered: int | None, leases: Leases) -> None:
    outcome = ask(message, leases=leases)
    assert kind(outcome) == answered
    assert [event.address for event in outcome.events] == [ADDRESS] * (answered == ACK)
    assert bool(outcome.notes) == (answered != ACK)


def test_a_lease_that_lives_is_renewed() -> None:
    (event,) = ask(renewal(), leases=LEASED).events
    assert event.action is Action.RENEWED
    expired = Leases(live={ADDRESS: Lease(MAC, b"", NOW - 1)})
    (event,) = ask(renewal(), leases=expired).events
    assert event.action is Action.GRANTED


def test_a_renewal_is_answered_to_the_clients_address_after_a_moment() -> None:
    outcome = ask(renewal(flags=0x8000))
    found = replied(outcome)
    assert (found.target, found.destination, found.ciaddr) == (MAC, ADDRESS, ADDRESS)
    assert outcome.wait == RENEWAL_WAIT == 0.002
    assert ask(request(REQUEST, ciaddr=ADDRESS)).wait == 0.0


def test_a_nak_is_broadcast_and_says_why_and_no_more() -> None:
    message = request(REQUEST, {50: ip("10.20.0.9"), 61: b"\1id", 55: b"\1\3"})
    outcome = ask(message)
    found = replied(outcome)
    assert (found.target, found.destination, found.flags) == (EVERY_MAC, EVERYBODY, 0)
    assert (found.ciaddr, found.yiaddr, found.siaddr) == (NO_ADDRESS,) * 3
    assert found.options == {53: b"\6", 54: SERVER, 56: b"wrong address", 61: b"\1id"}
    assert outcome.notes == (Note.REFUSED,)


def test_a_declined_address_is_quarantined_for_ten_minutes() -> None:
    leases = Leases(live={ADDRESS: Lease(MAC, b"", NOW + 100)})
    outcome = ask(request(DECLINE, SELECTING), leases=leases)
    assert (outcome.frames, outcome.notes) == ((), (Note.DECLINED,))
    (event,) = outcome.events
    assert (event.action, event.address, event.until) == (Action.DECLINED, ADDRESS, NOW + 600)
    leases.record(event)
    assert leases.live == {}
    assert ask(request(DISCOVER), leases=leases).notes == (Note.QUARANTINED,)
    frame = build(request(DISCOVER))
    assert answer(TABLE, leases, frame, NOW + 599).frames == ()
    assert kind(answer(TABLE, leases, frame, NOW + 600)) == OFFER


def test_a_declined_address_is_refused() -> None:
    for message in (request(REQUEST, SELECTING), request(REQUEST, {50: ADDRESS}), renewal()):
        assert kind(ask(message, leases=DECLINED)) == NAK
    assert ask(request(None), leases=DECLINED).notes == (Note.QUARANTINED,)


@pytest.mark.parametrize(
    ("message", "note"),
    [
        pytest.param(request(DECLINE, {50: ADDRESS}), Note.OTHER_SERVER, id="no-server"),
        pytest.param(
            request(DECLINE, SELECTING | {54: ip("10.20.0.3")}), Note.OTHER_SERVER, id="anothers"
        ),
        pytest.param(
            request(DECLINE, SELECTING, mac=OTHER_MAC), Note.WRONG_ADDRESS, id="not-its-own"
        ),
        pytest.param(request(DECLINE, SELECTING, mac=UNKNOWN), Note.UNKNOWN, id="unknown"),
        pytest.param(
            request(RELEASE, {54: SERVER}, ciaddr=ADDRESS, mac=OTHER_MAC),
            Note.WRONG_ADDRESS,
            id="releases-anothers",
        ),
        pytest.param(request(RELEASE, ciaddr=ADDRESS), Note.OTHER_SERVER, id="releases-to-nobody"),
        pytest.param(
            request(RELEASE, {54: SERVER}, ciaddr=ADDRESS, mac=UNKNOWN),
            Note.UNKNOWN,
            id="releases-unknown",
        ),
    ],
)
def test_nobody_ends_anothers_lease(message: Message, note: Note) -> None:
    outcome = ask(message, leases=LEASED)
    assert (outcome.frames, outcome.events, outcome.notes) == ((), (), (note,))


def test_a_release_ends_the_lease_without_an_answer() -> None:
    message = request(RELEASE, {54: SERVER}, ciaddr=ADDRESS, destination=SERVER)
    outcome = ask(message, leases=LEASED)
    assert outcome.frames == ()
    (event,) = outcome.events
    assert (event.action, event.address, event.mac) == (Action.RELEASED, ADDRESS, MAC)
    assert ask(message).notes == (Note.NO_LEASE,)


def test_an_inform_gets_options_without_address_or_times() -> None:
    outcome = ask(request(INFORM, ciaddr=ip("10.20.0.150"), flags=0x8000))
    found = replied(outcome)
    assert (found.yiaddr, found.ciaddr) == (NO_ADDRESS, ip("10.20.0.150"))
    assert (found.target, found.destination) == (MAC, ip("10.20.0.150"))
    assert {51, 58, 59}.isdisjoint(found.options)
    assert found.options[54] == SERVER
    assert found.options[3] == ip("10.20.0.1")
    assert outcome.events == ()


@pytest.mark.parametrize(
    ("message", "note"),
    [
        pytest.param(request(INFORM), Note.INCOMPLETE, id="no-address"),
        pytest.param(request(INFORM, ciaddr=ip("192.168.1.5")), Note.WRONG_ADDRESS, id="other-net"),
        pytest.param(request(INFORM, ciaddr=ADDRESS, mac=UNKNOWN), Note.UNKNOWN, id="unknown"),
        pytest.param(request(9), Note.TYPE, id="type-9"),
        pytest.param(request(DISCOVER, op=2), Note.NOT_A_REQUEST, id="a-reply"),
        pytest.param(request(DISCOVER, hlen=16), Note.NOT_A_REQUEST, id="no-mac"),
        pytest.param(request(DISCOVER, htype=32), Note.NOT_A_REQUEST, id="infiniband"),
        pytest.param(request(DISCOVER, destination_port=68), Note.NOT_A_REQUEST, id="port-68"),
        pytest.param(renewal(destination=ip("10.20.0.3")), Note.ELSEWHERE, id="to-another-server"),
        pytest.param(request(DISCOVER, sender=UNKNOWN), Note.FOREIGN_MAC, id="for-another"),
        pytest.param(
            request(DISCOVER, giaddr=ip("10.20.0.50")), Note.FOREIGN_MAC, id="a-vm-as-relay"
        ),
        pytest.param(
            request(DISCOVER, giaddr=ip("10.99.0.1"), sender=RELAY_MAC),
            Note.UNKNOWN,
            id="relay-of-an-unknown-subnet",
        ),
        pytest.param(request(DISCOVER, {118: ip("10.99.0.0")}), Note.UNKNOWN, id="unknown-subnet"),
    ],
)
def test_silence_has_a_reason(message: Message, note: Note) -> None:
    outcome = ask(message)
    assert (outcome.frames, outcome.events, outcome.notes) == ((), (), (note,))


def test_rapid_commit_gives_a_lease_at_once_where_it_is_on() -> None:
    message = request(DISCOVER, {80: b""})
    assert kind(ask(message)) == OFFER
    quick = rows(reservation(1), rapid_commit=True)
    outcome = ask(message, quick)
    assert kind(outcome) == ACK
    assert replied(outcome).options[80] == b""
    assert [event.action for event in outcome.events] == [Action.GRANTED]
    assert kind(ask(request(DISCOVER), quick)) == OFFER
    assert 80 not in replied(ask(request(REQUEST, SELECTING | {80: b""}), quick)).options


def relayed(number: int, options: dict[int, bytes] | None = None) -> Message:
    return request(
        number,
        options or {},
        giaddr=ip("10.20.0.50"),
        hops=1,
        sender=RELAY_MAC,
        target=SERVER_MAC,
        source=ip("10.20.0.50"),
        destination=SERVER,
        source_port=67,
    )


def test_a_relays_client_is_answered_through_it() -> None:
    found = replied(ask(relayed(DISCOVER, {82: b"\1\4port", 61: b"\1id"})))
    assert (found.target, found.destination) == (RELAY_MAC, ip("10.20.0.50"))
    assert (found.destination_port, found.giaddr) == (67, ip("10.20.0.50"))
    assert found.chaddr[:6] == MAC
    assert list(found.options)[-2:] == [61, 82]  # the relay's last
    assert found.options[82] == b"\1\4port"


def test_a_nak_through_a_relay_asks_it_to_broadcast() -> None:
    found = replied(ask(relayed(REQUEST, {50: ip("10.20.0.9"), 82: b"\1\1x"})))
    assert (found.options[53], found.options[82]) == (b"\6", b"\1\1x")
    assert (found.destination, found.flags) == (ip("10.20.0.50"), 0x8000)


def test_a_rebinding_through_a_relay_is_not_addressed_to_us() -> None:
    unknown = relayed(REQUEST)._replace(ciaddr=ADDRESS, chaddr=UNKNOWN.ljust(16, b"\0"))
    assert ask(unknown).notes == (Note.UNKNOWN,)


def test_a_mac_in_two_subnets_gets_the_address_it_asks_for() -> None:
    both = rows(reservation(1), reservation(1, subnet="s2"), relays=[RELAY_MAC])
    second = ip("10.30.0.101")
    assert replied(ask(request(DISCOVER), both)).yiaddr == ADDRESS
    assert replied(ask(request(DISCOVER, {50: second}), both)).yiaddr == second
    selected = replied(ask(request(DISCOVER, {118: ip("10.30.0.0")}), both))
    assert (selected.yiaddr, selected.options[118]) == (second, ip("10.30.0.0"))
    through = relayed(DISCOVER)._replace(giaddr=ip("10.30.0.50"))
    found = replied(ask(through, both))
    assert (found.yiaddr, found.options[54]) == (second, ip("10.30.0.2"))
    assert kind(ask(request(REQUEST, {50: second, 54: ip("10.30.0.2")}), both)) == ACK


def test_a_port_with_a_client_id_is_known_by_it_and_else_by_its_mac() -> None:
    known = rows(reservation(4, ("client-id", "01:02:03:04")), reservation(1))
    identity = {61: b"\1\2\3\4"}
    found = replied(ask(request(DISCOVER, identity), known))
    assert found.yiaddr == ip("10.20.0.104")  # the id wins over the MAC
    assert found.options[61] == b"\1\2\3\4"
    assert kind(ask(request(DISCOVER, identity, mac=UNKNOWN), known)) == OFFER
    mac = bytes.fromhex("fa163e000004")
    assert kind(ask(request(DISCOVER, {61: b"\7\7"}, mac=mac), known)) == OFFER
    assert kind(ask(request(DISCOVER, mac=mac), known)) == OFFER
    (event,) = ask(request(REQUEST, SELECTING | identity | {50: ip("10.20.0.104")}), known).events
    assert event.client_id == b"\1\2\3\4"


def test_a_client_that_prefers_ipv6_is_told_so_only_if_it_asks() -> None:
    told = rows(reservation(1, ("ipv6-only", "1800")))
    asking = replied(ask(request(DISCOVER, {55: b"\1\x6c"}), told))
    assert asking.options[108] == (1800).to_bytes(4, "big")
    assert 108 not in replied(ask(request(DISCOVER, {55: b"\1\3"}), told)).options
    assert 108 not in replied(ask(request(DISCOVER, {55: b"\1\x6c"}))).options


def test_bootp_gets_its_address_for_ever_and_300_octets() -> None:
    outcome = ask(request(None))
    found = replied(outcome)
    assert found.yiaddr == ADDRESS
    assert not found.options.keys() & {51, 53, 54, 58, 59}
    assert found.options[1] == ip("255.255.255.0")
    assert len(outcome.frames[0]) == 14 + 28 + 300
    (event,) = outcome.events
    assert event.until is None
    assert ask(request(None, mac=UNKNOWN)).notes == (Note.UNKNOWN,)


LONG = (("17", "r" * 200), ("bootfile-name", "b" * 100), ("tftp-server", "10.20.0.9"))


def size(to: Table, options: dict[int, bytes]) -> int:
    (frame,) = ask(request(DISCOVER, options), to).frames
    return len(frame) - 14


@pytest.mark.parametrize("asked", [None, b"\1\3", b"\x11\x42\x43\x79", bytes(range(1, 255))])
@pytest.mark.parametrize(
    ("limit", "most"),
    [(None, 576), (300, 576), (576, 576), (700, 700), (1500, 1450)],  # the subnet's MTU
)
def test_an_answer_is_no_larger_than_the_client_takes(
    limit: int | None, most: int, asked: bytes | None
) -> None:
    many = (*LONG, *((str(code), "x" * 150) for code in range(224, 232)))
    options = {57: limit.to_bytes(2, "big")} if limit else {}
    assert size(rows(reservation(1, *many)), options | ({55: asked} if asked else {})) <= most


def test_a_small_mtu_bounds_the_answer() -> None:
    small = replace(RANGE, mtu=400)
    reserved = reservation(1, ("17", "r" * 200))
    made = table(replace(server(reserved), ranges=(small,)), SERVER_MAC)
    assert size(made, {}) <= 400


def test_bootp_has_64_octets_of_options_however_many_there_are() -> None:
    (frame,) = ask(
        request(None), rows(reservation(1, ("17", "r" * 20), ("42", "192.0.2.1")))
    ).frames
    assert len(frame) == 14 + 28 + 300


def test_long_options_go_on_in_the_fields_of_the_header() -> None:
    long = rows(reservation(1, *LONG))
    found = replied(ask(request(DISCOVER, {55: b"\x11\x42\x43\6"}), long))
    assert found.options[52]
    assert found.options[17] == b"r" * 200
    assert found.options[67] == b"b" * 100 + b"\0"
    assert found.options[54] == SERVER


def test_options_not_asked_for_are_left_out_first() -> None:
    long = rows(reservation(1, *LONG))
    found = replied(ask(request(DISCOVER, {55: b"\3\6"}), long))
    assert found.options.keys() == {53, 54, 51, 58, 59, 1, 28, 26, 3, 6}
    assert found.file.rstrip(b"\0") == b"b" * 100  # firmware looks there as well


def test_options_without_room_are_counted() -> None:
    full = rows(reservation(1, *((str(code), "x" * 200) for code in range(224, 230))))
    assert Note.NO_ROOM in ask(request(DISCOVER), full).notes


def test_what_is_echoed_always_has_room_and_the_relays_option_is_the_last() -> None:
    echoed = {61: b"i" * 255, 82: b"r" * 255}
    outcome = ask(request(DISCOVER, echoed))
    found = replied(outcome)
    assert {code: found.options[code] for code in echoed} == echoed
    assert outcome.frames[0].endswith(b"\x52\xff" + b"r" * 255 + b"\xff")


MESSAGES = st.builds(
    request,
    st.sampled_from([None, *range(10)]),
    st.dictionaries(
        st.sampled_from([12, 50, 54, 55, 57, 60, 61, 80, 82, 118]),
        st.sampled_from([ADDRESS, SERVER, ip("10.20.0.9"), ip("10.30.0.0"), b"\1\3", b""]),
    ),
    mac=st.sampled_from([MAC, OTHER_MAC, UNKNOWN]),
    flags=st.sampled_from([0, 0x8000]),
    ciaddr=st.sampled_from([NO_ADDRESS, ADDRESS, ip("10.20.0.103"), ip("10.20.0.9")]),
    giaddr=st.sampled_from([NO_ADDRESS, NO_ADDRESS, ip("10.20.0.50")]),
    destination=st.sampled_from([EVERYBODY, SERVER, ip("10.20.0.9")]),
)
OWN = {MAC: ADDRESS, OTHER_MAC: ip("10.20.0.103")}


@given(MESSAGES, st.booleans(), st.booleans())
def test_an_answer_has_the_reservations_address_or_none(
    message: Message, through: bool, declined: bool
) -> None:
    sender = RELAY_MAC if through else message.sender
    outcome = ask(message._replace(sender=sender), leases=DECLINED if declined else LEASED)
    mac = message.chaddr[:6]
    for frame in outcome.frames:
        found = parse(frame)
        assert isinstance(found, Message)
        assert found.yiaddr in (NO_ADDRESS, OWN.get(mac))
        if mac == UNKNOWN:  # it named us: by option 54, or by destination
            assert found.options[53] == b"\6"
            assert message.options.get(54) == SERVER or message.destination == SERVER
    assert all(event.address == OWN[mac] for event in outcome.events)
    assert outcome.frames or outcome.events or outcome.notes


@given(MESSAGES, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8))
def test_no_mutated_request_raises(message: Message, changes: list[tuple[int, int]]) -> None:
    frame = bytearray(build(message))
    for at, value in [*changes, (40, 0), (41, 0)]:  # a checksum of 0 is none
        frame[at % len(frame)] = value
    outcome = answer(TABLE, LEASED, bytes(frame), NOW)
    assert outcome.frames or outcome.events or outcome.notes


def test_a_malformed_frame_is_noted() -> None:
    assert answer(TABLE, Leases(), b"", NOW).notes == (Malformed.SHORT,)


def test_a_lease_without_end_has_none() -> None:
    forever = table(server(reservation(1), lease_time=-1), SERVER_MAC)
    (event,) = ask(request(REQUEST, SELECTING), forever).events
    assert event.until is None
