"""A VM moves to another host while it runs: its address stays, and DHCP there goes on with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any

import pytest

from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.netns import in_netns
from lessor.lab.state import HostSpec
from lessor.lab.vm import NIC, NetnsVm
from tests.dhcpclient import ACK, NAK, DhcpClient, Reply
from tests.lab.frames import listening

pytestmark = pytest.mark.lab

LIMIT_S = 30
OLD, NEW = "cmp1", "cmp2"
KINDS: dict[str, dict[str, Any]] = {
    "vxlan": {"kind": "vxlan"},
    "multi_host": {"multi_host": True},
    "multi_host-shared": {"multi_host": True, "share_address": True},
    "single_host": {},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    hosts = [HostSpec(name="net1", network_host=True, overlay=True)]
    hosts += [HostSpec(name=name, overlay=True) for name in (OLD, NEW)]
    lab = Lab.up(tmp_path_factory.mktemp("move") / "lab", hosts)
    yield lab
    lab.down()


@contextmanager
def client_in(vm: NetnsVm) -> Iterator[DhcpClient]:
    client = in_netns(vm.netns_path(), lambda: DhcpClient(NIC, vm.state.mac))
    try:
        yield client
    finally:
        client.close()


def moved(lab: Lab, vm: NetnsVm) -> None:
    """Take the host's end of the VM's link to the new host: the guest notices nothing."""
    old, new = lab.node(OLD), lab.node(NEW)
    take = ("ip", "link", "set", vm.tap, "netns", str(new.init.pid))
    subprocess.run(["nsenter", f"--net={old.netns}", *take], check=True, capture_output=True)


def live_leases(lab: Lab, network: LabNetwork, host: str) -> list[dict[str, Any]]:
    return lab.api.list("leases", {"network_id": network.id, "host": host, "live": True})


def acked(reply: Reply | None, vm: NetnsVm) -> Reply:
    assert reply is not None, "nobody answered"
    assert (reply.kind, reply.address) == (ACK, vm.state.assigned)
    return reply


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_vm_keeps_its_address_when_it_moves(lab: Lab, kind: str) -> None:
    network = lab.network(kind, f"10.6{list(KINDS).index(kind)}.0.0/24", **KINDS[kind])
    vm = lab.boot(f"vm-{kind.replace('_', '-')}", OLD, network)
    assert isinstance(vm, NetnsVm)
    lab.wait_active(vm, LIMIT_S)
    with client_in(vm) as client, listening(vm.netns_path(), NIC) as seen:
        first = acked(client.acquire(10), vm)
        lab.wait_for(lambda: lab.api.list("leases", {"network_id": network.id}), LIMIT_S)

        lab.api.update("ports", vm.state.port_id, {"binding:host_id": NEW})
        moved(lab, vm)
        lab.wait_active(vm, LIMIT_S)

        renewed = client.renew(2)
        assert renewed is None or renewed.kind == ACK
        again = acked(client.rebind(str(vm.state.assigned), 10), vm)
        assert NAK not in {message.type for message in seen.dhcp}

    port = lab.api.show("ports", vm.state.port_id)
    assert [fixed["ip_address"] for fixed in port["fixed_ips"]] == [str(vm.state.assigned)]
    if kind.startswith("multi_host"):
        where(lab, network, vm, again)
    else:
        assert again.server == first.server
        assert renewed is not None
    reachable(vm, again)
    lab.exec(NEW, "ip", "link", "del", vm.tap)
    lab.api.delete("ports", vm.state.port_id)


def where(lab: Lab, network: LabNetwork, vm: NetnsVm, again: Reply) -> None:
    """The new host serves the VM, and the old one has let it go."""
    gateway = lab.exec(NEW, "ip", "-o", "-4", "addr", "show", "dev", "br100")
    assert f" {again.server}/24 " in gateway
    lab.wait_for(lambda: live_leases(lab, network, NEW), LIMIT_S, "the new host has the lease")
    lab.wait_for(lambda: not live_leases(lab, network, OLD), LIMIT_S, "the old host has none")
    files = lab.exec(OLD, "sh", "-c", "cat /var/lib/lessor/networks/* 2>/dev/null || true")
    assert vm.state.mac not in files


def reachable(vm: NetnsVm, reply: Reply) -> None:
    """Give the guest what it was told and look whether its gateway or DHCP server answers."""
    vm.exec("ip", "addr", "replace", f"{reply.address}/24", "dev", NIC)
    server = IPv4Address(reply.server)
    assert any(vm.ping(server, timeout_s=2) for _ in range(5))
