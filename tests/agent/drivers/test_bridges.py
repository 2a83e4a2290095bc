import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from lessor.agent.drivers.bridges import BridgeDriver
from lessor.core.diff import Changes, diff
from lessor.core.state import Bridge
from lessor.errors import Conflict, Pending
from lessor.settings import FlatMapping

pytestmark = pytest.mark.lab

Shell = Callable[[str], str]
Peer = Callable[[], AbstractContextManager[None]]
Failing = Callable[[int, bool], Any]
BR = Bridge("br100", "eth1", tx_checksum=False)
ALONE = Bridge("br100", None)


@pytest.fixture
def eth1(sh: Shell) -> str:
    """A host whose only way out is eth1, with all that an operator may have put on it."""
    sh(
        """
        ip link add eth1 type veth peer name wire
        ip link set eth1 up; ip link set wire up
        ip addr add 192.0.2.10/24 brd + dev eth1
        ip addr add 192.0.2.11/24 dev eth1
        ip addr add 198.51.100.10/24 dev eth1 label eth1:9
        ip addr add 203.0.113.10/24 dev eth1 noprefixroute
        ip -6 addr add 2001:db8::10/64 dev eth1 nodad
        ip route add default via 192.0.2.1 src 192.0.2.11 mtu 1400
        ip route add 10.1.0.0/16 via 192.0.2.2 proto static metric 50
        ip route add 10.2.0.0/16 dev eth1 scope link
        ip route add 10.3.0.0/16 via 192.0.2.3 table 100
        ip route add 10.4.0.0/16 nexthop via 192.0.2.4 weight 2 nexthop via 192.0.2.5
        ip -6 route add default via 2001:db8::1
        """
    )
    return "eth1"


@pytest.fixture
def plain_eth1(sh: Shell) -> str:
    """The same with little on it, for tests that go through every step."""
    sh(
        """
        ip link add eth1 type veth peer name wire
        ip link set eth1 up; ip link set wire up
        ip addr add 192.0.2.10/24 dev eth1; ip addr add 192.0.2.11/24 dev eth1
        ip route add default via 192.0.2.1 src 192.0.2.11
        """
    )
    return "eth1"


@pytest.fixture
def make(ip: IPRoute, tmp_path: Path) -> Callable[..., BridgeDriver]:
    """Makes a driver as a freshly started agent would."""

    def driver(
        reachable: Callable[[], bool] = lambda: True,
        socket_: Any = ip,
        patience_s: float = 0,
        **more: Any,
    ) -> BridgeDriver:
        return BridgeDriver(
            socket_, reachable, tmp_path / "moves.json", patience_s=patience_s, **more
        )

    return driver


Make = Callable[..., BridgeDriver]


def bring(driver: BridgeDriver, *bridges: Bridge) -> Changes[Bridge]:
    """Do one pass, as the agent's loop does it, and return what differed."""
    changes = diff({bridge.name: bridge for bridge in bridges}, driver.observe())
    driver.apply(Changes(create=changes.create, replace=changes.replace))
    driver.apply(Changes(delete=changes.delete))
    return changes


def held(sh: Shell, device: str) -> list[str]:
    """Return addresses and routes of a device in words that don't name it."""
    lines = sh(f"ip addr show dev {device} scope global").splitlines()[1:]
    lines += sh("ip route show table all; ip -6 route show table all").splitlines()
    mine = (line for line in lines if " inet" in line or f"dev {device}" in line)
    words = (re.sub(rf"\b{device}\b", "DEV", line).strip() for line in mine)
    return sorted(w for w in words if not re.search(r"fe80::|ff00::|table local", w))


def everything(sh: Shell) -> str:
    lines = sh("ip -d addr; ip route show table all; ip -6 route show table all; ip rule")
    return re.sub(r"\w+_timer +[0-9.]+", "", lines)


