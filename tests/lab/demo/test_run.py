from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lessor.lab.demo import overlay as demo_overlay
from lessor.lab.demo.checks import look
from lessor.lab.demo.overlay import OverlayDemo
from lessor.lab.demo.run import HOSTS, NETWORKS, VMS, Demo, _verdict, as_json, show
from lessor.lab.lab import Lab

pytestmark = pytest.mark.lab

Shown = tuple[Lab, Demo, OverlayDemo]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    lab = Lab.up(tmp_path_factory.mktemp("demo") / "lab", HOSTS)
    try:
        yield lab, *show(lab)
    finally:
        lab.down()


def test_the_demo_finds_all_as_it_should_be(shown: Shown) -> None:
    _, demo, overlay = shown
    assert demo.failures + overlay.all_failures() == []
    answer = as_json(demo, overlay)
    assert answer["ok"]
    flat = [network for network in answer["networks"] if network["type"] == "flat"]
    assert {network["name"]: network["multi_host"] for network in flat} == {
        name: multi_host for name, (_, multi_host) in NETWORKS.items()
    }
    vms = [vm for network in flat for vm in network["vms"]]
    assert sorted(vm["name"] for vm in vms) == sorted(name for name, *_ in VMS)
    assert [vm["name"] for vm in vms if vm["real"]] == ["vm5"]
    for vm in vms:
        assert vm["assigned"] == vm["leased"]
        assert vm["gateway_ok"]
        assert vm["metadata_ok"]
        assert vm["outside_ok"]
        assert vm["dora_ms"] > 0
    assert len(answer["leases"]) == len(VMS) + len(demo_overlay.VMS)


@pytest.mark.long
def test_all_is_the_same_without_dnsmasq(tmp_path: Path) -> None:
    lab = Lab.up(tmp_path / "lab", HOSTS, {"dhcp_driver": "native"})
    try:
        demo, overlay = show(lab)
        assert demo.failures + overlay.all_failures() == []
        assert not any(lab.node(host).find("dnsmasq") for host in ("cmp1", "cmp2"))
    finally:
        lab.down()


def test_the_demo_keeps_equal_addresses_of_overlay_networks_apart(shown: Shown) -> None:
    _, demo, overlay = shown
    answer = as_json(demo, overlay)
    networks = [network for network in answer["networks"] if network["type"] == "vxlan"]
    assert {network["cidr"] for network in networks} == {demo_overlay.CIDR}
    assert len({network["vni"] for network in networks}) == len(networks) == 2
    assigned = [sorted(vm["assigned"] for vm in network["vms"]) for network in networks]
    assert assigned[0] == assigned[1]
    for network in networks:
        assert network["dhcp_hosts"] == network["discover_copies"] == 1
        for vm in network["vms"]:
            assert vm["assigned"] == vm["leased"]
            assert vm["metadata_ok"]
            assert vm["neighbour_ok"]
    assert 0 < answer["failover_s"] < 30


def test_a_vm_that_is_not_as_it_should_be_is_named(shown: Shown) -> None:
    lab, _, _ = shown
    vm = lab.vm("vm3")
    lab.kill("cmp1", "agent")  # nobody answers metadata
    seen = look(lab, vm, seen_as=IPv4Address("192.0.2.99"))
    assert (seen.gateway_ok, seen.metadata_ok, seen.outside_ok) == (True, False, False)
    assert "metadata has no instance-id" in seen.failures
    assert "the outside sees 192.0.2.13, 192.0.2.99 is right" in seen.failures


def test_a_failed_check_is_named_and_the_exit_status_is_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="1"):
        _verdict(["vm3: its gateway doesn't answer"], tmp_path, 1.0)
    assert "vm3: its gateway doesn't answer" in capsys.readouterr().err
