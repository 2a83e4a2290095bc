import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from lessor.agent.drivers.flows import FlowDriver
from lessor.agent.drivers.ovs_ports import OvsPortDriver
from lessor.agent.host.ovs import Ovsdb, rundir
from lessor.agent.host.run import run
from lessor.core.diff import Changes, as_read, diff
from lessor.core.openflow.flow_bundle import COOKIE
from lessor.core.state import Flows
from lessor.errors import CommandError, Pending
from tests.agent.drivers.ovs_daemons import Ovs

pytestmark = pytest.mark.lab

Shell = Callable[[str], str]
LEARN = (
    "table=10,priority=1,actions=learn(table=20,hard_timeout=300,priority=1,cookie=0x4c0b,"
    "NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],"
    "load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],output:NXM_OF_IN_PORT[]),output:tap1"
)
FROM_TAP = "table=0,priority=1,in_port=tap1,actions=resubmit(,2)"
VNI = "table=4,priority=1,tun_id=0x3e9,actions=mod_vlan_vid:5,resubmit(,10)"
FLOOD = (
    "table=22,priority=1,dl_vlan=5,actions=strip_vlan,set_tunnel:0x3e9,output:vxlan-0a,output:tap1"
)
CANARY = "table=23,priority=0,actions=drop"
LINES = tuple(sorted((LEARN, FROM_TAP, VNI, FLOOD, CANARY)))
FLOWS = Flows("br-int", LINES)
LEARNED = "cookie=0x4c0b,table=20,priority=1,dl_dst=fa:16:3e:00:00:09,actions=output:tap1"
THEIRS = "cookie=0x7,table=30,priority=9,in_port=tap1,actions=drop"


@pytest.fixture
def bridge(ovs: Ovs, sh: Shell) -> None:
    sh("ip link add tap1 type veth peer name vm1")
    ovs("ovs-vsctl", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev",
        "fail_mode=secure", "protocols=OpenFlow10,OpenFlow14")  # fmt: skip
    ovs("ovs-vsctl", "add-port", "br-int", "tap1")
    add_tunnel(ovs)


def add_tunnel(ovs: Ovs) -> None:
    ovs("ovs-vsctl", "add-port", "br-int", "vxlan-0a", "--", "set", "Interface", "vxlan-0a",
        "type=vxlan", "options:remote_ip=10.0.0.10", "options:key=flow")  # fmt: skip


@pytest.fixture
def make(ovs: Ovs, bridge: None, tmp_path: Path) -> Callable[[], FlowDriver]:
    """Makes the driver of an agent that has just started."""
    record, sockets = tmp_path / "flows.json", rundir(ovs.connection)
    return lambda: FlowDriver(run, record, sockets, ("br-int", "br-tun"))


def bring(driver: FlowDriver, *wanted: Flows) -> Changes[Flows]:
    changes = diff({one.bridge: one for one in wanted}, driver.observe())
    driver.apply(changes)
    return changes


def dump(ovs: Ovs, *match: str) -> list[str]:
    printed = ovs("ovs-ofctl", "-O", "OpenFlow14", "--no-stats", "dump-flows", "br-int", *match)
    return sorted(line for line in printed.splitlines() if "cookie=" in line)


def add(ovs: Ovs, *flows: str) -> None:
    for flow in flows:
        ovs("ovs-ofctl", "-O", "OpenFlow14", "add-flow", "br-int", flow)


def test_flows_are_applied_once(ovs: Ovs, make: Callable[[], FlowDriver]) -> None:
    driver = make()
    assert bring(driver, FLOWS).create == (FLOWS,)
    assert not bring(driver, FLOWS)
    assert not bring(make(), FLOWS)
    assert len(dump(ovs, f"cookie={COOKIE}/-1")) == len(LINES)


