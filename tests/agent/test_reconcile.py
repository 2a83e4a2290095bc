from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Address, IPv4Network

import pytest

from lessor.agent.kinds import KINDS, Done, kinds
from lessor.agent.reconcile import Reconciler
from lessor.core.diff import Changes, Unsound
from lessor.core.state import (
    Bridge,
    DhcpRange,
    DhcpServer,
    HostState,
    Namespace,
    OvsBridge,
    Sysctl,
    Tap,
)
from lessor.errors import CommandError, LessorError, Pending

ON = Sysctl("net.ipv4.ip_forward", "1")
BR = Bridge("br100", None)
TAP = Tap("tapa", "a", "br100", 1500, managed=False)


@dataclass
class Things:
    """A driver over a dict, with a log of what was done and errors to raise."""

    name: str
    log: list[str]
    there: dict[str, object] = field(default_factory=dict)
    fails: dict[str, LessorError] = field(default_factory=dict)
    looks: int = 0

    def observe(self) -> Mapping[str, object]:
        self.looks += 1
        return dict(self.there)

    def apply(self, changes: Changes[object]) -> None:
        failures: list[Exception] = []
        for value in (*changes.create, *changes.replace):
            key = value.name  # type: ignore[attr-defined]
            if key in self.fails:
                failures.append(self.fails[key])
            else:
                self.there[key] = value
                self.log.append(f"{self.name} + {key}")
        for value in changes.delete:
            del self.there[value.name]  # type: ignore[attr-defined]
            self.log.append(f"{self.name} - {value.name}")  # type: ignore[attr-defined]
        if failures:
            raise ExceptionGroup(f"{len(failures)} failed", failures)


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def bridges(log: list[str]) -> Things:
    return Things("bridge", log)


@pytest.fixture
def taps(log: list[str]) -> Things:
    return Things("tap", log)


@pytest.fixture
def host(bridges: Things, taps: Things) -> Reconciler:
    return Reconciler(kinds({"taps": taps, "bridges": bridges}))


BOTH = HostState(bridges={BR.name: BR}, taps={TAP.name: TAP})


def test_kinds_are_made_in_order_and_deleted_against_it(host: Reconciler, log: list[str]) -> None:
    host.apply(BOTH)
    host.apply(HostState())
    assert log == [
        "bridge + br100",
        "tap + tapa",
        "tap - tapa",
        "bridge - br100",
    ]


def test_a_second_pass_looks_at_nothing_that_settled(host: Reconciler, taps: Things) -> None:
    host.apply(BOTH)
    looks = taps.looks
    assert not host.apply(BOTH).done
    assert taps.looks == looks


def test_what_was_removed_by_hand_comes_back_once_suspected(host: Reconciler, taps: Things) -> None:
    host.apply(BOTH)
    taps.there.clear()
    host.suspect()
    host.apply(BOTH)
    assert taps.there == {TAP.name: TAP}


def test_a_failure_holds_up_no_other_kind_and_is_tried_again(
    host: Reconciler, bridges: Things, taps: Things
) -> None:
    bridges.fails[BR.name] = CommandError("no")
    outcome = host.apply(BOTH)
    assert [(p.kind, p.message, p.pending) for p in outcome.problems] == [("bridges", "no", False)]
    assert TAP.name in taps.there
    bridges.fails.clear()
    assert not host.apply(BOTH).problems
    assert bridges.there == {BR.name: BR}


def test_what_waits_is_pending_and_named(host: Reconciler, taps: Things) -> None:
    taps.fails[TAP.name] = Pending("not made yet", key=TAP.name, retry_s=2)
    problem = host.apply(BOTH).problems[0]
    assert (problem.key, problem.pending, problem.retry_s) == ("tapa", True, 2)
    assert host.actual("taps") == {}


def test_a_kind_that_keeps_what_it_finds_deletes_nothing(log: list[str]) -> None:
    sysctls = Things("sysctl", log, there={ON.name: ON})
    host = Reconciler(kinds({"sysctls": sysctls}))
    assert not host.apply(HostState()).done
    assert sysctls.there


