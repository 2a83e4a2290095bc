"""A VM moves to another host while it runs: its address stays, and DHCP there goes on with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from typing import Any

import pytest

from lessor.errors import CommandError
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.netns import in_netns
from lessor.lab.state import HostSpec
from lessor.lab.vm import NIC, NetnsVm
from tests.dhcpclient import ACK, NAK, DhcpClient, Reply
from tests.lab.firmware import Firmware
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


def renews(client: DhcpClient) -> bool:
    """Tell whether a renewal is answered; as long as the tap is down it can't be sent."""
    with suppress(OSError):
        return client.renew(1) is not None
    return False


@pytest.mark.parametrize("kind", ["vxlan", "single_host"])
def test_a_vm_has_its_network_on_a_prepared_host_before_its_binding_is_activated(
    lab: Lab, kind: str
) -> None:
    """As Nova moves it: its hypervisors make the taps, and say last that it has moved."""
    network = lab.network(f"n-{kind}", f"10.8{list(KINDS).index(kind)}.0.0/24", **KINDS[kind])
    vm = lab.boot(f"nova-{kind}".replace("_", "-"), OLD, network)
    assert isinstance(vm, NetnsVm)
    lab.wait_active(vm, LIMIT_S)
    with client_in(vm) as client:
        first = acked(client.acquire(10), vm)
        lab.api.bind(vm.state.port_id, NEW, {})
        assert client.renew(2), "it goes on where it is"
        moved(lab, vm)
        # what wakes the agent is the tap: nobody has said that the VM is there
        lab.wait_for(lambda: renews(client), LIMIT_S, "DHCP answers on the new host")
        assert lab.api.show("ports", vm.state.port_id)["binding:host_id"] == OLD
        reachable(vm, first)

        lab.api.activate(vm.state.port_id, NEW)
        assert client.renew(2)
        lab.wait_active(vm, LIMIT_S)
        lab.api.unbind(vm.state.port_id, OLD)
        assert client.renew(2)
    lab.exec(NEW, "ip", "link", "del", vm.tap)
    lab.api.delete("ports", vm.state.port_id)


def tap_on(lab: Lab, host: str, name: str) -> str:
    """Return what a host says of a tap; "": it has none."""
    return lab.exec(host, "sh", "-c", f"ip -o link show {name} 2>/dev/null || true")


@pytest.mark.parametrize("kind", ["vxlan", "single_host"])
def test_a_hypervisor_moves_a_vm_with_taps_that_the_agents_make(lab: Lab, kind: str) -> None:
    network = lab.network(f"h-{kind}", f"10.7{list(KINDS).index(kind)}.0.0/24", **KINDS[kind])
    body = {"network_id": network.id, "name": f"moving-{kind}"}
    port = lab.api.create("ports", body)
    name, mac = f"tap{port['id'][:11]}", port["mac_address"]

    def lessor(*argv: str) -> str:
        return lab.exec("server", "lessor", "port", *argv, timeout_s=60)

    lessor("plug", port["name"], "--host", OLD)
    with Firmware(lab.node(OLD).netns, name, mac) as running:
        address = running.boot().address
        with pytest.raises(CommandError, match=f"is plugged on {OLD}"):
            lessor("plug", port["name"], "--host", NEW)

        lessor("bind", port["name"], "--host", NEW)
        lab.wait_for(lambda: tap_on(lab, NEW, name), LIMIT_S, "the new host has a tap")
        with Firmware(lab.node(NEW).netns, name, mac) as coming:
            assert running.boot().address == address, "the VM goes on where it is"
            assert coming.boot(timeout_s=LIMIT_S).address == address, "the new host is ready"

            lessor("activate", port["name"], "--host", NEW)
            assert coming.boot(timeout_s=LIMIT_S).address == address
            assert tap_on(lab, OLD, name), "its hypervisor has it open"

    lessor("unbind", port["name"], "--host", OLD)
    lab.wait_for(lambda: not tap_on(lab, OLD, name), LIMIT_S, "the old host's tap is gone")
    lessor("plug", port["name"], "--host", OLD, "--move")
    lab.wait_for(lambda: not tap_on(lab, NEW, name), LIMIT_S, "the new host's tap is gone")
    lab.api.delete("ports", port["id"])
