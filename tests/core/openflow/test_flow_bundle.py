import pytest

from lessor.core.openflow.flow_bundle import (
    COOKIE,
    changes,
    metered,
    renamed,
    replacement,
    resolvable,
)

LEARN = (
    "table=10,priority=1,actions=learn(table=20,hard_timeout=300,priority=1,cookie=0x4c0b,"
    "NXM_OF_VLAN_TCI[0..11],output:NXM_OF_IN_PORT[]),output:patch-int"
)
FLOOD = "table=22,priority=1,dl_vlan=5,actions=strip_vlan,set_tunnel:0x3e9,output:vx-a,output:vx-b"
FROM = "table=0,priority=1,in_port=vx-a,actions=resubmit(,4)"
VNI = "table=4,priority=1,tun_id=0x3e9,actions=mod_vlan_vid:5,resubmit(,10)"
CANARY = "table=23,priority=0,actions=drop"


def test_lines_whose_ports_are_all_there_stay_as_they_are() -> None:
    lines = (LEARN, FLOOD, FROM, VNI, CANARY)
    assert resolvable(lines, {"vx-a", "vx-b", "patch-int"}) == (lines, {})


@pytest.mark.parametrize(
    ("line", "present", "kept"),
    [
        pytest.param(FROM, set(), (), id="nothing comes from a missing port"),
        pytest.param(FLOOD, {"vx-b"}, (FLOOD.replace("output:vx-a,", ""),), id="first"),
        pytest.param(FLOOD, {"vx-a"}, (FLOOD.replace(",output:vx-b", ""),), id="last"),
        pytest.param(LEARN, set(), (LEARN.replace(",output:patch-int", ""),), id="learns on"),
        pytest.param(
            "table=60,priority=100,udp,actions=output:otap1",
            set(),
            ("table=60,priority=100,udp,actions=drop",),
            id="no other flow gets what this one kept",
        ),
        pytest.param(
            'table=0,in_port="vx-a",actions=output:"vx-b",in_port',
            {"vx-a"},
            ('table=0,in_port="vx-a",actions=in_port',),
            id="quoted",
        ),
    ],
)
def test_what_stays_without_a_port(line: str, present: set[str], kept: tuple[str, ...]) -> None:
    lines, missing = resolvable([line], present)
    assert lines == kept
    assert missing


@pytest.mark.parametrize("port", ["LOCAL", "in_port", "7", "NORMAL", "CONTROLLER"])
def test_reserved_and_numbered_ports_are_never_missing(port: str) -> None:
    lines = (f"table=0,actions=output:{port}",)
    assert resolvable(lines, ()) == (lines, {})


def test_each_missing_port_is_told_with_the_number_of_its_lines() -> None:
    assert resolvable([FROM, FLOOD], ()) == (
        (FLOOD.partition(",output")[0],),
        {"vx-a": 2, "vx-b": 1},
    )


def test_ports_are_renamed_whole() -> None:
    lines = renamed([FROM, FLOOD], {"vx-a": "vnet7", "vx": "no"})
    assert lines == (FROM.replace("vx-a", "vnet7"), FLOOD.replace("vx-a", "vnet7"))


def test_a_replacement_takes_ours_and_what_was_learned_and_no_other() -> None:
    assert replacement([LEARN, CANARY]).splitlines() == [
        f"delete cookie={COOKIE}/-1",
        "delete cookie=0x4c0b/-1",
        f"add cookie={COOKIE},{LEARN}",
        f"add cookie={COOKIE},{CANARY}",
    ]


def test_a_change_names_only_what_differs() -> None:
    other = FLOOD.replace(",output:vx-b", "")
    assert changes([CANARY, FLOOD, FROM], [CANARY, other, LEARN]).splitlines() == [
        f"delete_strict cookie={COOKIE}/-1,table=0,priority=1,in_port=vx-a",
        f"add cookie={COOKIE},{other}",
        f"add cookie={COOKIE},{LEARN}",
    ]


def test_no_change_is_no_bundle() -> None:
    assert changes([CANARY], [CANARY]) == ""


@pytest.mark.parametrize("new", [[LEARN], [LEARN, VNI.replace("vid:5", "vid:6")]])
def test_what_was_learned_goes_when_a_tunnels_network_changes(new: list[str]) -> None:
    assert "delete cookie=0x4c0b/-1" in changes([LEARN, VNI], new).splitlines()
    assert "0x4c0b/-1" not in changes([LEARN, VNI], [LEARN, VNI, CANARY])


@pytest.mark.parametrize(
    ("numbers", "text", "meters"),
    [
        pytest.param({"tap1": 7}, "actions=meter:7,output:tap1", {7}, id="a port with a number"),
        pytest.param({}, "actions=output:tap1", set(), id="none"),
    ],
)
def test_a_meter_has_the_number_of_its_port(
    numbers: dict[str, int], text: str, meters: set[int]
) -> None:
    assert metered("actions=meter:tap1,output:tap1", numbers) == (text, meters)


def test_meters_are_renamed_with_their_ports() -> None:
    line = "table=60,in_port=tap1,actions=meter:tap1,output:tap2"
    wanted = "table=60,in_port=vnet0,actions=meter:vnet0,output:tap2"
    assert renamed([line], {"tap1": "vnet0"}) == (wanted,)
