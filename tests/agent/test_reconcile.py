from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

import pytest

from lessor.agent.outcome import Done
from lessor.agent.reconcile import Kind, Reconciler
from lessor.core.diff import Changes
from lessor.core.state import Bridge, DhcpRange, DhcpServer, HostState, Namespace, Sysctl, Tap
from lessor.errors import CommandError, LessorError, Pending

ON = Sysctl("net.ipv4.ip_forward", "1")
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
def sysctls(log: list[str]) -> Things:
    return Things("sysctl", log)


@pytest.fixture
def taps(log: list[str]) -> Things:
    return Things("tap", log)


@pytest.fixture
def host(sysctls: Things, taps: Things) -> Reconciler:
    return Reconciler([Kind("sysctls", sysctls), Kind("taps", taps)])


BOTH = HostState(sysctls={ON.name: ON}, taps={TAP.name: TAP})


def test_kinds_are_made_in_order_and_deleted_against_it(host: Reconciler, log: list[str]) -> None:
    host.apply(BOTH)
    host.apply(HostState())
    assert log == [
        "sysctl + net.ipv4.ip_forward",
        "tap + tapa",
        "tap - tapa",
        "sysctl - net.ipv4.ip_forward",
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
    host: Reconciler, sysctls: Things, taps: Things
) -> None:
    sysctls.fails[ON.name] = CommandError("no")
    outcome = host.apply(BOTH)
    assert [(p.kind, p.message, p.pending) for p in outcome.problems] == [("sysctls", "no", False)]
    assert TAP.name in taps.there
    sysctls.fails.clear()
    assert not host.apply(BOTH).problems
    assert sysctls.there == {ON.name: ON}


def test_what_waits_is_pending_and_named(host: Reconciler, taps: Things) -> None:
    taps.fails[TAP.name] = Pending("not made yet", key=TAP.name, retry_s=2)
    problem = host.apply(BOTH).problems[0]
    assert (problem.key, problem.pending, problem.retry_s) == ("tapa", True, 2)
    assert host.actual("taps") == {}


def test_a_kind_that_keeps_what_it_finds_deletes_nothing(log: list[str]) -> None:
    sysctls = Things("sysctl", log, there={ON.name: ON})
    host = Reconciler([Kind("sysctls", sysctls, deletes=False)])
    assert not host.apply(HostState()).done
    assert sysctls.there


def test_a_plan_changes_nothing(host: Reconciler, log: list[str]) -> None:
    plan = host.plan(BOTH)
    assert (plan["taps"].create, log) == ((TAP,), [])


def test_what_somebody_else_took_away_is_put_back_and_told_apart_from_what_is_new(
    log: list[str],
) -> None:
    things = Things("namespaces", log)
    reconciler = Reconciler([Kind("namespaces", things)])
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


def test_what_comes_late_was_not_taken_away(log: list[str]) -> None:
    things = Things("namespaces", log)
    reconciler = Reconciler([Kind("namespaces", things)])
    wanted = HostState(namespaces={"qdhcp-1": Namespace("qdhcp-1")})
    things.fails["qdhcp-1"] = Pending("it waits", key="qdhcp-1")
    reconciler.apply(wanted)
    things.fails.clear()
    assert not reconciler.apply(wanted).put_back


def test_a_kind_that_can_not_be_looked_at_is_named_and_holds_up_no_other(
    sysctls: Things, taps: Things
) -> None:
    why = ["ovs-vswitchd hangs"]
    host = Reconciler(
        [Kind("sysctls", sysctls, obstacles=lambda: why, place="br-int"), Kind("taps", taps)]
    )
    outcome = host.apply(BOTH)
    assert [(p.kind, p.key, p.message) for p in outcome.problems] == [
        ("sysctls", "br-int", "ovs-vswitchd hangs")
    ]
    assert (sysctls.looks, taps.there) == (0, {TAP.name: TAP})
    why.clear()
    assert not host.apply(BOTH).problems
    assert sysctls.there == {ON.name: ON}
    why.append("it hangs again")  # said, though nothing of the kind is in doubt
    assert [p.message for p in host.apply(BOTH).problems] == why
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


def test_a_tap_that_its_vm_took_along_and_brought_back_was_not_put_back(
    host: Reconciler, taps: Things
) -> None:
    wanted = state(tap("vm", managed=False))
    host.apply(wanted)
    taps.there.clear()
    host.suspect()
    assert host.apply(wanted).put_back == {}


def test_what_follows_from_a_change_that_was_wanted_was_not_put_back(log: list[str]) -> None:
    bridges, taps = Things("bridge", log), Things("tap", log)
    host = Reconciler([Kind("bridges", bridges), Kind("taps", taps)])
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
        pytest.param({"br100": server(interface="", ranges=())}, True, id="dead"),
        pytest.param({"br100": server(interface="")}, False, id="lacks leases of others"),
    ],
)
def test_a_dhcp_server_is_put_back_unless_it_only_learns(
    log: list[str], found: dict[str, object], *, repaired: bool
) -> None:
    servers = Things("dhcp", log)
    host = Reconciler([Kind("dhcp_servers", servers)])
    wanted = HostState(dhcp_servers={"br100": server()})
    host.apply(wanted)
    servers.there = found
    host.suspect()
    outcome = host.apply(wanted)
    assert outcome.done["dhcp_servers"].names == ("br100",)
    assert bool(outcome.put_back) is repaired