def test_others_flows_and_learned_ones_stay(ovs: Ovs, make: Callable[[], FlowDriver]) -> None:
    driver = make()
    bring(driver, FLOWS)
    add(ovs, LEARNED, THEIRS)
    assert not bring(driver, FLOWS)
    bring(driver, Flows("br-int", (LEARN, FROM_TAP, VNI)))
    assert len(dump(ovs, "cookie=0x4c0b/-1")) == len(dump(ovs, "cookie=0x7/-1")) == 1
    bring(driver)
    assert not bring(driver)
    assert len(dump(ovs)) == len(dump(ovs, "cookie=0x7/-1") + dump(ovs, "cookie=0x4c0b/-1"))


def test_what_was_learned_for_a_network_goes_with_it(
    ovs: Ovs, make: Callable[[], FlowDriver]
) -> None:
    driver = make()
    bring(driver, FLOWS)
    add(ovs, LEARNED)
    bring(driver, Flows("br-int", (LEARN, FROM_TAP)))
    assert not dump(ovs, "cookie=0x4c0b/-1")


def test_counters_of_flows_that_stay_are_kept(ovs: Ovs, make: Callable[[], FlowDriver]) -> None:
    driver = make()
    bring(driver, FLOWS)
    ovs("ovs-ofctl", "-O", "OpenFlow14", "packet-out", "br-int",
        "in_port=tap1 packet=ffffffffffff0200000000010806 actions=table")  # fmt: skip

    def counted() -> bool:
        seen = ovs("ovs-ofctl", "-O", "OpenFlow14", "dump-flows", "br-int", "table=0")
        return "n_packets=1," in seen

    ovs.wait(counted)
    bring(driver, Flows("br-int", (FROM_TAP, CANARY)))
    assert counted()
    assert len(dump(ovs)) == 2


def test_what_is_done_by_hand_is_put_back(ovs: Ovs, make: Callable[[], FlowDriver]) -> None:
    driver = make()
    bring(driver, FLOWS)
    ofctl = ("ovs-ofctl", "-O", "OpenFlow14")
    for drift in (
        ("del-flows", "br-int", "table=4"),
        ("del-flows", "br-int"),
        ("add-flow", "br-int", f"cookie={COOKIE},table=60,actions=NORMAL"),
        ("mod-flows", "br-int", "table=4,actions=drop"),
    ):
        ovs(*ofctl, *drift)
        assert bring(driver, FLOWS), drift
        assert not bring(driver, FLOWS), drift
        assert len(dump(ovs)) == len(LINES)


def test_after_a_restart_of_the_switch_they_are_back(
    ovs: Ovs, make: Callable[[], FlowDriver]
) -> None:
    driver = make()
    bring(driver, FLOWS)
    ovs.kill("ovs-vswitchd")
    assert driver.observe() == {}
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver, FLOWS)
    assert caught.group_contains(CommandError)
    ovs.start_switch()
    ovs("ovs-vsctl", "set", "Open_vSwitch", ".", "external_ids:x=1")  # waits for it
    assert not dump(ovs)
    assert bring(driver, FLOWS)
    assert not bring(driver, FLOWS)


