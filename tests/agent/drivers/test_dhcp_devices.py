import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest

from lessor.agent.drivers.dhcp_devices import DhcpDeviceDriver
from lessor.agent.drivers.namespaces import PREFIX
from lessor.agent.host.run import run
from lessor.core.diff import Changes, Unsound, as_read, diff
from lessor.core.state import DhcpDevice
from lessor.errors import Conflict, Pending
from lessor.netns import FOLDER, inside
from tests.agent.drivers.ovs_daemons import Ovs

pytestmark = pytest.mark.lab

Shell = Callable[[str], str]
OWN = f"{PREFIX}d{os.getpid()}-"  # of this test; there may be others on the machine
METADATA = IPv4Interface("169.254.169.254/32")
NAME = f"tap{os.getpid():08x}"
DEVICE = DhcpDevice(
    f"{NAME}-01",
    f"o{NAME}-01",
    f"{OWN}a",
    "fa:16:3e:00:00:02",
    1450,
    (IPv4Interface("10.0.0.2/24"), IPv4Interface("10.1.0.2/24"), METADATA),
    IPv4Address("10.0.0.1"),
)
OTHER = replace(DEVICE, name=f"{NAME}-02", outer=f"o{NAME}-02", namespace=f"{OWN}b", gateway=None)


class Driver(DhcpDeviceDriver):
    """Sees the namespaces of this test only."""

    def observe(self) -> dict[str, DhcpDevice | Unsound[DhcpDevice]]:
        return {n: d for n, d in super().observe().items() if as_read(d).namespace.startswith(OWN)}


@pytest.fixture(autouse=True)
def namespaces(netns: int) -> Iterator[None]:
    made = (DEVICE.namespace, OTHER.namespace)
    for name in made:
        subprocess.run(["ip", "netns", "add", name], check=True)
    yield
    for name in made:
        subprocess.run(["ip", "netns", "del", name], check=True)


def bring(driver: DhcpDeviceDriver, *wanted: DhcpDevice) -> Changes[DhcpDevice]:
    changes = diff({one.name: one for one in wanted}, driver.observe())
    driver.apply(Changes(create=changes.create, replace=changes.replace))
    driver.apply(Changes(delete=changes.delete))
    return changes


def within(command: str, device: DhcpDevice = DEVICE) -> str:
    with inside(device.namespace):
        argv = ["/bin/sh", "-ec", command]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_devices_are_made_once() -> None:
    driver = Driver(run)
    assert bring(driver, DEVICE, OTHER).create == (DEVICE, OTHER)
    assert not bring(driver, DEVICE, OTHER)
    assert not bring(Driver(run), DEVICE, OTHER)


def test_the_device_is_what_a_dhcp_server_needs(sh: Shell) -> None:
    bring(Driver(run), DEVICE)
    (inner,) = json.loads(within(f"ip -j addr show {DEVICE.name}"))
    assert (inner["address"], inner["mtu"], inner["operstate"]) == (DEVICE.mac, 1450, "UP")
    v4 = [f"{a['local']}/{a['prefixlen']}" for a in inner["addr_info"] if a["family"] == "inet"]
    assert v4 == [str(address) for address in DEVICE.addresses]
    assert within("ip route show default").startswith(f"default via 10.0.0.1 dev {DEVICE.name}")
    assert "tx-checksumming: off" in within(f"ethtool -k {DEVICE.name}")
    assert "inet6" not in sh(f"ip addr show {DEVICE.outer}")
    (outer,) = json.loads(sh(f"ip -j link show {DEVICE.outer}"))
    assert outer["ifalias"] == f"lessor-dhcp:{DEVICE.namespace}/{DEVICE.name}"
    assert "UP" in outer["flags"]


def test_a_gateway_beyond_the_subnet_is_reached_on_the_link() -> None:
    far = replace(DEVICE, gateway=IPv4Address("192.0.2.1"))
    driver = Driver(run)
    bring(driver, far)
    assert not bring(driver, far)
    assert "onlink" in within("ip route show default")


@pytest.mark.parametrize(
    "change",
    [
        {"addresses": DEVICE.addresses[1:]},
        {"addresses": (IPv4Interface("10.7.0.9/16"), METADATA)},
        {"addresses": DEVICE.addresses[::-1]},
        {"gateway": None},
        {"gateway": IPv4Address("10.1.0.1")},
        {"mtu": 1400},
        {"mac": "fa:16:3e:00:00:77"},
        {"outer": "otapx"},
    ],
    ids=str,
)
def test_a_change_is_applied_and_taken_back(change: dict[str, Any]) -> None:
    driver = Driver(run)
    for wanted in (DEVICE, replace(DEVICE, **change), DEVICE):
        assert bring(driver, wanted)
        assert not bring(driver, wanted)


