import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from lessor.agent.drivers.ovs_bridges import OvsBridgeDriver
from lessor.agent.drivers.ovs_ports import OvsPortDriver
from lessor.agent.host.ovs import Ovsdb, Step
from lessor.agent.host.run import run
from lessor.core.diff import Changes, diff
from lessor.core.state import OvsBridge, OvsPort
from lessor.errors import CommandError, Conflict, LessorError, Pending
from tests.agent.drivers.ovs_daemons import Ovs

pytestmark = pytest.mark.lab

Shell = Callable[[str], str]
NET = "a0a0a0a0-0000-4000-8000-000000000001"
VIF = OvsPort("tap3f2a9c1e-5b", "br-int", "vif", "3f2a9c1e-5b1d", "fa:16:3e:00:00:01", NET, vlan=5)
DHCP = OvsPort(
    "otap7c0d11aa-01", "br-int", "dhcp", "7c0d11aa-0123", "fa:16:3e:00:00:02", NET, vlan=5
)
TO_TUN = OvsPort("patch-tun", "br-int", "patch", options=(("peer", "patch-int"),))
TO_INT = OvsPort("patch-int", "br-tun", "patch", options=(("peer", "patch-tun"),))
VXLAN = OvsPort(
    "vxlan-0a63000a",
    "br-tun",
    "vxlan",
    options=(
        ("df_default", "true"),
        ("in_key", "flow"),
        ("local_ip", "10.99.0.11"),
        ("out_key", "flow"),
        ("remote_ip", "10.99.0.10"),
    ),
)
ALL = (VIF, DHCP, TO_TUN, TO_INT, VXLAN)


@pytest.fixture
def bridges(ovs: Ovs, db: Ovsdb) -> None:
    wanted = tuple(OvsBridge(name, "netdev") for name in ("br-int", "br-tun"))
    OvsBridgeDriver(db, ()).apply(Changes(create=wanted))


@pytest.fixture
def devices(sh: Shell, bridges: None) -> None:
    sh(f"ip link add {VIF.name} type veth peer name vm1")
    sh(f"ip link add {DHCP.name} type veth peer name dhcp1")


def bring(driver: OvsPortDriver, *wanted: OvsPort) -> Changes[OvsPort]:
    changes = diff({one.name: one for one in wanted}, driver.observe())
    driver.apply(changes)
    return changes


def plug(ovs: Ovs, db: Ovsdb, name: str, *settings: str) -> None:
    """Have somebody else add a port to br-int, and wait until our own connection tells of it."""
    ovs("ovs-vsctl", "add-port", "br-int", name, *settings)
    ovs.wait(lambda: name in db.ports())


def failures(driver: OvsPortDriver, *wanted: OvsPort) -> tuple[Exception, ...]:
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver, *wanted)
    return caught.value.exceptions


def get(ovs: Ovs, table: str, name: str, column: str) -> str:
    return ovs("ovs-vsctl", "--if-exists", "get", table, name, column).strip()


def closed(sh: Shell) -> set[str]:
    return set(re.findall(r'ingress device "(.+)" .* policy drop', sh("nft list ruleset")))


def test_ports_of_all_kinds_are_made_once(ovs: Ovs, db: Ovsdb, devices: None) -> None:
    driver = OvsPortDriver(db, run)
    assert len(bring(driver, *ALL).create) == len(ALL)
    assert not bring(driver, *ALL)
    assert not bring(OvsPortDriver(db, run), *ALL)
    ids = get(ovs, "Interface", VIF.name, "external_ids")
    for part in (VIF.port_id, VIF.mac, "iface-status=active"):
        assert part in ids
    assert get(ovs, "Port", VIF.name, "tag") == "5"
    assert NET in get(ovs, "Port", VIF.name, "external_ids")
    assert "flow" in get(ovs, "Interface", VXLAN.name, "options:in_key")
    assert int(get(ovs, "Interface", VXLAN.name, "ofport")) > 0


def test_all_go_when_nothing_is_wanted(ovs: Ovs, db: Ovsdb, sh: Shell, devices: None) -> None:
    driver = OvsPortDriver(db, run)
    bring(driver, *ALL)
    assert len(bring(driver).delete) == len(ALL)
    assert not bring(driver)
    assert ovs("ovs-vsctl", "list-ports", "br-int") == ovs("ovs-vsctl", "list-ports", "br-tun")
    assert not closed(sh)
    assert VIF.name in sh("ip link")


def test_a_device_that_is_not_there_is_pending_and_holds_up_no_other(
    ovs: Ovs, db: Ovsdb, sh: Shell, bridges: None
) -> None:
    driver = OvsPortDriver(db, run)
    (pending,) = failures(driver, VIF, TO_TUN, TO_INT, VXLAN)
    assert isinstance(pending, Pending)
    assert pending.key == VIF.name
    assert f"{VIF.name} of port {VIF.port_id}" in str(pending)
    assert set(driver.observe()) == {TO_TUN.name, TO_INT.name, VXLAN.name}
    sh(f"ip link add {VIF.name} type veth peer name vm1")
    assert bring(driver, VIF, TO_TUN, TO_INT, VXLAN).create == (VIF,)