@pytest.mark.parametrize("believed", [True, False], ids=["believed", "compared"])
@pytest.mark.parametrize("moment", ["before the change", "after the change"])
def test_a_switch_that_is_new_in_the_middle_of_a_change_gets_all(
    ovs: Ovs, bridge: None, tmp_path: Path, moment: str, believed: bool
) -> None:
    """It has none of the flows that the change says nothing of."""
    dies = False

    def dying(*argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        nonlocal dies
        bundle, dies = dies and "--bundle" in argv, dies and "--bundle" not in argv
        if bundle and moment == "before the change":
            renew(ovs)
        printed = run(*argv, stdin=stdin, timeout_s=timeout_s)
        if bundle and moment == "after the change":
            ovs.kill("ovs-vswitchd")
        return printed

    def numbers() -> dict[str, dict[str, int]]:
        return {"br-int": {"tap1": 1, "vxlan-0a": 2}}

    sockets = rundir(ovs.connection)
    driver = FlowDriver(
        dying, tmp_path / "flows.json", sockets, ("br-int",), numbers=numbers if believed else None
    )
    bring(driver, Flows("br-int", LINES[1:]))
    dies = True
    with suppress(ExceptionGroup):
        bring(driver, FLOWS)
    if moment == "after the change":
        renew(ovs)
    driver.verify()
    bring(driver, Flows("br-int", LINES[:-1]))
    assert len(dump(ovs)) == len(LINES) - 1
    assert not bring(driver, Flows("br-int", LINES[:-1]))


def renew(ovs: Ovs) -> None:
    with suppress(KeyError):
        ovs.kill("ovs-vswitchd")
    ovs.start_switch()
    ovs(
        "ovs-vsctl", "set", "Open_vSwitch", ".", f"external_ids:x={time.monotonic()}"
    )  # waits for it


def test_a_port_that_was_made_anew_has_its_flows(ovs: Ovs, make: Callable[[], FlowDriver]) -> None:
    driver = make()
    bring(driver, FLOWS)
    former = ovs("ovs-vsctl", "get", "Interface", "vxlan-0a", "ofport")
    ovs("ovs-vsctl", "del-port", "vxlan-0a")
    add_tunnel(ovs)
    ovs("ovs-vsctl", "set", "Interface", "vxlan-0a", "ofport_request=77")
    assert ovs("ovs-vsctl", "get", "Interface", "vxlan-0a", "ofport") != former
    assert bring(driver, FLOWS)
    assert not bring(driver, FLOWS)
    assert "output:77" in "".join(dump(ovs, "table=22"))


@pytest.mark.parametrize("flow", ["in_port=tap9,actions=drop", "actions=output:tap9,output:tap1"])
def test_a_port_that_goes_in_the_middle_of_a_change_spoils_nobody_elses_flows(
    ovs: Ovs, bridge: None, tmp_path: Path, flow: str
) -> None:
    """The database still has its number; the switch has it no more."""
    numbers = {"br-int": {"tap1": 1, "vxlan-0a": 2, "tap9": 9}}
    record, sockets = tmp_path / "flows.json", rundir(ovs.connection)
    driver = FlowDriver(run, record, sockets, ("br-int",), numbers=lambda: numbers)
    bring(driver, Flows("br-int", LINES[1:]))
    lines = (*LINES, f"table=61,priority=3,{flow}")
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver, Flows("br-int", lines))
    (failure,) = caught.value.exceptions
    assert isinstance(failure, Pending)
    assert failure.key == "tap9"
    assert len(dump(ovs)) == len(LINES) + ("output:tap1" in flow)
    del numbers["br-int"]["tap9"]
    with pytest.raises(ExceptionGroup):
        bring(driver, Flows("br-int", lines))
    assert not bring(driver, Flows("br-int", as_read(driver.observe()["br-int"]).lines))


def test_flows_for_a_port_that_is_not_there_wait_and_hold_up_no_other(
    ovs: Ovs, make: Callable[[], FlowDriver]
) -> None:
    driver = make()
    ovs("ovs-vsctl", "del-port", "vxlan-0a")
    from_tunnel = "table=0,priority=1,in_port=vxlan-0a,actions=resubmit(,4)"
    wanted = Flows("br-int", tuple(sorted((*LINES, from_tunnel))))
    for _ in range(2):  # it stays so
        with pytest.raises(ExceptionGroup) as caught:
            bring(driver, wanted)
        (pending,) = caught.value.exceptions
        assert isinstance(pending, Pending)
        assert str(pending) == "2 flows of br-int wait for port vxlan-0a, which is not there"
        assert len(dump(ovs)) == len(LINES)
    add_tunnel(ovs)
    assert bring(driver, wanted)
    assert not bring(driver, wanted)


def test_a_port_goes_by_the_name_it_was_given(ovs: Ovs, bridge: None, tmp_path: Path) -> None:
    lines = tuple(sorted(line.replace("tap1", "tap-wanted") for line in LINES))
    names = {"tap-wanted": "tap1"}
    driver = FlowDriver(
        run, tmp_path / "flows.json", rundir(ovs.connection), ("br-int",), names=lambda: names
    )
    assert bring(driver, Flows("br-int", lines))
    assert not bring(driver, Flows("br-int", lines))