def test_a_plan_changes_nothing(host: Reconciler, log: list[str]) -> None:
    plan = host.plan(BOTH)
    assert (plan["taps"].create, log) == ((TAP,), [])


def test_what_somebody_else_took_away_is_put_back_and_told_apart_from_what_is_new(
    log: list[str],
) -> None:
    things = Things("namespaces", log)
    reconciler = Reconciler(kinds({"namespaces": things}))
    first, second = Namespace("qdhcp-1"), Namespace("qdhcp-2")
    one, both = (HostState(namespaces={n.name: n for n in many}) for many in ((first,), (first, second)))  # fmt: skip
    assert not reconciler.apply(one).put_back
    assert not reconciler.apply(both).put_back
    del things.there[first.name]
    reconciler.suspect()
    outcome = reconciler.apply(both)
    assert outcome.put_back == {"namespaces": [first.name]}
    reconciler.suspect()
    assert not reconciler.apply(both).put_back


def test_kinds_are_declared_in_the_order_of_the_host_state() -> None:
    assert list(KINDS) == [one.name for one in fields(HostState)]


def test_an_event_has_the_kinds_looked_at_that_it_wakes(log: list[str]) -> None:
    things = {name: Things(name, log) for name in KINDS}
    host = Reconciler(kinds(things))
    host.apply(HostState())
    for one in things.values():
        one.looks = 0
    host.suspect({"ovs"})
    host.apply(HostState())
    assert {name for name, one in things.items() if one.looks} == {
        "ovs_bridges",
        "ovs_ports",
        "flows",
    }


def test_drivers_that_believe_something_are_told_to_verify_it(log: list[str], taps: Things) -> None:
    class Believing(Things):
        def verify(self) -> None:
            log.append("verify")

    Reconciler(kinds({"rulesets": Believing("rules", log), "taps": taps})).verify()
    assert log == ["verify"]


def test_what_comes_late_was_not_taken_away(log: list[str]) -> None:
    things = Things("namespaces", log)
    reconciler = Reconciler(kinds({"namespaces": things}))
    wanted = HostState(namespaces={"qdhcp-1": Namespace("qdhcp-1")})
    things.fails["qdhcp-1"] = Pending("it waits", key="qdhcp-1")
    reconciler.apply(wanted)
    things.fails.clear()
    assert not reconciler.apply(wanted).put_back


def test_a_kind_that_can_not_be_looked_at_is_named_and_holds_up_no_other(
    log: list[str], taps: Things
) -> None:
    why, switches = ["ovs-vswitchd hangs"], Things("switch", log)
    drivers = {"ovs_bridges": switches, "taps": taps}
    host = Reconciler(kinds(drivers, obstacles=lambda: why, place="br-int"))
    switch = OvsBridge("br-tun", "system")
    wanted = HostState(ovs_bridges={switch.name: switch}, taps={TAP.name: TAP})
    outcome = host.apply(wanted)
    assert [(p.kind, p.key, p.message) for p in outcome.problems] == [
        ("ovs_bridges", "br-int", "ovs-vswitchd hangs")
    ]
    assert (switches.looks, taps.there) == (0, {TAP.name: TAP})
    why.clear()
    assert not host.apply(wanted).problems
    assert switches.there == {switch.name: switch}
    why.append("it hangs again")  # said, though nothing of the kind is in doubt
    assert [p.message for p in host.apply(wanted).problems] == why
    assert not host.apply(HostState()).problems  # nothing of it is wanted


def tap(name: str, *, managed: bool = True) -> Tap:
    return Tap(name, name, "br100", 1500, managed=managed)


def state(*taps: Tap, **others: object) -> HostState:
    return HostState(taps={one.name: one for one in taps}, **others)  # type: ignore[arg-type]