def test_a_device_that_went_away_is_pending_and_works_when_it_is_back(
    ovs: Ovs, db: Ovsdb, sh: Shell, devices: None
) -> None:
    driver = OvsPortDriver(db, run)
    bring(driver, VIF)
    sh(f"ip link del {VIF.name}")
    ovs.wait(lambda: driver.observe() != {VIF.name: VIF})
    (pending,) = failures(driver, VIF)
    assert isinstance(pending, Pending)
    sh(f"ip link add {VIF.name} type veth peer name vm1")

    def works() -> bool:
        try:
            return not bring(driver, VIF)
        except ExceptionGroup:
            return False

    ovs.wait(works)
    assert closed(sh) == {VIF.name}


def test_a_hypervisors_port_is_taken_by_its_iface_id_and_given_back(
    ovs: Ovs, db: Ovsdb, sh: Shell, bridges: None
) -> None:
    sh("ip link add vnet7 type veth peer name vm1")
    ids = (f"external_ids:iface-id={VIF.port_id}", "external_ids:vm-id=a")
    plug(ovs, db, "vnet7", "--", "set", "Interface", "vnet7", *ids)
    driver = OvsPortDriver(db, run)
    assert bring(driver, VIF).create == (VIF,)
    assert not bring(driver, VIF)
    assert driver.names() == {VIF.name: "vnet7"}
    assert get(ovs, "Port", "vnet7", "tag") == "5"
    assert closed(sh) == {"vnet7"}
    sh("ip link del vnet7; ip link add vnet7 type veth peer name vm1")
    assert bring(driver, VIF)  # OVS has to be told to listen to the new one
    assert not bring(driver, VIF)
    assert get(ovs, "Interface", "vnet7", "external_ids:vm-id") == "a"
    bring(driver)
    assert not bring(driver)
    assert get(ovs, "Port", "vnet7", "external_ids") == "{}"
    assert get(ovs, "Port", "vnet7", "tag") == "4095"  # not in every network
    assert get(ovs, "Interface", "vnet7", "external_ids:vm-id") == "a"
    assert not closed(sh)


def test_a_hypervisors_port_without_a_device_is_removed_not_given_back(
    ovs: Ovs, db: Ovsdb, sh: Shell, bridges: None
) -> None:
    """A hypervisor that unplugs takes away the port first: the agent may put it back in between."""
    sh("ip link add vnet7 type veth peer name vm1")
    ids = (f"external_ids:iface-id={VIF.port_id}",)
    plug(ovs, db, "vnet7", "--", "set", "Interface", "vnet7", *ids)
    driver = OvsPortDriver(db, run)
    bring(driver, VIF)
    sh("ip link del vnet7")
    bring(driver)
    assert not bring(driver)
    assert "vnet7" not in ovs("ovs-vsctl", "list-ports", "br-int").split()


def test_what_somebody_changed_is_set_right(ovs: Ovs, db: Ovsdb, sh: Shell, devices: None) -> None:
    driver = OvsPortDriver(db, run)
    wanted = {port.name: port for port in ALL}
    bring(driver, *ALL)
    for drift in (
        f"set Port {VIF.name} tag=6",
        f"clear Port {VIF.name} tag",
        f"set Interface {VIF.name} external_ids:iface-status=inactive",
        f"remove Interface {VIF.name} external_ids iface-id",
        f"set Interface {VXLAN.name} options:remote_ip=10.99.0.99",
        f"set Interface {VXLAN.name} options:key=7",
        f"del-port {VXLAN.name}",
        f"del-port {VIF.name}",
    ):
        ovs("ovs-vsctl", *drift.split())
        ovs.wait(lambda: driver.observe() != wanted)
        assert bring(driver, *ALL), drift
        assert not bring(driver, *ALL), drift
    sh("nft flush ruleset")
    assert bring(driver, *ALL)
    assert closed(sh) == {VIF.name, DHCP.name}


def test_a_port_moves_to_another_bridge(ovs: Ovs, db: Ovsdb, devices: None) -> None:
    driver = OvsPortDriver(db, run)
    bring(driver, VIF)
    moved = replace(VIF, bridge="br-tun")
    bring(driver, moved)
    assert not bring(driver, moved)
    assert ovs("ovs-vsctl", "port-to-br", VIF.name).strip() == "br-tun"


def test_local_vlans_are_found_again(ovs: Ovs, db: Ovsdb, devices: None) -> None:
    bring(OvsPortDriver(db, run), *ALL)
    assert OvsPortDriver(Ovsdb(ovs.connection), run).vlans() == {NET: 5}


