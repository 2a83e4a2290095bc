"""One cable is one line, whatever the number of hosts that see it."""

from __future__ import annotations

from ipaddress import IPv4Address

from lessor.cli.joined import joined
from lessor.core.diagnosis.daemons import hangs
from lessor.core.diagnosis.icmp import narrow_paths
from lessor.core.diagnosis.tunnels import Peer, Way, sentences

HOSTS = [f"cmp{number}" for number in range(5)]
NOBODY = frozenset[str]()


def end(host: str) -> IPv4Address:
    return IPv4Address(f"203.0.113.{20 + HOSTS.index(host)}")


def sees(host: str, *others: str, way: Way = Way.IN) -> list[str]:
    peers = [Peer(other, end(other), 0.0, pings=False) for other in others]
    return [text for text, _ in sentences(end(host), 4789, len(HOSTS) - 1, {way: peers})]


def narrow(host: str, *others: str) -> list[str]:
    assert host not in others
    return [narrow_paths([(one, end(one)) for one in others], 1500, len(HOSTS) - 1)]


def lines(said: dict[str, list[str]], silent: frozenset[str] = NOBODY) -> list[tuple[str, str]]:
    return [(host, one) for host, many in joined(said, silent).items() for one in many]


def test_a_host_without_its_cable_is_one_line() -> None:
    said = {"cmp0": sees("cmp0", *HOSTS[1:])} | {h: sees(h, "cmp0") for h in HOSTS[1:]}
    assert lines(said) == [("cmp0", said["cmp0"][0])]


def test_a_host_that_can_not_send_is_one_line() -> None:
    said = {"cmp0": sees("cmp0", *HOSTS[1:], way=Way.OUT)} | {h: sees(h, "cmp0") for h in HOSTS[1:]}
    assert lines(said) == [("cmp0", said["cmp0"][0])]


def test_a_pair_is_one_line() -> None:
    said = {"cmp1": sees("cmp1", "cmp2"), "cmp2": sees("cmp2", "cmp1")}
    assert lines(said) == [("cmp1", said["cmp1"][0])]
    one_way = {"cmp1": sees("cmp1", "cmp2"), "cmp2": sees("cmp2", "cmp1", way=Way.OUT)}
    assert lines(one_way) == [("cmp1", one_way["cmp1"][0])]


def test_a_silent_host_or_one_without_open_vswitch_explains_what_others_see() -> None:
    said = {h: sees(h, "cmp0") for h in HOSTS[1:]}
    assert len(lines(said)) == len(HOSTS) - 1
    assert lines(said, frozenset({"cmp0"})) == []
    hanging = hangs("ovs-vswitchd", 7, "T")
    assert lines(said | {"cmp0": [hanging]}) == [("cmp0", hanging)]


def test_what_is_not_explained_stays() -> None:
    said = {"cmp0": sees("cmp0", *HOSTS[1:]), "cmp1": sees("cmp1", "cmp0", "cmp3")}
    assert len(lines(said)) == 2
    many = [Peer(f"far{n}", IPv4Address(n), 0.0) for n in range(9)]
    crowd = [text for text, _ in sentences(end("cmp1"), 4789, 99, {Way.IN: many})]
    silent = frozenset(f"far{n}" for n in range(5))
    assert lines({"cmp1": crowd}, silent) == [("cmp1", crowd[0])]


def test_a_narrow_cable_is_one_line_and_a_silent_host_does_not_explain_it() -> None:
    said = {"cmp0": narrow("cmp0", *HOSTS[1:])} | {h: narrow(h, "cmp0") for h in HOSTS[1:]}
    assert lines(said) == [("cmp0", said["cmp0"][0])]
    pair = {"cmp1": narrow("cmp1", "cmp2"), "cmp2": narrow("cmp2", "cmp1")}
    assert lines(pair, frozenset({"cmp2"})) == [("cmp1", pair["cmp1"][0])]


def test_other_lines_stay_as_they_are() -> None:
    said = {"cmp0": ["the disk is full", "no packet of anything"]}
    assert joined(said, frozenset({"cmp0"})) == said