def test_bridge_has_no_spanning_tree_and_no_forward_delay(make: Make, sh: Shell) -> None:
    bring(make(), ALONE)
    (link,) = json.loads(sh("ip -d -j link show br100"))
    data = link["linkinfo"]["info_data"]
    assert (data["stp_state"], data["forward_delay"], link["ifalias"]) == (0, 0, "lessor")
    assert "UP" in link["flags"]


DISABLED = "cat /proc/sys/net/ipv6/conf/br100/disable_ipv6"


def test_host_takes_no_part_in_ipv6_on_a_bridge_of_ours(
    make: Make, sh: Shell, plain_eth1: str
) -> None:
    driver = make()
    bring(driver, BR)
    assert sh(DISABLED) == "1\n"
    assert "fe80::" not in sh("ip -6 addr show br100")
    sh("echo 0 >/proc/sys/net/ipv6/conf/br100/disable_ipv6")
    assert bring(driver, BR)
    assert sh(DISABLED) == "1\n"
    assert not bring(driver, BR)


def test_operators_ipv6_goes_on_where_his_interface_brings_it(
    make: Make, sh: Shell, eth1: str
) -> None:
    driver = make()
    bring(driver, BR)
    assert sh(DISABLED) == "0\n"
    assert "2001:db8::10" in sh("ip -6 addr show br100")
    assert not bring(driver, BR)
    sh("ip link del br100")
    bring(driver, BR)
    assert "2001:db8::10" in sh("ip -6 addr show br100")
    assert not bring(driver, BR)


def test_operators_own_bridge_keeps_its_ipv6(make: Make, sh: Shell) -> None:
    sh("ip link add br100 type bridge; ip link set br100 up")
    bring(make(mappings=[FlatMapping(physical_network="p", bridge="br100", interface=None)]), ALONE)
    assert sh(DISABLED) == "0\n"


def test_second_pass_is_empty_of_this_agent_and_of_the_next(make: Make, eth1: str) -> None:
    driver = make()
    assert bring(driver, BR)
    assert not bring(driver, BR)
    assert not diff({"br100": BR}, make().observe())


def test_addresses_and_routes_move_whole(make: Make, sh: Shell, eth1: str) -> None:
    before = held(sh, "eth1")
    assert len(before) > 12
    bring(make(), BR)
    assert held(sh, "br100") == before
    assert held(sh, "eth1") == []
    assert "label" not in sh("ip addr show br100")
    assert "br100:9" in sh("ip -o -4 addr show br100")


def test_a_dhcp_address_keeps_its_lifetime(make: Make, sh: Shell, eth1: str) -> None:
    sh("ip addr add 192.0.2.77/24 dev eth1 valid_lft 1000 preferred_lft 500")
    bring(make(), BR)
    addresses = json.loads(sh("ip -j addr show br100"))[0]["addr_info"]
    (dynamic,) = (a for a in addresses if a["local"] == "192.0.2.77")
    assert dynamic["dynamic"]
    assert 900 < dynamic["valid_life_time"] <= 1000


def test_of_two_equal_routes_the_foreign_one_stays(make: Make, sh: Shell, eth1: str) -> None:
    sh(
        """ip link add eth2 type veth peer name wire2; ip link set eth2 up; ip link set wire2 up
        ip addr add 10.9.0.2/24 dev eth2
        ip route add 10.8.0.0/16 via 10.9.0.1 dev eth2
        ip route append 10.8.0.0/16 via 192.0.2.1 dev eth1"""
    )
    bring(make(), BR)
    hops = [route.split()[4] for route in sh("ip route show 10.8.0.0/16").splitlines()]
    assert hops == ["eth2", "br100"]


def test_mac_is_the_interfaces_and_stays_when_a_tap_comes(make: Make, sh: Shell, eth1: str) -> None:
    bring(make(), BR)
    address = json.loads(sh("ip -j link show eth1"))[0]["address"]
    sh("ip link add low address 00:00:00:00:00:02 type veth peer name far")
    sh("ip link set low master br100 up")
    assert json.loads(sh("ip -j link show br100"))[0]["address"] == address


