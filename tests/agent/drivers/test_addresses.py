import json
import re
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from lessor.agent.drivers.addresses import AddressDriver, vm_addresses_on
from lessor.agent.host.arp import announcement
from lessor.core.diff import Changes, diff
from lessor.core.state import DeviceAddress
from lessor.errors import Pending

pytestmark = pytest.mark.lab

Shell = Callable[[str], str]
Make = Callable[..., AddressDriver]
Failing = Callable[[int, bool], Any]
GATEWAY = DeviceAddress("br100", IPv4Interface("10.0.0.1/24"), first=True)
SECOND = DeviceAddress("br100", IPv4Interface("10.1.0.1/24"), first=True)
METADATA = DeviceAddress("lo", IPv4Interface("169.254.169.254/32"))


@pytest.fixture
def make(ip: IPRoute, tmp_path: Path) -> Make:
    def driver(socket_: Any = ip, **more: Any) -> AddressDriver:
        return AddressDriver(socket_, tmp_path / "addresses.json", **more)

    return driver


@pytest.fixture
def br100(sh: Shell) -> str:
    sh(
        """ip link add br100 type bridge; ip link set br100 up
        ip link add far type veth peer name near; ip link set near master br100 up
        ip link set far up"""
    )
    return "br100"


@pytest.fixture
def occupied(sh: Shell, br100: str) -> str:
    """The bridge with the host's own addresses, one of them in our subnet, and its routes."""
    sh(
        """
        ip addr add 192.0.2.10/24 brd + dev br100
        ip addr add 192.0.2.11/24 dev br100 label br100:2
        ip addr add 10.0.0.50/24 dev br100
        ip addr add 203.0.113.10/24 dev br100 noprefixroute
        ip route add default via 192.0.2.1 src 192.0.2.11
        ip route add 10.7.0.0/16 via 192.0.2.2 proto static metric 50
        ip link add eth5 type veth peer name wire5; ip link set eth5 up; ip link set wire5 up
        ip route add 10.8.0.0/16 dev eth5 src 10.0.0.50
        """
    )
    return br100


def bring(driver: AddressDriver, *wanted: DeviceAddress) -> Changes[DeviceAddress]:
    changes = diff({f"{a.device} {a.interface}": a for a in wanted}, driver.observe())
    driver.apply(Changes(create=changes.create, replace=changes.replace))
    driver.apply(Changes(delete=changes.delete))
    return changes


def order(sh: Shell, device: str = "br100") -> list[str]:
    (shown,) = json.loads(sh(f"ip -j -4 addr show dev {device}"))
    return [f"{a['local']}/{a['prefixlen']}" for a in shown["addr_info"]]


def operators(sh: Shell) -> list[str]:
    """Return what the operator has: addresses with all they have (their rank apart) and routes."""
    lines = sh("ip -4 -o addr show; ip route show table main").splitlines()
    lines = [line.replace(" secondary", "").split(": ")[-1] for line in lines]
    mine = ("10.0.0.1/", "10.1.0.1/", "10.0.0.0/24", "10.1.0.0/24", "169.254.")
    return sorted(line for line in lines if not any(word in line for word in mine))


def test_second_pass_is_empty_of_this_agent_and_of_the_next(make: Make, br100: str) -> None:
    driver = make()
    assert bring(driver, GATEWAY, METADATA)
    assert not bring(driver, GATEWAY, METADATA)
    assert not bring(make(), GATEWAY, METADATA)


def test_an_address_has_its_broadcast_and_our_mark(make: Make, ip: IPRoute, br100: str) -> None:
    bring(make(), GATEWAY)
    (message,) = ip.get_addr(label="br100")
    marks = [message.get_attr(name) for name in ("IFA_BROADCAST", "IFA_PROTO")]
    assert (marks, message["scope"]) == (["10.0.0.255", 76], 0)


def test_the_metadata_address_is_bound_to_the_link(make: Make, sh: Shell) -> None:
    bring(make(), METADATA)
    # iproute2 6.15 of Debian 13 names the address's protocol, too
    shown = sh("ip addr show lo")
    assert re.search(r"inet 169\.254\.169\.254/32 scope link (proto \S+ )?lo", shown), shown
    bring(make())
    assert "169.254" not in sh("ip addr show lo")


def test_ours_come_first_and_the_operators_stay_in_their_order(
    make: Make, sh: Shell, occupied: str
) -> None:
    before = operators(sh)
    theirs = ["192.0.2.10/24", "203.0.113.10/24"]
    driver = make()
    bring(driver, GATEWAY, SECOND)
    assert order(sh)[:2] == ["10.0.0.1/24", "10.1.0.1/24"]
    assert [a for a in order(sh) if a in theirs] == theirs
    assert operators(sh) == before
    assert not bring(driver, GATEWAY, SECOND)


def test_an_operators_address_put_before_ours_is_seen(make: Make, sh: Shell, occupied: str) -> None:
    driver = make()
    bring(driver, GATEWAY)
    sh("ip addr del 10.0.0.1/24 dev br100; ip addr add 192.0.2.99/24 dev br100")
    assert bring(driver, GATEWAY)
    assert order(sh)[0] == "10.0.0.1/24"


