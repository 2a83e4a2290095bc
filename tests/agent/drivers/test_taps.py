import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pyroute2 import IPRoute

from lessor.agent.drivers.taps import TapDriver
from lessor.agent.host.netlink import Devices, Link
from lessor.agent.host.tun import new_tap
from lessor.core.diff import Changes, diff
from lessor.core.state import Tap
from lessor.errors import Conflict, Pending

pytestmark = pytest.mark.lab

Shell = Callable[[str], str]
Failing = Callable[[int, bool], Any]
OURS = Tap("tap3f2a9c1e-5b", "3f2a9c1e-5b1d", "br100", 1450, managed=True)
THEIRS = Tap("tap7c0d11aa-01", "7c0d11aa-0123", "br100", 1450, managed=False)


@pytest.fixture
def br100(sh: Shell) -> str:
    sh("ip link add br100 type bridge; ip link set br100 up")
    return "br100"


@pytest.fixture
def plugged(sh: Shell, br100: str) -> str:
    """A hypervisor made the tap of THEIRS."""
    sh(f"ip link add {THEIRS.name} type veth peer name vm")
    return THEIRS.name


def bring(driver: TapDriver, *wanted: Tap) -> Changes[Tap]:
    changes = diff({tap.name: tap for tap in wanted}, driver.observe())
    driver.apply(Changes(create=changes.create, replace=changes.replace))
    driver.apply(Changes(delete=changes.delete))
    return changes


def shown(sh: Shell, name: str) -> dict[str, Any]:
    (link,) = json.loads(sh(f"ip -d -j link show {name}"))
    return dict(link)


def test_second_pass_is_empty_of_this_agent_and_of_the_next(
    ip: IPRoute, sh: Shell, plugged: str
) -> None:
    driver = TapDriver(ip)
    assert bring(driver, OURS, THEIRS)
    assert not bring(driver, OURS, THEIRS)
    assert not bring(TapDriver(ip), OURS, THEIRS)


def test_a_tap_of_ours_is_one_that_qemu_can_open(ip: IPRoute, sh: Shell, br100: str) -> None:
    bring(TapDriver(ip), OURS)
    link = shown(sh, OURS.name)
    data = link["linkinfo"]["info_data"]
    assert (data["type"], data["vnet_hdr"], data["persist"], data["pi"]) == (
        "tap",
        True,
        True,
        False,
    )
    assert (link["mtu"], link["master"]) == (1450, "br100")
    assert link["ifalias"] == "lessor:3f2a9c1e-5b1d:managed"
    assert link["linkinfo"]["info_slave_data"]["hairpin"]
    assert link["linkinfo"]["info_slave_data"]["group_fwd_mask"] == "0x4000"
    assert "UP" in link["flags"]
    with new_tap(OURS.name):  # opened as QEMU opens it
        assert "LOWER_UP" in shown(sh, OURS.name)["flags"]
    assert bring(TapDriver(ip), OURS) == Changes()


def test_the_host_has_no_ipv6_on_a_tap(ip: IPRoute, sh: Shell, plugged: str) -> None:
    sh(f"ip link set {plugged} up; ip link set vm up")
    driver = TapDriver(ip)
    bring(driver, OURS, THEIRS)
    assert "inet6" not in sh(f"ip addr show {OURS.name}; ip addr show {THEIRS.name}")
    sh(f"echo 0 >/proc/sys/net/ipv6/conf/{plugged}/disable_ipv6")
    assert bring(driver, OURS, THEIRS)
    assert "inet6" not in sh(f"ip addr show {plugged}")


def test_a_tap_that_the_hypervisor_has_not_made_is_pending(ip: IPRoute, br100: str) -> None:
    driver = TapDriver(ip)
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver, OURS, THEIRS)
    (pending,) = caught.value.exceptions
    assert isinstance(pending, Pending)
    assert pending.key == THEIRS.name
    assert "tap7c0d11aa-01 of port 7c0d11aa-0123" in str(pending)
    assert list(driver.observe()) == [OURS.name]


def test_a_tap_that_its_hypervisor_deleted_is_pending_again(
    ip: IPRoute, sh: Shell, plugged: str
) -> None:
    driver = TapDriver(ip)
    bring(driver, THEIRS)
    sh(f"ip link del {plugged}")
    assert driver.observe() == {}
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver, THEIRS)
    assert caught.group_contains(Pending)