def test_mac_of_a_bridge_without_interface_stays_too(make: Make, sh: Shell) -> None:
    bring(make(), ALONE)
    address = json.loads(sh("ip -j link show br100"))[0]["address"]
    sh("ip link add low address 00:00:00:00:00:02 type veth peer name far")
    sh("ip link set low master br100 up")
    assert json.loads(sh("ip -j link show br100"))[0]["address"] == address


def test_transmit_offload_is_switched_and_seen(make: Make, sh: Shell) -> None:
    driver = make()
    bring(driver, Bridge("br100", None, tx_checksum=False))
    assert "tx-checksumming: off" in sh("ethtool -k br100")
    bring(driver, ALONE)
    assert "tx-checksumming: on" in sh("ethtool -k br100")


def test_what_an_operator_changed_is_set_right(make: Make, sh: Shell, eth1: str) -> None:
    driver = make()
    bring(driver, BR)
    for drift in (
        "ip link set br100 type bridge stp_state 1",
        "ip link set br100 type bridge forward_delay 1500",
        "ip link set br100 down",
        "ip link set br100 address 02:00:00:00:00:09",
        "ip link set eth1 nomaster",
        "ip link set eth1 down",
        "ip addr add 192.0.2.99/24 dev eth1",
        "ip link del br100",
    ):
        sh(drift)
        assert bring(driver, BR), drift
        assert not bring(driver, BR), drift


def mtu(sh: Shell, name: str = "br100") -> int:
    return int(json.loads(sh(f"ip -j link show {name}"))[0]["mtu"])


SMALL = "ip link add small type veth peer name far; ip link set small mtu 68; ip link set small "


def test_no_port_takes_from_the_mtu_of_a_bridge(make: Make, sh: Shell, plain_eth1: str) -> None:
    """A network with a small MTU costs its own VMs, none of the others of its bridge."""
    driver = make()
    bring(driver, BR)
    sh(f"{SMALL} master br100 up")
    assert mtu(sh) == 1500
    assert not bring(driver, BR)


@pytest.mark.parametrize("least", [1400, 9000])
def test_the_mtu_of_a_bridge_is_its_interfaces(
    make: Make, sh: Shell, plain_eth1: str, least: int
) -> None:
    sh(f"ip link set eth1 mtu {least}")
    driver = make()
    bring(driver, BR)
    sh(f"{SMALL} master br100 up")
    assert mtu(sh) == least
    sh("ip link set eth1 mtu 2000")
    assert bring(driver, BR)
    assert mtu(sh) == 2000
    for drift in (1280, 9000):
        sh(f"ip link set br100 mtu {drift}")
        assert bring(driver, BR)
        assert (mtu(sh), bring(driver, BR)) == (2000, Changes())


def test_a_bridge_of_before_gets_its_mtu_back(make: Make, sh: Shell, plain_eth1: str) -> None:
    sh("ip link add br100 type bridge stp_state 0 forward_delay 0")
    sh("ip link set br100 alias lessor address 02:00:00:00:00:09")
    sh(f"{SMALL} master br100 up")
    driver = make()
    bring(driver, BR)
    assert mtu(sh) == 1500
    sh("ip link set small nomaster; ip link set small master br100")
    assert (mtu(sh), bring(driver, BR)) == (1500, Changes())


def test_a_bridge_without_interface_has_room_for_its_largest_port(make: Make, sh: Shell) -> None:
    driver = make()
    bring(driver, ALONE)
    sh(f"{SMALL} master br100 up")
    assert (mtu(sh), bring(driver, ALONE)) == (1500, Changes())
    sh("ip link set small mtu 2000")
    assert bring(driver, ALONE)
    assert (mtu(sh), bring(driver, ALONE)) == (2000, Changes())


def test_the_mtu_of_an_operators_bridge_is_the_operators(
    make: Make, sh: Shell, plain_eth1: str
) -> None:
    sh("ip link add br100 type bridge; ip link set br100 mtu 1400 up")
    driver = make()
    bring(driver, BR)
    assert mtu(sh) == 1400
    sh("ip link set br100 mtu 1300")
    assert (mtu(sh), bring(driver, BR)) == (1300, Changes())


