from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.core.leases import (
    LiveLease,
    apply_event,
    coalesce,
    event_line,
    parse_line,
)
from lessor.model import LeaseEvent
from lessor.net.address import Address

A, B = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
IP = IPv4Address("10.0.0.3")
LINE = f"br100 12.50 add {A} 10.0.0.3 1799 01:02 web ."


def event(seq: int, action: str = "old", mac: str = A, ip: Address = IP) -> LeaseEvent:
    return reported(seq, action, mac_address=mac, address=ip, expires_at=100.0 + seq, at=0.0)


def reported(seq: int, action: str, **more: Any) -> LeaseEvent:
    fields = {"network_id": "", "server": "br100", "address": IP, "mac_address": A, **more}
    return LeaseEvent(seq=seq, action=action, **fields)


def test_a_line_of_the_hook_is_an_event() -> None:
    assert parse_line(LINE, 7, 1000.0, 2000.0) == reported(
        7, "add", expires_at=1799.0, at=1012.5, hostname="web", client_id="01:02"
    )


def test_it_can_not_have_happened_after_the_file_was_written() -> None:
    read = parse_line(LINE, 7, 1000.0, 1010.0)
    assert read
    assert read.at == 1010.0


def test_stars_and_zero_are_none_and_never() -> None:
    read = parse_line(f"br100 1.0 del {A} 10.0.0.3 0 * * .", 1, 0, 9)
    assert read
    assert (read.expires_at, read.client_id, read.hostname) == (None, "", "")


@pytest.mark.parametrize(
    "line",
    [pytest.param(LINE[:cut], id=str(cut)) for cut in range(len(LINE))],
)
def test_a_torn_line_is_no_event(line: str) -> None:
    assert parse_line(line, 1, 0, 9) is None


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace("add", "arp-add"),
        LINE.replace("10.0.0.3", "fe80::1"),
        LINE.replace("br100", "../x"),
        LINE.replace(A, "06-00:01"),
        LINE.replace("1799", "soon"),
        LINE.replace("1799", "9" * 400),
        LINE.replace("1799", "-1"),
        LINE.replace("1799", "\u0661"),
        LINE.replace("12.50", "nan"),
        LINE.replace("12.50", "1e999"),
        LINE.replace("12.50", "-5"),
        LINE.replace("10.0.0.3", "10.0.0.3.4"),
        LINE.replace("br100", ".br100.new"),
        LINE.replace("br100", "br\x1b[2J"),
        LINE.replace("br100", "b" * 65),
        LINE.replace("br100 ", ""),
        LINE.replace("web", f"w{'e' * 5000}b"),
        f"{LINE} x .",
        f"{LINE}\r",
    ],
)
def test_what_is_no_ipv4_lease_is_no_event(line: str) -> None:
    assert parse_line(line, 1, 0, 9) is None


@pytest.mark.parametrize("odd", ["ü", "w" * 300, "\x1b[2J", "-\u202e", "$(id)"])
def test_no_vm_hides_its_lease_behind_a_name(odd: str) -> None:
    read = parse_line(f"br100 12.50 add {A} 10.0.0.3 1799 {odd} {odd} .", 7, 1000.0, 2000.0)
    assert read == reported(7, "add", expires_at=1799.0, at=1012.5)


def test_our_own_line_reads_back() -> None:
    lease = LiveLease(IP, A, 1799.0, "web", "01:02")
    read = parse_line(event_line("br100", 12.5, "del", lease), 1, 0.0, 99.0)
    assert read == reported(1, "del", expires_at=1799.0, at=12.5, hostname="web", client_id="01:02")


def test_a_late_del_ends_nobody_elses_lease() -> None:
    leases: dict[Address, LiveLease] = {}
    for one in (event(1, "add", A), event(2, "add", B), event(3, "del", A)):
        apply_event(leases, one)
    assert leases[IP].mac == B


def test_a_renewal_moves_the_expiry() -> None:
    leases: dict[Address, LiveLease] = {}
    apply_event(leases, event(1, "add"))
    apply_event(leases, event(9, "old"))
    assert leases[IP].expires_at == 109.0


def test_renewals_of_one_lease_are_said_once() -> None:
    many = [event(n) for n in range(1, 6)]
    assert coalesce(many) == [many[-1]]


def test_a_renewal_before_its_end_is_kept() -> None:
    kept = [event(1, "add"), event(2, "old"), event(3, "del"), event(4, "add", B)]
    assert coalesce(kept) == kept


events = st.lists(
    st.tuples(st.sampled_from(["add", "old", "del"]), st.sampled_from([A, B]), st.integers(3, 4))
)


@given(events)
def test_coalesced_events_come_to_the_same_leases(told: list[tuple[str, str, int]]) -> None:
    whole = [event(n, action, mac, IPv4Address(ip)) for n, (action, mac, ip) in enumerate(told, 1)]
    fewer = coalesce(whole)
    assert [one.seq for one in fewer] == sorted({one.seq for one in fewer})
    assert [one.seq for one in fewer[-1:]] == [one.seq for one in whole[-1:]]
    results = []
    for these in (whole, fewer):
        leases: dict[Address, LiveLease] = {}
        for one in these:
            apply_event(leases, one)
        results.append(leases)
    assert results[0] == results[1]


@given(events, st.data())
def test_events_applied_once_more_change_nothing(
    told: list[tuple[str, str, int]], data: st.DataObject
) -> None:
    whole = [event(n, action, mac, IPv4Address(ip)) for n, (action, mac, ip) in enumerate(told, 1)]
    leases: dict[Address, LiveLease] = {}
    for one in whole:
        apply_event(leases, one)
    once = dict(leases)
    for one in whole[data.draw(st.integers(0, len(whole))) :]:
        apply_event(leases, replace(one))
    assert leases == once
