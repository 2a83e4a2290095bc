from __future__ import annotations

import shutil
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lessor.errors import CommandError
from lessor.lab.cabling import OUTSIDE
from lessor.lab.guest import image as guest_image
from lessor.lab.guest.image import build_guest, default_cache
from lessor.lab.guest.package import kernel_tree, nic_modules
from lessor.lab.guest.realvm import RealVm
from lessor.lab.lab import Lab
from lessor.lab.services import start_outside
from lessor.lab.state import HostSpec, VmState
from lessor.lab.vm import tap_name

pytestmark = pytest.mark.lab

PORT_ID = "3f2a9c1e-5b00-4000-8000-00000000000a"
MAC = "fa:16:3e:00:00:0a"
ADDRESS, GATEWAY = IPv4Address("10.10.0.60"), IPv4Address("10.10.0.1")


@pytest.fixture
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealVm]:
    """A guest on a tap of ours, with a plain dnsmasq on the bridge."""
    lab = Lab.up(tmp_path_factory.mktemp("real") / "lab", [HostSpec(name="h1")], services=False)
    tap = tap_name(PORT_ID)
    commands = (
        "link add br100 type bridge forward_delay 0",
        f"addr add {GATEWAY}/24 dev br100",
        "link set br100 up",
        f"tuntap add {tap} mode tap",
        f"link set {tap} master br100 up",
    )
    lab.node("h1").exec("ip", "-batch", "-", stdin="\n".join(commands) + "\n")
    lab.exec("h1", "ip", "addr", "add", "169.254.169.254/32", "dev", "br100")
    lab.exec("h1", "ip", "addr", "add", f"{OUTSIDE}/32", "dev", "br100")
    start_outside(lab.node("h1"))  # stands for metadata and the outside: says who asks
    lab.spawn(
        "h1",
        "dnsmasq",
        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0"),
        *("--leasefile-ro", "--no-ping", "--bind-interfaces", "--interface=br100"),
        f"--dhcp-range={GATEWAY},static,255.255.255.0,120s",
        f"--dhcp-host={MAC},{ADDRESS}",
    )
    state = VmState(name="vm1", host="h1", port_id=PORT_ID, mac=MAC, assigned=ADDRESS, real=True)
    vm = lab.plug(state)
    assert isinstance(vm, RealVm)
    yield vm
    vm.stop()
    lab.down()


def test_a_real_guest_takes_its_lease_and_stays_up_with_a_shell(vm: RealVm) -> None:
    lease = vm.dhcp(timeout_s=60)

    assert (lease.address, lease.router, lease.lease_time_s) == (ADDRESS, GATEWAY, 120)
    assert lease.dora_ms is not None
    assert lease.dora_ms > 0
    report = vm.report(timeout_s=60)
    assert report["GATEWAY"] == "ok"
    assert report["instance-id"] == report["hostname"] == report["OUTSIDE"] == str(ADDRESS)
    assert "x86_64" in vm.exec("uname", "-m")
    with pytest.raises(CommandError, match="exit 3"):
        vm.exec("sh", "-c", "exit 3")
    current = vm.lease()
    assert current is not None
    assert current.address == ADDRESS


@pytest.fixture
def no_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave the NIC's modules out of the guest."""
    build_guest(default_cache())
    tree = kernel_tree(default_cache(), lambda _: None)
    if not nic_modules(tree):
        pytest.skip("the kernel of this system has the drivers built in")
    cache = tmp_path / "lessor"
    shutil.copytree(tree / "boot", cache / tree.name / "boot")
    (cache / tree.name / "lib").symlink_to(tree / "lib")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(guest_image, "nic_modules", lambda _: [])


def test_a_guest_that_says_why_it_cant_start_is_not_waited_for(
    no_modules: None, vm: RealVm
) -> None:
    with pytest.raises(CommandError, match="VM vm1: its guest can't start: no NIC"):
        vm.dhcp(timeout_s=60)