def test_missing_interface_is_pending_and_the_bridge_is_there(make: Make, sh: Shell) -> None:
    driver = make()
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver, Bridge("br100", "eth9"))
    assert caught.group_contains(
        Pending, match="^flat_interface eth9 of bridge br100 is not on this host$"
    )
    assert "br100" in driver.observe()


def test_interface_of_a_foreign_bridge_is_refused(make: Make, sh: Shell, eth1: str) -> None:
    sh("ip link add virbr0 type bridge; ip link set virbr0 up; ip link set eth1 master virbr0")
    before = sh("ip -j link show eth1")
    with pytest.raises(ExceptionGroup) as caught:
        bring(make(), BR)
    assert caught.group_contains(Conflict, match="eth1: it belongs to virbr0")
    assert json.loads(sh("ip -j link show eth1"))[0] == json.loads(before)[0]


def test_a_device_that_is_no_bridge_is_refused(make: Make, sh: Shell) -> None:
    sh("ip link add br100 type veth peer name other")
    with pytest.raises(ExceptionGroup) as caught:
        bring(make(), ALONE)
    assert caught.group_contains(Conflict, match="br100 can't be made: there is a veth")


# --- the operator's own


def test_foreign_things_stay_byte_for_byte(make: Make, sh: Shell) -> None:
    sh(
        """ip link add docker0 type bridge; ip link set docker0 up
        ip addr add 172.17.0.1/16 dev docker0
        ip link add eth0 type veth peer name wire0; ip link set eth0 up; ip link set wire0 up
        ip addr add 192.168.7.2/24 dev eth0; ip route add default via 192.168.7.1"""
    )
    before = everything(sh)
    driver = make()
    bring(driver, ALONE)
    bring(driver)
    assert everything(sh) == before


def test_operators_bridge_is_used_as_it_is_and_never_deleted(
    make: Make, sh: Shell, eth1: str
) -> None:
    sh(
        """ip link add br100 type bridge stp_state 1; ip link set br100 up
        ip addr add 172.16.0.1/24 dev br100
        ip link add vm type veth peer name vm0; ip link set vm master br100 up
        ip link set eth1 master br100; ip addr flush dev eth1; ip -6 route flush dev eth1"""
    )
    before = everything(sh)
    wanted = Bridge("br100", "eth1")
    driver = make(mappings=[FlatMapping(physical_network="p", bridge="br100", interface="eth1")])
    assert not bring(driver, wanted)
    bring(driver)
    assert not bring(driver)
    assert everything(sh) == before


def test_another_process_that_recalls_what_was_wanted_sees_no_difference(
    make: Make, sh: Shell
) -> None:
    sh("ip link add br100 type bridge; ip link set br100 up")
    mapping = FlatMapping(physical_network="p", bridge="br100", interface=None)
    wanted = Bridge("br100", None, tx_checksum=False)
    bring(make(mappings=[mapping]), wanted)
    other = make(mappings=[mapping])
    assert diff({"br100": wanted}, other.observe())
    other.recall({"br100": wanted})
    assert not diff({"br100": wanted}, other.observe())


def test_interface_joins_an_operators_bridge(make: Make, sh: Shell, eth1: str) -> None:
    sh("ip link add br100 type bridge; ip link set br100 up; ip addr add 172.16.0.1/24 dev br100")
    before = held(sh, "eth1")
    driver = make()
    bring(driver, BR)
    assert not bring(driver, BR)
    assert set(before) < set(held(sh, "br100"))
    assert "172.16.0.1/24" in sh("ip addr show br100")


# --- taking back


