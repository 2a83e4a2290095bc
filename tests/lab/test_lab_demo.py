from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lessor.lab import demo_tables
from lessor.lab.demo import NETWORKS, VMS, Demo, _verdict, show
from lessor.lab.demo_checks import look
from lessor.lab.lab import Lab, usual_hosts

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Demo]]:
    lab = Lab.up(tmp_path_factory.mktemp("demo") / "lab", usual_hosts())
    try:
        yield lab, show(lab)
    finally:
        lab.down()


def test_the_demo_finds_all_as_it_should_be(shown: tuple[Lab, Demo]) -> None:
    _, demo = shown
    assert demo.failures == []
    answer = demo_tables.as_json([*demo.networks.values()], demo.seen, demo.leases, ok=True)
    assert {network["name"]: network["multi_host"] for network in answer["networks"]} == {
        name: multi_host for name, (_, multi_host) in NETWORKS.items()
    }
    vms = [vm for network in answer["networks"] for vm in network["vms"]]
    assert sorted(vm["name"] for vm in vms) == sorted(name for name, *_ in VMS)
    assert [vm["name"] for vm in vms if vm["real"]] == ["vm5"]
    for vm in vms:
        assert vm["assigned"] == vm["leased"]
        assert vm["gateway_ok"]
        assert vm["metadata_ok"]
        assert vm["outside_ok"]
        assert vm["dora_ms"] > 0
    assert len(answer["leases"]) == len(VMS)


def test_a_vm_that_is_not_as_it_should_be_is_named(shown: tuple[Lab, Demo]) -> None:
    lab, _ = shown
    vm = lab.vm("vm3")
    lab.kill("cmp1", "agent")  # nobody answers metadata
    seen = look(lab, vm, seen_as=IPv4Address("192.0.2.99"))
    assert (seen.gateway_ok, seen.metadata_ok, seen.outside_ok) == (True, False, False)
    assert "metadata has no instance-id" in seen.failures
    assert "the outside sees 192.0.2.12, 192.0.2.99 is right" in seen.failures


def test_a_failed_check_is_named_and_the_exit_status_is_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="1"):
        _verdict(["vm3: its gateway doesn't answer"], tmp_path, 1.0)
    assert "vm3: its gateway doesn't answer" in capsys.readouterr().err
