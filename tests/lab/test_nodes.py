from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from lessor.errors import Conflict, Invalid, NotFound
from lessor.lab.cabling import OUTSIDE
from lessor.lab.lab import Lab
from lessor.lab.node import INIT_NAME, inits
from lessor.lab.process import Process, processes
from lessor.lab.state import HostSpec, VmState
from lessor.lab.vm import NetnsVm, tap_name

pytestmark = pytest.mark.lab

HOSTS = [HostSpec(name="h1", network_host=True), HostSpec(name="h2")]
PORT_ID = "3f2a9c1e-5b00-4000-8000-000000000001"
MAC = "fa:16:3e:00:00:01"
ADDRESS = IPv4Address("10.10.0.50")
GATEWAY = IPv4Address("10.10.0.1")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Hosts and cables, no server and no agents."""
    lab = Lab.up(tmp_path_factory.mktemp("bare") / "lab", HOSTS, services=False)
    yield lab
    lab.down()


@pytest.fixture(scope="module")
def vm(bare: Lab) -> NetnsVm:
    """A VM on h1, served by a plain dnsmasq there, on a bridge with the flat wire."""
    serve_dhcp(bare)
    vm = bare.plug(VmState(name="vm1", host="h1", port_id=PORT_ID, mac=MAC, assigned=ADDRESS))
    assert isinstance(vm, NetnsVm)
    bare.exec("h1", "ip", "link", "set", tap_name(PORT_ID), "master", "br100", "up")
    return vm


def serve_dhcp(lab: Lab) -> None:
    for line in (
        "link add br100 type bridge forward_delay 0",
        "link set eth1 master br100",
        f"addr add {GATEWAY}/24 dev br100",
        "link set br100 up",
    ):
        lab.exec("h1", "ip", *line.split())
    lab.exec("h1", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    lab.spawn(
        "h1",
        "dnsmasq",
        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root"),
        *("--port=0", "--leasefile-ro", "--no-ping", "--bind-interfaces", "--interface=br100"),
        f"--dhcp-range={GATEWAY},static,255.255.255.0,120s",
        f"--dhcp-host={MAC},{ADDRESS},vm1",
        "--dhcp-option-force=option:mtu,1450",
        "--dhcp-option=option:dns-server,192.0.2.53",
        f"--dhcp-option=option:classless-static-route,169.254.169.254/32,{GATEWAY},0.0.0.0/0,{GATEWAY}",
    )


def machine_links() -> str:
    return subprocess.run(("ip", "-o", "link"), capture_output=True, text=True, check=True).stdout


def test_this_machine_keeps_its_links_and_namespaces(tmp_path: Path) -> None:
    before = machine_links(), list_names(Path("/run/netns"))
    lab = Lab.up(tmp_path / "lab", HOSTS, services=False)
    try:
        lab.plug(VmState(name="vm1", host="h2", port_id=PORT_ID, mac=MAC))
        during = machine_links(), list_names(Path("/run/netns"))
    finally:
        lab.down()
    assert during == before
    assert (machine_links(), list_names(Path("/run/netns"))) == before


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_down_leaves_no_process(tmp_path: Path) -> None:
    lab = Lab.up(tmp_path / "lab", HOSTS, services=False)
    pid_namespaces = {
        (lab.node(name).root / "proc/1/ns/pid").readlink() for name in lab.state.nodes
    }
    lab.spawn("h2", "sleeper", "sleep", "1000")

    lab.down()

    lab.wait_for(lambda: not pid_namespaces & living_pid_namespaces(), timeout_s=5)
    assert list(inits(lab.folder)) == []
    with pytest.raises(NotFound):
        _ = lab.state


def living_pid_namespaces() -> set[Path]:
    found = set()
    for process, _ in processes():
        try:
            found.add(Path(f"/proc/{process.pid}/ns/pid").readlink())
        except OSError:
            continue
    return found


def test_down_ends_a_lab_whose_up_was_killed_halfway(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    program = (
        "import os, signal; from pathlib import Path; from lessor.lab import cabling, lab\n"
        "cabling.connect = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"lab.Lab.up(Path({str(folder)!r}), services=False)"
    )
    assert subprocess.run((sys.executable, "-c", program), check=False).returncode == -9
    assert {name for _, name in inits(folder)} == {"fabric", "outside"}

    Lab(folder).down()

    assert list(inits(folder)) == []


def test_a_second_lab_stands_beside_the_first(bare: Lab, tmp_path: Path) -> None:
    other = Lab.up(tmp_path / "lab", HOSTS, services=False)
    try:
        assert other.exec("h1", "hostname") == bare.exec("h1", "hostname") == "h1\n"
        bare.exec("h1", "touch", "/run/mine", "/var/lib/lessor/mine")
        assert other.exec("h1", "ls", "/var/lib/lessor") == ""
        assert "mine" not in other.exec("h1", "ls", "/run")
    finally:
        other.down()
    assert bare.node("h1").is_running()


def test_a_second_lab_in_the_same_folder_is_refused(bare: Lab) -> None:
    with pytest.raises(Conflict, match="lab down"):
        Lab.up(bare.folder, HOSTS, services=False)
    assert bare.node("h1").is_running()


@pytest.mark.parametrize("name", ["fabric", "server", "-h", "h_1", "h" * 64, ""])
def test_a_bad_host_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="lab host name"):
        Lab.up(tmp_path / "lab", [HostSpec(name=name)], services=False)


def test_a_host_has_only_its_own_processes_and_reaps_orphans(bare: Lab) -> None:
    node = bare.node("h2")
    node.exec("sh", "-c", "(sleep 0.05 & sleep 0.05 &)")

    def states() -> list[str]:
        """One may end between its being listed and being read."""
        text = node.exec("sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null || true")
        return [line.rpartition(")")[2].split()[0] for line in text.splitlines()]

    def is_quiet() -> bool:
        ours = [words for _, words in processes(node.proc) if words[-1] == "0.05"]
        return not ours and "Z" not in states() and len(states()) < 6

    bare.wait_for(is_quiet, timeout_s=20, what="orphans have ended and are reaped")
    assert any(INIT_NAME in words for _, words in processes(node.proc))


def test_hosts_reach_each_other_and_the_outside_until_cut(bare: Lab) -> None:
    def reaches() -> bool:
        return "1 packets received" in bare.exec(
            "h2", "sh", "-c", f"busybox ping -c1 -W1 {OUTSIDE} || true"
        )

    assert reaches()
    bare.cut("h2")
    assert not reaches()
    bare.heal("h2")
    bare.wait_for(reaches, timeout_s=5)


def test_a_vm_gets_what_dhcp_offers(vm: NetnsVm) -> None:
    lease = vm.dhcp(timeout_s=10)

    assert (lease.address, lease.prefix_length, lease.server) == (ADDRESS, 24, GATEWAY)
    assert (lease.mtu, lease.lease_time_s, lease.dns) == (1450, 120, (IPv4Address("192.0.2.53"),))
    assert lease.routes == (
        (IPv4Network("169.254.169.254/32"), GATEWAY),
        (IPv4Network("0.0.0.0/0"), GATEWAY),
    )
    assert lease.dora_ms is not None
    assert 0 < lease.dora_ms < 5000
    assert vm.lease() == lease
    assert vm.ping(GATEWAY)
    assert not vm.ping(IPv4Address("10.10.0.99"), timeout_s=1)
    assert "mtu 1450" in vm.exec("ip", "link", "show", "eth0")


def test_a_vm_renews_when_told(vm: NetnsVm, bare: Lab) -> None:
    vm.dhcp(timeout_s=10)
    before = vm.events().count("renew")

    vm.renew()

    bare.wait_for(lambda: vm.events().count("renew") > before, timeout_s=5)


def test_the_outside_says_who_asks(vm: NetnsVm, bare: Lab) -> None:
    vm.dhcp(timeout_s=10)
    bare.route_back(IPv4Network("10.10.0.0/24"), via="h1")

    assert vm.http(f"http://{OUTSIDE}/") == f"{ADDRESS}\n"


def test_a_killed_program_is_gone_and_only_it(bare: Lab) -> None:
    bare.spawn("h2", "one", "sleep", "1000")
    bare.spawn("h2", "two", "sleep", "1000")

    assert bare.kill("h2", "one") == 1

    assert (bare.is_running("h2", "one"), bare.is_running("h2", "two")) == (False, True)
    with pytest.raises(NotFound, match="no one runs on h2"):
        bare.kill("h2", "one")


def test_a_program_that_ends_before_the_signal_is_no_error(
    bare: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([True])
    monkeypatch.setattr("lessor.lab.node.is_alive", lambda *_: next(looks, False))

    assert bare.node("h2").kill(Process(pid=4_000_000, started=1)) is False


def test_an_unplugged_vm_takes_its_link_along(bare: Lab) -> None:
    port_id = PORT_ID.replace("3f2a", "4f2a")
    bare.plug(VmState(name="vm9", host="h2", port_id=port_id, mac="fa:16:3e:00:00:09"))
    assert tap_name(port_id) in bare.exec("h2", "ip", "link")

    bare.unplug("vm9")

    assert tap_name(port_id) not in bare.exec("h2", "ip", "link")
    assert "vm9" not in bare.state.vms