def test_deleting_gives_the_interface_all_back_but_what_is_ours(
    make: Make, ip: IPRoute, sh: Shell, eth1: str
) -> None:
    before = held(sh, "eth1")
    bring(make(), BR)
    (index,) = ip.link_lookup(ifname="br100")
    ip.addr("add", index=index, address="10.0.0.1", prefixlen=24, proto=76)
    driver = make()
    bring(driver)
    assert held(sh, "eth1") == before
    assert "br100" not in sh("ip link")
    assert not bring(driver)


def test_a_bridge_with_foreign_ports_is_not_deleted(make: Make, sh: Shell, eth1: str) -> None:
    driver = make()
    bring(driver, BR)
    sh("ip link add vm type veth peer name vm0; ip link set vm master br100")
    before = everything(sh)
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver)
    assert caught.group_contains(Pending, match="br100 is no longer needed but still has vm")
    assert everything(sh) == before


def test_another_interface_takes_the_place_of_the_former(make: Make, sh: Shell, eth1: str) -> None:
    before = held(sh, "eth1")
    sh("ip link add eth2 type veth peer name wire2; ip link set wire2 up")
    driver = make()
    bring(driver, BR)
    bring(driver, Bridge("br100", "eth2", tx_checksum=False))
    assert held(sh, "eth1") == before
    assert "master br100" in sh("ip link show eth2")
    assert "master" not in sh("ip link show eth1")


# --- cut off


def test_a_host_that_would_be_cut_off_gets_all_back(make: Make, sh: Shell, eth1: str) -> None:
    before, asked = held(sh, "eth1"), []

    def reachable() -> bool:
        asked.append("master br100" in sh("ip link show eth1"))
        return not asked[-1]

    driver = make(reachable)
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver, BR)
    assert caught.group_contains(Pending, match="eth1 is not in bridge br100")
    assert (held(sh, "eth1"), asked) == (before, [False, True, False])
    assert "master" not in sh("ip link show eth1")


def test_being_cut_off_is_not_tried_again_and_again(make: Make, sh: Shell, eth1: str) -> None:
    asked = []

    def reachable() -> bool:
        asked.append("master br100" in sh("ip link show eth1"))
        return not asked[-1]

    driver = make(reachable)
    waits = []
    for _ in range(4):
        with pytest.raises(ExceptionGroup) as caught:
            bring(driver, BR)
        (pending,) = caught.value.exceptions
        assert isinstance(pending, Pending)
        waits.append(round(pending.retry_s or 0, -1))
    assert waits == [0, 600, 600, 600]
    assert asked == [False, True, False] * 2


def test_a_server_that_was_restarted_while_an_interface_joined_has_cut_nobody_off(
    make: Make, sh: Shell, eth1: str
) -> None:
    """It is back when it is asked again after the move was undone: as if the move was to blame."""
    before, answers = held(sh, "eth1"), iter([True, False, True])
    driver = make(lambda: next(answers, True))
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver, BR)
    (pending,) = caught.value.exceptions
    assert isinstance(pending, Pending)
    assert pending.retry_s == 5
    bring(driver, BR)
    assert held(sh, "br100") == before


def test_an_interface_that_carries_nothing_of_the_host_is_not_to_blame(
    make: Make, sh: Shell, eth1: str
) -> None:
    """A server or a network that fails just then has nothing to do with its move."""
    sh("ip link add eth2 type veth peer name wire2; ip link set wire2 up; ip link set eth2 up")
    answers = iter([True, False])
    driver = make(lambda: next(answers, False))
    bring(driver, Bridge("br100", "eth2", tx_checksum=False))
    assert "master br100" in sh("ip link show eth2")


def test_a_server_that_dies_while_an_interface_joins_is_waited_for(
    make: Make, sh: Shell, eth1: str
) -> None:
    before, server = held(sh, "eth1"), {"dies": True, "up": True}

    def reachable() -> bool:
        if server["dies"] and "master br100" in sh("ip link show eth1"):
            server["up"] = False
        return server["up"]

    driver = make(reachable)
    for _ in range(2):
        with pytest.raises(ExceptionGroup) as caught:
            bring(driver, BR)
        (pending,) = caught.value.exceptions
        assert isinstance(pending, Pending)
        assert "joins when the server is back" in str(pending)
        assert pending.retry_s == 5
        assert held(sh, "eth1") == before
    server |= {"dies": False, "up": True}
    bring(driver, BR)
    assert held(sh, "br100") == before
    assert not bring(driver, BR)


