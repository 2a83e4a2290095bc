"""What BFD's status means, and what is said of it."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lessor.core.diagnosis.tunnels import (
    EXPIRED,
    SETTLE_S,
    SILENCE_S,
    TURN_S,
    Broken,
    Peer,
    Way,
    broken,
    sentences,
)

OWN = IPv4Address("203.0.113.11")
AT = 1796048954.0
FELL_SILENT = Broken(Way.IN, AT - SILENCE_S, AT)
FIVE = [Peer(f"cmp{n}", IPv4Address(f"203.0.113.{20 + n}"), AT) for n in range(5)]


def peer(number: int, *, pings: bool | None = None) -> Peer:
    return Peer(f"cmp{number}", IPv4Address(f"203.0.113.{20 + number}"), AT, pings)


@pytest.mark.parametrize("status", [{}, {"state": "up", "diagnostic": EXPIRED}])
def test_a_tunnel_that_is_up_or_not_yet_asked_is_not_broken(status: dict[str, str]) -> None:
    assert broken(status, None, AT) is None


def test_one_that_fell_silent_is_said_at_once_with_when_the_last_packet_came() -> None:
    found = broken({"state": "down", "diagnostic": EXPIRED}, None, AT)
    assert found == FELL_SILENT


def test_one_that_is_heard_again_may_come_up_before_more_is_said() -> None:
    heard = {"state": "init", "remote_diagnostic": EXPIRED}
    turned = broken(heard, FELL_SILENT, AT + 9)
    assert turned == Broken(Way.OUT, FELL_SILENT.since, AT + 9 + TURN_S, turned=True)
    assert broken(heard, turned, AT + 10) == turned
    assert broken({"state": "up"}, turned, AT + 12) is None


def test_a_new_one_has_time_until_both_ends_are_there() -> None:
    new = {"state": "down", "diagnostic": "No Diagnostic"}
    first = broken(new, None, AT)
    assert first == Broken(Way.IN, AT, AT + SETTLE_S)
    assert broken(new, first, AT + 1) == first
    other_way = broken({"state": "init"}, first, AT + 2)
    assert other_way == Broken(Way.OUT, AT, AT + SETTLE_S)


def test_one_that_the_other_end_has_waited_for_in_vain_is_said_at_once() -> None:
    signaled = broken({"state": "down", "remote_diagnostic": EXPIRED}, None, AT)
    assert signaled == Broken(Way.IN, AT, AT + SETTLE_S)  # that diagnostic may be an old one
    found = broken({"state": "init", "remote_diagnostic": EXPIRED}, signaled, AT + 2)
    assert found == Broken(Way.OUT, AT, AT + 2)
    later = broken({"state": "init", "remote_diagnostic": EXPIRED}, found, AT + 9)
    assert later == found


def test_what_the_other_end_says_of_a_session_before_ours_is_old() -> None:
    """Open vSwitch was started again here; the other end fell silent once, minutes ago."""
    ours = {"state": "init", "diagnostic": "No Diagnostic", "remote_diagnostic": EXPIRED}
    assert broken(ours, None, AT) == Broken(Way.OUT, AT, AT + SETTLE_S)


def said(way: Way, *peers: Peer, count: int = 5, port: int = 4789) -> str:
    [(text, about)] = sentences(OWN, port, count, {way: peers})
    assert list(about) == [*peers]
    return text


def test_one_peer_of_several_is_named_with_both_ends_and_what_may_be_the_cause() -> None:
    assert said(Way.IN, peer(1, pings=True)) == (
        "no packet of tunnels comes to local_ip 203.0.113.11 from cmp1 (203.0.113.21), "
        "though ping passes: UDP 4789 is stopped on the way, or one local_ip is wrong"
    )
    text = said(Way.IN, peer(1, pings=False))
    assert "cmp1 (203.0.113.21): the other host, its Open vSwitch or a cable is down, UDP 4" in text


def test_all_peers_are_one_sentence_about_this_host() -> None:
    text = said(Way.IN, *(peer(n, pings=True) for n in range(3)), count=3, port=4790)
    assert text.startswith(
        "no packet of tunnels comes to local_ip 203.0.113.11 from any of 3 hosts, "
    )
    assert "UDP 4790 is stopped at this host" in text
    assert "this host's cable is out" in said(Way.IN, *FIVE)


def test_a_way_that_is_open_in_one_direction_only_is_said_so() -> None:
    assert "gets from local_ip 203.0.113.11 to cmp1 (203.0.113.21), though" in said(
        Way.OUT, peer(1)
    )
    assert "to cmp1" in said(Way.OUT, peer(1), count=1)
    assert "to any of 2 hosts" in said(Way.OUT, peer(1), peer(2), count=2)


def test_many_peers_are_still_one_sentence_that_can_be_read() -> None:
    text = said(Way.IN, *(peer(n) for n in range(40)), count=99)
    assert text.count("203.0.113.") == 6
    assert "and 35 more" in text
    assert len(text) < 500


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert list(sentences(OWN, 4789, 3, {})) == []