def test_missing_bridge_is_pending_and_nothing_is_made(ip: IPRoute, sh: Shell) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        bring(TapDriver(ip), OURS)
    assert caught.group_contains(Pending, match="waits for bridge br100")
    assert OURS.name not in sh("ip link")


def test_a_port_that_is_down_has_its_tap_down(ip: IPRoute, sh: Shell, plugged: str) -> None:
    driver = TapDriver(ip)
    down = [replace(tap, up=False) for tap in (OURS, THEIRS)]
    bring(driver, *down)
    assert not bring(driver, *down)
    assert "UP" not in shown(sh, OURS.name)["flags"]
    bring(driver, OURS, THEIRS)
    bring(driver, *down)
    assert "UP" not in shown(sh, THEIRS.name)["flags"]


def test_what_somebody_changed_is_set_right(ip: IPRoute, sh: Shell, plugged: str) -> None:
    driver = TapDriver(ip)
    bring(driver, THEIRS)
    for drift in (
        f"ip link set {plugged} nomaster",
        f"ip link set {plugged} mtu 1500",
        f"ip link set {plugged} type bridge_slave hairpin off",
        f"ip link set {plugged} type bridge_slave group_fwd_mask 0",
        f"ip link set {plugged} down",
        f"ip link set {plugged} alias lessor:another",
    ):
        sh(drift)
        assert bring(driver, THEIRS), drift
        assert not bring(driver, THEIRS), drift


@pytest.mark.parametrize("mtu", [1500, 1499, 65535])
def test_no_tap_takes_from_the_mtu_of_an_operators_bridge(
    ip: IPRoute, sh: Shell, plugged: str, mtu: int
) -> None:
    """It has no port yet, or ports of that MTU: the kernel gives it that of its smallest one."""
    if mtu != 1500:
        sh(f"ip link add low mtu {mtu} type veth peer name far; ip link set low master br100 up")
    bring(TapDriver(ip), OURS, THEIRS)
    assert shown(sh, "br100")["mtu"] == mtu
    smaller = [replace(tap, mtu=68) for tap in (OURS, THEIRS)]
    driver = TapDriver(ip)
    assert bring(driver, *smaller)
    assert shown(sh, "br100")["mtu"] == mtu
    assert not bring(driver, *smaller)


def test_a_tap_on_another_linux_bridge_is_moved(ip: IPRoute, sh: Shell, plugged: str) -> None:
    sh(f"ip link add virbr0 type bridge; ip link set {plugged} master virbr0")
    bring(TapDriver(ip), THEIRS)
    assert shown(sh, plugged)["master"] == "br100"


def test_a_tap_of_another_switch_is_refused(
    ip: IPRoute, sh: Shell, plugged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sh(f"ip link add ovs type bridge; ip link set {plugged} master ovs")

    real = Devices.links

    def with_ovs(devices: Devices) -> dict[str, Link]:
        """The host's devices, one of them an OVS datapath: not every kernel can make one."""
        found = real(devices)
        return {**found, "ovs": replace(found["ovs"], kind="openvswitch")}

    monkeypatch.setattr(Devices, "links", with_ovs)
    with pytest.raises(ExceptionGroup) as caught:
        bring(TapDriver(ip), THEIRS)
    assert caught.group_contains(Conflict, match="ovs, which is no Linux bridge but openvswitch")
    assert shown(sh, plugged)["master"] == "ovs"
    assert "ifalias" not in shown(sh, plugged)


def test_deleting_removes_ours_and_releases_theirs(ip: IPRoute, sh: Shell, plugged: str) -> None:
    driver = TapDriver(ip)
    bring(driver, OURS, THEIRS)
    bring(driver)
    assert not bring(driver)
    assert OURS.name not in sh("ip link")
    link = shown(sh, plugged)
    assert "master" not in link
    assert not link.get("ifalias")


def test_what_a_hypervisor_made_is_not_deleted_although_it_was_to_be_ours(
    ip: IPRoute, sh: Shell, plugged: str
) -> None:
    driver = TapDriver(ip)
    bring(driver, replace(THEIRS, managed=True))
    assert not bring(driver, replace(THEIRS, managed=True))
    bring(driver)
    assert not bring(driver)
    assert "master" not in shown(sh, plugged)


def test_what_is_not_marked_is_not_seen(ip: IPRoute, sh: Shell, plugged: str) -> None:
    sh("ip tuntap add tap-operator mode tap; ip link set tap-operator master br100")
    assert TapDriver(ip).observe() == {}


def test_no_tap_changes_the_mac_of_a_bridge_that_nobody_fixed(
    ip: IPRoute, sh: Shell, br100: str
) -> None:
    sh("ip link add eth1 address 52:54:00:00:00:01 type veth peer name w")
    sh("ip link set eth1 master br100")
    before = shown(sh, "br100")["address"]
    bring(TapDriver(ip), *(replace(OURS, name=f"tap{n}", port_id=f"{n}") for n in range(20)))
    assert shown(sh, "br100")["address"] == before


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "refused"])
@pytest.mark.parametrize("wanted", [OURS, THEIRS], ids=["ours", "theirs"])
def test_every_step_may_fail(  # noqa: PLR0917 - fixtures come by name
    ip: IPRoute, sh: Shell, failing: Failing, plugged: str, wanted: Tap, kill: bool
) -> None:
    devices = sorted(link["ifname"] for link in json.loads(sh("ip -j link")))
    for step in range(1, 50):
        driver = TapDriver(failing(step, kill))
        try:
            bring(driver, wanted)
            bring(driver)
        except (KeyboardInterrupt, ExceptionGroup):
            pass
        else:
            break
        driver = TapDriver(ip)
        bring(driver, wanted)
        assert not bring(driver, wanted), f"step {step}"
        bring(driver)
        assert not bring(driver), f"step {step}"
        assert sorted(link["ifname"] for link in json.loads(sh("ip -j link"))) == devices, (
            f"step {step}"
        )
        assert not shown(sh, plugged).get("ifalias")
    assert 5 < step < 49