def test_a_host_that_had_no_server_before_is_not_moved_back(
    make: Make, sh: Shell, eth1: str
) -> None:
    driver = make(lambda: False)
    bring(driver, BR)
    assert not bring(driver, BR)


def test_agent_killed_while_cut_off_moves_back_at_its_next_start(
    make: Make, sh: Shell, eth1: str
) -> None:
    before, asked = held(sh, "eth1"), []

    def killed_when_asked_again() -> bool:
        asked.append(1)
        if len(asked) > 1:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        bring(make(killed_when_asked_again), BR)
    assert held(sh, "eth1") == []
    with pytest.raises(ExceptionGroup):
        bring(make(lambda: False), BR)
    assert held(sh, "eth1") == before


@pytest.fixture
def server(sh: Shell, peer: Peer, ip: IPRoute) -> Iterator[Callable[[], bool]]:
    """A server across the wire of eth1; what it returns asks whether it answers."""
    sh("ip link add eth1 type veth peer name wire; ip link set eth1 up")
    with peer():
        number = Path("/proc/thread-self/ns/net").open()  # noqa: SIM115 - closed below
    ip.link("set", ifname="wire", net_ns_fd=number.fileno())
    number.close()
    with peer():
        sh("ip addr add 192.0.2.1/24 dev wire; ip link set wire up")
        listener = socket.create_server(("192.0.2.1", 9697))
    sh("ip addr add 192.0.2.10/24 dev eth1")

    def answers() -> bool:
        try:
            socket.create_connection(("192.0.2.1", 9697), timeout=0.5).close()
        except OSError:
            return False
        return True

    yield answers
    listener.close()


def test_a_real_server_answers_before_and_after(
    make: Make, sh: Shell, server: Callable[[], bool]
) -> None:
    assert server()
    bring(make(server, patience_s=5), BR)  # of a busy machine one try may fail
    assert "192.0.2.10/24" in sh("ip addr show br100")
    assert server()


def test_a_bridge_that_blocks_its_port_does_not_cost_the_host_its_server(
    make: Make, sh: Shell, server: Callable[[], bool]
) -> None:
    sh("ip link add br100 type bridge stp_state 1 forward_delay 1500; ip link set br100 up")
    before = held(sh, "eth1")
    with pytest.raises(ExceptionGroup) as caught:
        bring(make(server), BR)
    assert caught.group_contains(Pending, match="eth1 is not in bridge br100")
    assert held(sh, "eth1") == before
    assert server()


# --- killed or refused at every step


def operations(make: Make, failing: Failing, passes: Callable[[BridgeDriver], object]) -> int:
    counting = failing(0, False)
    passes(make(socket_=counting))
    return int(counting.changes)


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "refused"])
def test_every_step_of_joining_may_fail(
    make: Make, failing: Failing, sh: Shell, plain_eth1: str, kill: bool
) -> None:
    before = held(sh, "eth1")
    steps = operations(make, failing, lambda driver: bring(driver, BR))
    bring(make())
    assert steps > 9
    for step in range(1, steps + 1):
        driver = make(socket_=failing(step, kill))
        with pytest.raises((KeyboardInterrupt, ExceptionGroup)):
            bring(driver, BR)
        if kill:
            driver = make()
        assert bring(driver, BR), f"step {step} left nothing to do"
        assert not bring(driver, BR), f"step {step}: the pass after is not empty"
        assert held(sh, "br100") == before, f"step {step}"
        bring(make())
        assert held(sh, "eth1") == before, f"step {step}, back"


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "refused"])
def test_every_step_of_taking_back_may_fail(
    make: Make, failing: Failing, sh: Shell, plain_eth1: str, kill: bool
) -> None:
    before = held(sh, "eth1")
    bring(make(), BR)
    steps = operations(make, failing, bring)
    assert steps > 6
    for step in range(1, steps + 1):
        bring(make(), BR)
        driver = make(socket_=failing(step, kill))
        with pytest.raises((KeyboardInterrupt, ExceptionGroup)):
            bring(driver)
        driver = make()
        bring(driver)
        assert not bring(driver)
        assert held(sh, "eth1") == before, f"step {step}"
        assert "br100" not in sh("ip link")


