import pytest

from lessor.agent.drivers.ovs_bridges import OvsBridgeDriver
from lessor.agent.host.ovs import Ovsdb
from lessor.core.diff import Changes, diff
from lessor.core.state import OvsBridge
from lessor.errors import Conflict, InUse, Unavailable
from lessor.lab.wait import wait_for
from tests.agent.drivers.ovs_daemons import Ovs

pytestmark = pytest.mark.lab

INT, TUN = OvsBridge("br-int", "netdev"), OvsBridge("br-tun", "netdev")
NAMES = (INT.name, TUN.name)


def bring(driver: OvsBridgeDriver, *wanted: OvsBridge) -> Changes[OvsBridge]:
    changes = diff({one.name: one for one in wanted}, driver.observe())
    driver.apply(changes)
    return changes


def get(ovs: Ovs, bridge: str, column: str) -> str:
    return ovs("ovs-vsctl", "get", "Bridge", bridge, column).strip()


def test_bridges_are_made_once(ovs: Ovs, db: Ovsdb) -> None:
    driver = OvsBridgeDriver(db, NAMES)
    assert bring(driver, INT, TUN).create == (INT, TUN)
    assert not bring(driver, INT, TUN)
    assert not bring(OvsBridgeDriver(db, NAMES), INT, TUN)
    assert get(ovs, "br-int", "fail_mode") == "secure"
    assert get(ovs, "br-int", "datapath_type") == "netdev"
    assert "OpenFlow14" in get(ovs, "br-int", "protocols")
    assert get(ovs, "br-int", "external_ids:owner") == "lessor"
    ovs("ovs-ofctl", "-O", "OpenFlow14", "show", "br-int")


def test_drift_is_set_right(ovs: Ovs, db: Ovsdb) -> None:
    driver = OvsBridgeDriver(db, NAMES)
    bring(driver, INT)
    for drift in (
        ("set-fail-mode", "br-int", "standalone"),
        ("set", "Bridge", "br-int", "protocols=OpenFlow10"),
        ("del-br", "br-int"),
    ):
        ovs("ovs-vsctl", *drift)
        ovs.wait(lambda: driver.observe() != {INT.name: INT})
        assert bring(driver, INT), drift
        assert not bring(driver, INT), drift


def test_an_operators_bridge_is_used_but_stays_his(ovs: Ovs, db: Ovsdb) -> None:
    ovs("ovs-vsctl", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    ovs("ovs-vsctl", "set", "Bridge", "br-int", "protocols=OpenFlow11")
    driver = OvsBridgeDriver(db, NAMES)
    assert bring(driver, INT)
    assert not bring(driver, INT)
    assert get(ovs, "br-int", "fail_mode") == "secure"
    assert "OpenFlow11" in get(ovs, "br-int", "protocols")
    assert get(ovs, "br-int", "external_ids") == "{}"
    assert bring(driver).delete
    assert not bring(driver)
    assert ovs("ovs-vsctl", "list-br").split() == ["br-int"]


def test_an_operators_bridge_of_another_kind_is_said(ovs: Ovs, db: Ovsdb) -> None:
    ovs("ovs-vsctl", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    with pytest.raises(ExceptionGroup) as caught:
        bring(OvsBridgeDriver(db, NAMES), OvsBridge("br-int", "system"))
    assert caught.group_contains(Conflict, match="has datapath_type netdev, not system")
    assert get(ovs, "br-int", "datapath_type") == "netdev"


def test_other_bridges_are_not_seen(ovs: Ovs, db: Ovsdb) -> None:
    ovs("ovs-vsctl", "add-br", "br-ex", "--", "set", "Bridge", "br-ex", "datapath_type=netdev")
    before = ovs("ovs-vsctl", "list", "Bridge", "br-ex")
    driver = OvsBridgeDriver(db, NAMES)
    bring(driver, INT, TUN)
    bring(driver)
    assert ovs("ovs-vsctl", "list", "Bridge", "br-ex") == before
    assert ovs("ovs-vsctl", "list-br").split() == ["br-ex"]


def test_a_bridge_with_somebodys_port_is_not_removed(ovs: Ovs, db: Ovsdb) -> None:
    driver = OvsBridgeDriver(db, NAMES)
    bring(driver, INT)
    ovs("ovs-vsctl", "add-port", "br-int", "foreign", "--", "set", "Interface", "foreign",
        "type=internal")  # fmt: skip
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver)
    assert caught.group_contains(InUse, match="ports that aren't ours: foreign")
    ovs("ovs-vsctl", "del-port", "foreign")
    bring(driver)
    assert ovs("ovs-vsctl", "list-br") == ""


def test_without_the_database_it_is_said_and_afterwards_all_comes_back(ovs: Ovs, db: Ovsdb) -> None:
    driver = OvsBridgeDriver(db, NAMES)
    bring(driver, INT, TUN)
    ovs.kill("ovsdb-server")

    def is_said() -> bool:
        try:
            driver.observe()
        except Unavailable as error:
            return "is openvswitch-switch running" in str(error)
        return False  # what was read before the connection's end was noticed

    wait_for(is_said, 10, "it is said")
    (ovs.folder / "conf.db").unlink()
    ovs.start_database()
    assert bring(driver, INT, TUN).create == (INT, TUN)
    assert not bring(driver, INT, TUN)
    ovs("ovs-ofctl", "-O", "OpenFlow14", "show", "br-tun")