def test_others_ports_are_not_touched(ovs: Ovs, db: Ovsdb, sh: Shell, devices: None) -> None:
    sh("ip link add theirs type veth peer name vm9")
    plug(ovs, db, "theirs", "tag=9")
    before = [ovs("ovs-vsctl", "list", table, "theirs") for table in ("Port", "Interface")]
    driver = OvsPortDriver(db, run)
    bring(driver, *ALL)
    mine = replace(DHCP, name="theirs", port_id="x")
    assert any(isinstance(error, Conflict) for error in failures(driver, *ALL, mine))
    bring(driver)
    after = [ovs("ovs-vsctl", "list", table, "theirs") for table in ("Port", "Interface")]
    assert [_without_counters(text) for text in after] == [_without_counters(t) for t in before]


def _without_counters(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("statistics")]


def test_one_that_ovs_refuses_holds_up_no_other(ovs: Ovs, db: Ovsdb, devices: None) -> None:
    driver = OvsPortDriver(db, run)
    (error,) = failures(driver, VIF, replace(DHCP, vlan=5000))
    assert isinstance(error, LessorError)
    assert DHCP.name in str(error)
    assert driver.observe()[VIF.name] == VIF
    assert DHCP.name not in ovs("ovs-vsctl", "list-ports", "br-int")
    bring(driver, VIF)
    assert driver.observe() == {VIF.name: VIF}


def test_a_tunnel_that_ovs_can_not_make_is_said(ovs: Ovs, db: Ovsdb, bridges: None) -> None:
    twin = replace(VXLAN, name="vxlan-twin")
    driver = OvsPortDriver(db, run)
    bring(driver, VXLAN)
    (error,) = failures(driver, VXLAN, twin)
    assert "vxlan-twin" in str(error)
    assert driver.observe()[VXLAN.name] == VXLAN


def test_ports_are_kept_when_the_switch_restarts(ovs: Ovs, db: Ovsdb, devices: None) -> None:
    driver = OvsPortDriver(db, run)
    bring(driver, *ALL)
    ovs.kill("ovs-vswitchd")
    assert not bring(driver, *ALL)
    ovs.start_switch()
    ovs("ovs-vsctl", "set", "Open_vSwitch", ".", "external_ids:x=1")  # waits for it
    assert not bring(driver, *ALL)


def test_without_a_switch_a_new_port_is_pending(ovs: Ovs, bridges: None) -> None:
    ovs.kill("ovs-vswitchd")
    driver = OvsPortDriver(Ovsdb(ovs.connection, switch_s=0.3), run)
    (pending,) = failures(driver, VXLAN)
    assert isinstance(pending, Pending)
    assert "waits for ovs-vswitchd" in str(pending)
    ovs.start_switch()
    ovs.wait(lambda: driver.observe() == {VXLAN.name: VXLAN})


def test_a_lost_database_is_filled_again(ovs: Ovs, db: Ovsdb, devices: None) -> None:
    bridges = {name: OvsBridge(name, "netdev") for name in ("br-int", "br-tun")}
    bridge_driver, driver = OvsBridgeDriver(db, ()), OvsPortDriver(db, run)
    bring(driver, *ALL)
    ovs.forget()
    bridge_driver.apply(diff(bridges, bridge_driver.observe()))
    assert bring(driver, *ALL)
    assert not bring(driver, *ALL)


class _Dying:
    """The database; we are killed before or after the n-th transaction."""

    def __init__(self, db: Ovsdb, at: int, *, after: bool) -> None:
        self._db, self._left, self._after = db, at, after
        self.bridges, self.ports = db.bridges, db.ports

    def transact(self, steps: list[Step]) -> None:
        self._left -= 1
        if self._left or self._after:
            self._db.transact(steps)
        if not self._left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [True, False], ids=["done", "not-done"])
def test_killed_at_each_transaction_the_next_agent_goes_on(
    ovs: Ovs, db: Ovsdb, sh: Shell, devices: None, after: bool
) -> None:
    for wanted in (ALL, ALL[1:], ()):
        dying = OvsPortDriver(_Dying(db, 1, after=after), run)  # type: ignore[arg-type] # a double
        with pytest.raises(KeyboardInterrupt):
            bring(dying, *wanted)
        driver = OvsPortDriver(db, run)
        bring(driver, *wanted)
        assert not bring(driver, *wanted)
        assert driver.observe() == {port.name: port for port in wanted}
    assert not closed(sh)


def test_killed_around_nft_the_next_agent_goes_on(
    ovs: Ovs, db: Ovsdb, sh: Shell, devices: None
) -> None:
    def dying(*argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        if stdin is not None:
            raise KeyboardInterrupt
        return run(*argv, stdin=stdin, timeout_s=timeout_s)

    for wanted in (ALL, ()):
        with pytest.raises(KeyboardInterrupt):
            bring(OvsPortDriver(db, dying), *wanted)
        driver = OvsPortDriver(db, run)
        bring(driver, *wanted)
        assert not bring(driver, *wanted)


def test_without_nft_a_vms_frames_are_a_failure(ovs: Ovs, db: Ovsdb, devices: None) -> None:
    def no_nft(*argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        raise CommandError("nft: there is no program nft; install it")

    driver = OvsPortDriver(db, no_nft)
    assert any("nft" in str(error) for error in failures(driver, VIF))
    assert driver.observe()[VIF.name] != VIF