def test_what_was_compared_is_believed_until_it_is_verified_or_a_port_has_another_number(
    ovs: Ovs, bridge: None, db: Ovsdb, tmp_path: Path
) -> None:
    asked: list[str] = []

    def counting(*argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        asked.append(argv[-1] if stdin is None else "bundle")
        return run(*argv, stdin=stdin, timeout_s=timeout_s)

    ports = OvsPortDriver(db, run)
    sockets = rundir(ovs.connection)
    driver = FlowDriver(
        counting, tmp_path / "flows.json", sockets, ("br-int",), numbers=ports.numbers
    )
    assert bring(driver, FLOWS)
    asked.clear()
    assert not bring(driver, FLOWS)
    assert asked == []
    less = Flows("br-int", LINES[1:])
    assert bring(driver, less)
    assert len(asked) == 2, "the change, and what is there then"
    ovs("ovs-ofctl", "-O", "OpenFlow14", "del-flows", "br-int", "table=4")
    assert not bring(driver, less)
    driver.verify()
    assert bring(driver, less)
    ovs("ovs-vsctl", "set", "Interface", "vxlan-0a", "ofport_request=78")
    ovs.wait(lambda: ports.numbers()["br-int"].get("vxlan-0a") == 78)
    assert bring(driver, less)
    assert "output:78" in "".join(dump(ovs, "table=22"))


def test_a_lost_record_costs_one_more_apply(
    ovs: Ovs, make: Callable[[], FlowDriver], tmp_path: Path
) -> None:
    bring(make(), FLOWS)
    for text in (None, "{", '{"br-int": 7}'):
        (tmp_path / "flows.json").unlink() if text is None else (
            tmp_path / "flows.json"
        ).write_text(text)
        driver = make()
        assert bring(driver, FLOWS)
        assert not bring(driver, FLOWS)


@pytest.mark.parametrize("after", [True, False], ids=["done", "not-done"])
def test_killed_at_each_step_the_next_agent_goes_on(
    ovs: Ovs, make: Callable[[], FlowDriver], tmp_path: Path, after: bool
) -> None:
    less = Flows("br-int", LINES[1:])
    wanted = (FLOWS, less, FLOWS, None)
    calls = 0
    for goal in wanted:
        flows = (goal,) if goal else ()
        for at in range(1, 9):
            left = at

            def dying(*argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
                nonlocal left
                left -= 1
                if left or after:
                    printed = run(*argv, stdin=stdin, timeout_s=timeout_s)
                if not left:
                    raise KeyboardInterrupt
                return printed

            sockets = rundir(ovs.connection)
            driver = FlowDriver(dying, tmp_path / "flows.json", sockets, ("br-int",))
            try:
                bring(driver, *flows)
            except KeyboardInterrupt:
                calls += 1
                continue
            break
        bring(make(), *flows)
        assert not bring(make(), *flows)
        assert len(dump(ovs)) == (len(goal.lines) if goal else 0)
    assert calls > len(wanted)


def test_a_thousand_flows_go_in_one_bundle_and_a_change_of_two_in_a_small_one(
    ovs: Ovs, bridge: None, tmp_path: Path
) -> None:
    bundles: list[int] = []

    def counting(*argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        if "--bundle" in argv and stdin is not None:
            bundles.append(len(stdin.splitlines()))
        return run(*argv, stdin=stdin, timeout_s=timeout_s)

    def unicast(numbers: Iterable[int]) -> tuple[str, ...]:
        return tuple(
            f"table=20,priority=2,dl_vlan=5,dl_dst=fa:16:3e:00:{n >> 8:02x}:{n & 255:02x},"
            "actions=strip_vlan,set_tunnel:0x3e9,output:vxlan-0a"
            for n in numbers
        )

    driver = FlowDriver(counting, tmp_path / "flows.json", rundir(ovs.connection), ("br-int",))
    bring(driver, Flows("br-int", unicast(range(1000))))
    assert len(dump(ovs)) == 1000
    bring(driver, Flows("br-int", unicast(range(1, 1001))))
    assert len(dump(ovs)) == 1000
    assert bundles[0] > 1000
    assert bundles[1] < 5, "one flow went, one came"
    assert len(bundles) == 2
