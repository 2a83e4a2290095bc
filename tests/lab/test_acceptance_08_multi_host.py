"""D3.8: with multi_host each host is the gateway of its own VMs; nothing leaks to other hosts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address

import pytest

from lessor.lab.demo.dora import OFFER
from lessor.lab.lab import FABRIC
from lessor.lab.vm import NIC, NetnsVm
from lessor.net.address import Address
from tests.lab.frames import REPLY, Wire, listening
from tests.lab.stage import Stage

pytestmark = pytest.mark.lab

HOSTS = ("cmp1", "cmp2")


@contextmanager
def cables(stage: Stage, *hosts: str) -> Iterator[dict[str, Wire]]:
    with ExitStack() as stack:
        yield {host: stack.enter_context(stage.cable(host)) for host in hosts}


def look_for(vm: NetnsVm, address: Address) -> str:
    """Return the MAC that answers a VM's ARP for an address, which a ping follows."""
    vm.exec("ip", "neigh", "flush", "all")
    assert vm.ping(address, timeout_s=5)
    return vm.exec("ip", "neigh", "show", str(address)).split()[4]


def test_d3_08_two_hosts_are_gateways_of_their_own_vms(walled: Stage) -> None:
    network = walled.network("10.8.0.0/24", multi_host=True)
    leases = {host: walled.vm(host, network).lease() for host in HOSTS}

    routers = {host: lease.router for host, lease in leases.items() if lease}
    assert None not in routers.values()
    assert len(set(routers.values())) == len(HOSTS)
    for host, vm in zip(HOSTS, walled.vms, strict=True):
        router, lease = routers[host], leases[host]
        assert router is not None and lease is not None
        assert f" {router}/24 " in walled.bridge_addresses(host)
        assert lease.server == router
        assert walled.state(network, router) == "server"
        assert look_for(vm, router) == walled.bridge_mac(host)


def test_d3_08_dhcp_of_a_multi_host_network_stays_on_its_host(walled: Stage) -> None:
    """Also where all hosts have the same address, and a broadcast would find every server."""
    network = walled.network("10.8.1.0/24", multi_host=True, share_address=True)
    own = walled.network("10.8.2.0/24", multi_host=True)
    elsewhere = walled.network("10.8.3.0/24")  # its DHCP server is net1: this crosses the wire
    vms = [walled.plugged(host, one) for one in (network, own) for host in HOSTS]
    control = walled.plugged("cmp1", elsewhere)

    with cables(walled, *HOSTS) as wires, listening(vms[0].netns_path(), NIC) as seen:
        for vm in vms:
            vm.dhcp(timeout_s=30)
        control.dhcp(timeout_s=30)
        walled.wait(
            lambda: all(any(m.mac == control.state.mac for m in w.dhcp) for w in wires.values()),
            "the control's DHCP is seen on both cables",
        )
        macs = {message.mac for wire in wires.values() for message in wire.dhcp}
        offers = [message for message in seen.dhcp if message.type == OFFER]

    assert macs == {control.state.mac}
    assert len({m.xid for m in offers}) == len(offers) == 1
    assert walled.counter("cmp1", "wire_dhcp") > 0


def test_d3_08_a_shared_gateway_is_each_host_s_own_and_its_arp_does_not_cross(
    walled: Stage,
) -> None:
    network = walled.network("10.8.4.0/24", multi_host=True, share_address=True)
    elsewhere = walled.network("10.8.5.0/24")  # its gateway is net1's
    first, second = (walled.vm(host, network) for host in HOSTS)
    control = walled.vm("cmp1", elsewhere)
    gateway, other = network.gateway, elsewhere.gateway
    assert gateway is not None and other is not None and second.state.assigned is not None

    with cables(walled, *HOSTS) as wires:
        found = {vm.state.host: look_for(vm, gateway) for vm in (first, second)}
        look_for(first, second.state.assigned)
        look_for(control, other)
        arps = [arp for wire in wires.values() for arp in wire.arps]

    assert found == {host: walled.bridge_mac(host) for host in HOSTS}
    assert [arp for arp in arps if gateway in {arp.sender, arp.target}] == []
    assert {second.state.assigned, other} <= {arp.target for arp in arps}


def test_d3_08_a_shared_gateway_answers_nobody_on_the_wire(walled: Stage) -> None:
    network = walled.network("10.8.6.0/24", multi_host=True, share_address=True)
    elsewhere = walled.network("10.8.7.0/24")
    for host in HOSTS:
        walled.plugged(host, network)
    walled.plugged("cmp1", elsewhere)
    gateway, control = network.gateway, elsewhere.gateway
    assert isinstance(gateway, IPv4Address) and isinstance(control, IPv4Address)
    asker, mac = IPv4Address("10.8.6.99"), "fa:16:3e:00:ee:01"
    before = {host: walled.counter(host, "wire_arp") for host in HOSTS}

    with (
        listening(walled.lab.node(FABRIC).netns, "flat") as wire,
        cables(walled, "net1", *HOSTS) as wires,
    ):
        wire.ask_who_has(gateway, asker, mac)
        for host in HOSTS:
            walled.wait(
                lambda h=host: walled.counter(h, "wire_arp") > before[h], f"{host} drops it"
            )
        wire.ask_who_has(control, IPv4Address("10.8.7.99"), mac)
        walled.wait(lambda: control in repliers(wires["net1"]), "the control's gateway answers")
        answered = {address for wire in wires.values() for address in repliers(wire)}

    assert answered == {control}


def repliers(wire: Wire) -> list[IPv4Address]:
    return [arp.sender for arp in wire.arps if arp.operation == REPLY]