def test_only_what_is_there_afterwards_was_done(host: Reconciler, taps: Things) -> None:
    wanted = state(tap("a"), tap("b"), tap("c"))
    taps.there = {"b": TAP, "old": tap("old")}
    taps.fails = {"a": CommandError("no"), "b": CommandError("no")}
    assert host.apply(wanted).done == {"taps": Done(created=("c",), deleted=("old",))}
    assert host.apply(wanted).done == {}
    taps.fails.clear()
    assert host.apply(wanted).done == {"taps": Done(created=("a",), replaced=("b",))}


def test_drift_beside_a_thing_that_waits_is_repaired_and_named(
    host: Reconciler, taps: Things
) -> None:
    """A host has ports without VMs at any time."""
    taps.fails["vm"] = Pending("not made yet", key="vm")
    wanted = state(tap("a"), tap("b"), tap("vm", managed=False))
    host.apply(wanted)
    del taps.there["a"]
    taps.there["b"] = TAP
    outcome = host.apply(wanted)
    assert outcome.put_back == {"taps": ["a", "b"]}


def test_a_broken_object_is_repaired_and_what_was_wrong_is_known(
    host: Reconciler, taps: Things
) -> None:
    wanted = state(tap("a"))
    host.apply(wanted)
    taps.there["a"] = Unsound(tap("a"), "the host takes part in IPv6 on a")
    host.suspect()
    assert host.plan(wanted)["taps"].replace == (tap("a"),)
    assert host.faults("taps") == ["the host takes part in IPv6 on a"]
    outcome = host.apply(wanted)
    assert outcome.put_back == {"taps": ["a"]}
    assert outcome.faults("taps", ["a"]) == ["the host takes part in IPv6 on a"]
    assert taps.there["a"] == tap("a")


def test_a_tap_that_its_vm_took_along_and_brought_back_was_not_put_back(
    host: Reconciler, taps: Things
) -> None:
    wanted = state(tap("vm", managed=False))
    host.apply(wanted)
    taps.there.clear()
    host.suspect()
    assert host.apply(wanted).put_back == {}


def test_what_follows_from_a_change_that_was_wanted_was_not_put_back(
    host: Reconciler, bridges: Things, taps: Things
) -> None:
    first = Bridge("br100", None, mtu=1500)
    host.apply(state(tap("a"), bridges={"br100": first}))
    host.suspect()
    taps.there.clear()
    assert (
        host.apply(state(tap("a"), bridges={"br100": Bridge("br100", None, mtu=1400)})).put_back
        == {}
    )
    host.suspect()
    taps.there.clear()
    bridges.there.clear()  # somebody deleted the bridge, and with it what was on it
    outcome = host.apply(state(tap("a"), bridges={"br100": Bridge("br100", None, mtu=1400)}))
    assert outcome.put_back == {"bridges": ["br100"], "taps": ["a"]}


def server(**loaded: object) -> DhcpServer:
    first = IPv4Address("10.0.0.1")
    block = DhcpRange("s", "n", IPv4Network("10.0.0.0/24"), first, first, None, 1500, (), (), "")
    known: dict[str, object] = {"name": "br100", "interface": "br100", "ranges": (block,)}
    known["reservations"] = {}
    return DhcpServer(**known | loaded)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "repaired"),
    [
        pytest.param({}, True, id="its files are gone"),
        pytest.param({"br100": Unsound(server(ranges=()), "it is dead")}, True, id="dead"),
        pytest.param({"br100": Unsound(server(), "it lacks leases")}, False, id="lacks leases"),
    ],
)
def test_a_dhcp_server_is_put_back_unless_it_only_learns(
    log: list[str], found: dict[str, object], *, repaired: bool
) -> None:
    servers = Things("dhcp", log)
    host = Reconciler(kinds({"dhcp_servers": servers}))
    wanted = HostState(dhcp_servers={"br100": server()})
    host.apply(wanted)
    servers.there = found
    host.suspect()
    outcome = host.apply(wanted)
    assert outcome.done["dhcp_servers"].names == ("br100",)
    assert bool(outcome.put_back) is repaired