# --- for an OVS bridge


def test_a_tap_for_an_ovs_bridge_is_made_ready_and_joins_no_linux_bridge(
    ip: IPRoute, sh: Shell, plugged: str
) -> None:
    sh(f"ip link add br101 type bridge; ip link set {plugged} master br101")
    wanted = [replace(tap, bridge="") for tap in (OURS, THEIRS)]
    driver = TapDriver(ip)
    bring(driver, *wanted)
    assert not bring(TapDriver(ip), *wanted)
    for tap in wanted:
        link = shown(sh, tap.name)
        assert "master" not in link
        assert (link["mtu"], "UP" in link["flags"]) == (1450, True)
        ipv6 = sh(f"cat /proc/sys/net/ipv6/conf/{tap.name}/disable_ipv6")
        assert ipv6 == "1\n"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("echo 0 > /proc/sys/net/ipv6/conf/{}/disable_ipv6", id="ipv6"),
        pytest.param("ip link add br101 type bridge; ip link set {} master br101", id="bridge"),
        pytest.param("ip link set {} mtu 1400", id="mtu"),
    ],
)
def test_what_others_do_to_a_tap_for_an_ovs_bridge_is_undone(
    ip: IPRoute, sh: Shell, change: str
) -> None:
    driver, wanted = TapDriver(ip), replace(OURS, bridge="")
    bring(driver, wanted)
    sh(change.format(wanted.name))
    assert bring(driver, wanted)
    assert not bring(driver, wanted)
    assert "master" not in shown(sh, wanted.name)


def test_a_tap_that_ovs_holds_stays_with_it(
    ip: IPRoute, sh: Shell, plugged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sh(f"ip link add ovs type bridge; ip link set {plugged} master ovs")

    real = Devices.links

    def with_ovs(devices: Devices) -> dict[str, Link]:
        """The host's devices, one of them an OVS datapath: not every kernel can make one."""
        found = real(devices)
        return {**found, "ovs": replace(found["ovs"], kind="openvswitch")}

    monkeypatch.setattr(Devices, "links", with_ovs)
    driver, wanted = TapDriver(ip), replace(THEIRS, bridge="")
    bring(driver, wanted)
    assert shown(sh, plugged)["master"] == "ovs"
    assert not bring(driver, wanted)


def test_a_tap_joins_no_bridge_before_its_rules_are_in_force(
    ip: IPRoute, sh: Shell, plugged: str
) -> None:
    known: set[str] = set()
    driver = TapDriver(ip, guarded=known.__contains__)
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver, THEIRS)
    assert caught.group_contains(Pending, match="waits for its rules in table bridge lessor")
    assert "master" not in shown(sh, THEIRS.name)
    known.add(THEIRS.name)
    assert bring(driver, THEIRS)
    assert shown(sh, THEIRS.name)["master"] == "br100"