def test_drift_is_set_right(sh: Shell) -> None:
    driver = Driver(run)
    bring(driver, DEVICE)
    name, outer = DEVICE.name, DEVICE.outer
    acts: tuple[Callable[[], str], ...] = (
        lambda: within(f"ip addr add 10.9.0.1/24 dev {name}"),
        lambda: within(f"ip addr del 10.0.0.2/24 dev {name}"),
        lambda: within("ip route del default"),
        lambda: within(f"ip route add default via 10.0.0.7 dev {name} metric 5"),
        lambda: within(f"ip link set {name} down"),
        lambda: within(f"ip link set {name} mtu 1500"),
        lambda: within(f"ethtool -K {name} tx on"),
        lambda: within(f"ip link del {name}"),
        lambda: sh(f"ip link set {outer} down"),
        lambda: sh(f"ip link set {outer} alias x"),
        lambda: sh(f"echo 0 >/proc/sys/net/ipv6/conf/{outer}/disable_ipv6"),
        lambda: sh(f"ip link del {outer}"),
    )
    for act in acts:
        act()
        assert bring(driver, DEVICE)
        assert not bring(driver, DEVICE)


def test_devices_go_and_their_namespaces_stay(sh: Shell) -> None:
    driver = Driver(run)
    bring(driver, DEVICE, OTHER)
    assert bring(driver, OTHER).delete == (DEVICE,)
    assert not bring(driver, OTHER)
    assert DEVICE.outer not in sh("ip link")
    assert (FOLDER / DEVICE.namespace).exists()


def test_without_its_namespace_it_is_pending_and_holds_up_no_other() -> None:
    driver = Driver(run)
    orphan = replace(OTHER, namespace=f"{OWN}none")
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver, DEVICE, orphan)
    (pending,) = caught.value.exceptions
    assert isinstance(pending, Pending)
    assert pending.key == orphan.name
    assert list(driver.observe()) == [DEVICE.name]


def test_a_device_of_somebody_else_in_its_place_is_a_conflict(sh: Shell) -> None:
    sh(f"ip link add {DEVICE.outer} type veth peer name theirs")
    with pytest.raises(ExceptionGroup) as caught:
        bring(Driver(run), DEVICE)
    assert caught.group_contains(Conflict, match="isn't ours")
    assert "theirs" in sh("ip link")


def test_it_survives_a_restart_of_ovs(ovs: Ovs) -> None:
    driver = Driver(run)
    bring(driver, DEVICE)
    ovs("ovs-vsctl", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    ovs("ovs-vsctl", "add-port", "br-int", DEVICE.outer)
    ovs.kill("ovs-vswitchd")
    assert not bring(driver, DEVICE)
    ovs.start_switch()
    ovs("ovs-vsctl", "set", "Open_vSwitch", ".", "external_ids:x=1")  # waits for it
    assert not bring(driver, DEVICE)
    subprocess.run(["ip", "link", "set", "br-int", "up"], check=True)
    subprocess.run(["ip", "addr", "add", "10.0.0.9/24", "dev", "br-int"], check=True)
    with socket.socket(type=socket.SOCK_DGRAM) as server, inside(DEVICE.namespace):
        server.bind(("10.0.0.9", 0))
        server.settimeout(10)
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.sendto(b"still here", server.getsockname())
        assert server.recv(100) == b"still here"


@pytest.mark.parametrize("lines_done", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("at", range(1, 4))
def test_killed_at_each_step_the_next_agent_goes_on(sh: Shell, at: int, lines_done: int) -> None:
    before = sh("ip -br link")
    left = at

    def dying(*argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        nonlocal left
        left -= 1
        if left:
            return run(*argv, stdin=stdin, timeout_s=timeout_s)
        some = (stdin or "").splitlines(keepends=True)[:lines_done]
        run(*argv, stdin="".join(some))
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        bring(Driver(dying), DEVICE, OTHER)
        bring(Driver(dying), OTHER)
    bring(Driver(run), DEVICE, OTHER)
    assert not bring(Driver(run), DEVICE, OTHER)
    bring(Driver(run))
    assert not bring(Driver(run))
    assert sh("ip -br link") == before


def test_one_that_ip_refuses_holds_up_no_other(sh: Shell) -> None:
    bad = replace(OTHER, mac="zz")
    worse = replace(OTHER, name=f"{NAME}-03", outer=f"o{NAME}-03", mtu=9)
    with pytest.raises(ExceptionGroup) as caught:
        bring(Driver(run), bad, DEVICE, worse)
    assert len(caught.value.exceptions) == 2
    assert Driver(run).observe()[DEVICE.name] == DEVICE