def test_removing_ours_leaves_the_operators_in_the_same_subnet(
    make: Make, sh: Shell, occupied: str
) -> None:
    before = operators(sh)
    driver = make()
    bring(driver, GATEWAY, SECOND)
    bring(driver)
    assert operators(sh) == before
    assert "10.0.0.1/24" not in order(sh)
    assert "10.0.0.50/24" in order(sh)
    assert not bring(driver)


def test_another_of_ours_in_the_place_of_the_former_comes_first_in_one_pass(
    make: Make, sh: Shell, occupied: str
) -> None:
    before = operators(sh)
    driver = make()
    bring(driver, GATEWAY)
    later = DeviceAddress("br100", IPv4Interface("10.0.0.9/24"), first=True)
    bring(driver, later)
    assert order(sh)[0] == "10.0.0.9/24"
    assert not bring(driver, later)
    bring(driver)
    assert operators(sh) == before


def test_an_operators_own_counts_and_stays(make: Make, sh: Shell, br100: str) -> None:
    sh("ip addr add 192.0.2.10/24 dev br100; ip addr add 10.0.0.1/24 dev br100")
    driver = make()
    bring(driver, GATEWAY)
    assert not bring(driver, GATEWAY)
    assert order(sh) == ["10.0.0.1/24", "192.0.2.10/24"]
    bring(driver)
    assert not bring(driver)
    assert order(sh) == ["10.0.0.1/24", "192.0.2.10/24"]


def test_another_process_that_recalls_what_was_wanted_sees_no_difference(
    make: Make, sh: Shell, br100: str
) -> None:
    sh("ip addr add 10.0.0.1/24 dev br100")
    further = DeviceAddress("br100", IPv4Interface("169.254.169.254/32"))
    wanted = {address.key: address for address in (GATEWAY, further)}
    bring(make(), *wanted.values())
    assert diff(wanted, make().observe())
    other = make()
    other.recall(wanted)
    assert not diff(wanted, other.observe())
    sh("ip addr del 10.0.0.1/24 dev br100")
    assert diff(wanted, other.observe())


def test_foreign_addresses_are_not_touched_without_need(make: Make, sh: Shell, br100: str) -> None:
    sh("ip addr add 192.0.2.10/24 dev br100; ip route add default via 192.0.2.1")
    before = sh("ip addr show br100; ip route")
    bring(make(), METADATA)
    bring(make())
    assert sh("ip addr show br100; ip route") == before


def test_missing_device_is_pending(make: Make, netns: int) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        bring(make(), GATEWAY)
    assert caught.group_contains(Pending, match="br100 is not on this host")


def test_an_address_that_needs_not_be_first_stays_where_it_is(
    make: Make, sh: Shell, br100: str
) -> None:
    sh("ip addr add 192.0.2.10/24 dev br100")
    last = DeviceAddress("br100", IPv4Interface("10.0.0.1/24"))
    driver = make()
    bring(driver, last)
    sh("ip addr del 192.0.2.10/24 dev br100")
    assert not bring(driver, last)


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "refused"])
def test_every_step_may_fail(
    make: Make, sh: Shell, failing: Failing, br100: str, kill: bool
) -> None:
    sh(
        """ip addr add 192.0.2.10/24 dev br100; ip addr add 10.0.0.50/24 dev br100
        ip route add default via 192.0.2.1 src 192.0.2.10; ip route add 10.7.0.0/16 via 10.0.0.9"""
    )
    before = operators(sh)
    # refused, the driver goes on with the second address while the first is half done
    wanted = (GATEWAY,) if kill else (GATEWAY, SECOND)
    for step in range(1, 100):
        driver = make(failing(step, kill))
        try:
            bring(driver, *wanted)
            bring(driver)
        except (KeyboardInterrupt, ExceptionGroup):
            pass
        else:
            break
        driver = make()
        bring(driver, *wanted)
        assert not bring(driver, *wanted), f"step {step}"
        assert order(sh)[0] in ("10.0.0.1/24", "10.1.0.1/24"), f"step {step}"
        assert operators(sh) == before, f"step {step}"
        bring(driver)
        assert not bring(driver), f"step {step}"
        assert operators(sh) == before, f"step {step}, removed"
    assert 10 < step < 99


def test_neighbours_hear_of_a_new_address(make: Make, ip: IPRoute, sh: Shell, br100: str) -> None:
    mac = bytes.fromhex(json.loads(sh("ip -j link show br100"))[0]["address"].replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as far:
        far.bind(("far", 0x0806))
        far.settimeout(5)
        bring(make(announce_count=2), GATEWAY)
        heard = [far.recv(100)[:42] for _ in range(4)]
    asked, told = (announcement(mac, IPv4Address("10.0.0.1"), op) for op in (1, 2))
    assert heard == [asked, told, asked, told]


def test_addresses_on_the_vms_network_are_found(ip: IPRoute, sh: Shell, br100: str) -> None:
    sh("ip addr add 192.0.2.10/24 dev br100; ip addr add 10.0.0.9/24 dev br100")
    networks = [IPv4Network("10.0.0.0/24"), IPv4Network("10.5.0.0/16")]
    assert vm_addresses_on("br100", networks) == [IPv4Interface("10.0.0.9/24")]
    assert vm_addresses_on("br999", networks) == []