# --- deleted by hand


def test_a_bridge_deleted_by_hand_comes_back_with_what_the_operator_had_on_it(
    make: Make, sh: Shell, eth1: str
) -> None:
    driver = make()
    bring(driver, BR)
    bring(driver, BR)
    before = held(sh, "br100")
    sh("ip link del br100")
    assert not driver.observe()
    assert bring(driver, BR)
    assert held(sh, "br100") == before
    assert not bring(driver, BR)


def test_what_came_and_went_since_is_remembered_by_the_next_agent(
    make: Make, sh: Shell, eth1: str
) -> None:
    bring(make(), BR)
    sh("ip addr add 203.0.113.77/24 dev br100; ip addr del 192.0.2.11/24 dev br100")
    before = held(sh, "br100")
    bring(make(), BR)
    sh("ip link del br100")
    bring(make(), BR)
    assert held(sh, "br100") == before


def test_what_somebody_put_back_himself_is_all_there_is(make: Make, sh: Shell, eth1: str) -> None:
    driver = make()
    bring(driver, BR)
    bring(driver, BR)
    sh("ip link del br100; ip addr add 192.0.2.99/24 dev eth1")
    before = held(sh, "eth1")
    bring(driver, BR)
    assert held(sh, "br100") == before


def test_what_left_with_the_interface_does_not_come_back(make: Make, sh: Shell, eth1: str) -> None:
    driver = make()
    bring(driver, BR)
    bring(driver, BR)
    bring(driver)
    sh("ip addr flush dev eth1; ip route flush dev eth1; ip -6 route flush dev eth1")
    bring(driver, BR)
    assert held(sh, "br100") == []


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "refused"])
def test_every_step_of_making_a_deleted_bridge_anew_may_fail(
    make: Make, failing: Failing, sh: Shell, plain_eth1: str, kill: bool
) -> None:
    bring(make(), BR)
    bring(make(), BR)
    before = held(sh, "br100")

    def again(driver: BridgeDriver) -> None:
        sh("ip link del br100")
        bring(driver, BR)

    steps = operations(make, failing, again)
    assert steps > 7
    for step in range(1, steps + 1):
        with pytest.raises((KeyboardInterrupt, ExceptionGroup)):
            again(make(socket_=failing(step, kill)))
        driver = make()
        assert bring(driver, BR), f"step {step} left nothing to do"
        assert not bring(driver, BR), f"step {step}: the pass after is not empty"
        assert held(sh, "br100") == before, f"step {step}"


def test_a_bridge_seen_on_its_way_out_is_remembered_as_it_was(
    make: Make, ip: IPRoute, sh: Shell, plain_eth1: str
) -> None:
    """While the kernel deletes a bridge it is first down, then bare, then gone."""
    bring(make(), BR)
    driver = make(socket_=Closing(ip, sh))
    bring(driver, BR)
    before = held(sh, "br100")
    driver._ip.closes = True
    driver.observe()
    sh("ip link del br100")
    bring(make(), BR)
    assert held(sh, "br100") == before


class Closing:
    """An IPRoute through which br100 is seen to go, between its link and its addresses."""

    def __init__(self, ip: IPRoute, sh: Shell) -> None:
        self._ip, self._sh, self.closes = ip, sh, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ip, name)

    def get_addr(self, **match: Any) -> Any:
        if self.closes:
            self._sh("ip link set br100 down; ip addr flush dev br100")
        return self._ip.get_addr(**match)
