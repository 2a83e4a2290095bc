"""Which networks a DHCP host can't serve, by what a pass could not do."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface

import pytest

from lessor.core.openflow.facts import NetworkFacts
from lessor.core.plan.desired import Desired
from lessor.core.plan.network import NetworkPlan, OwnPort
from lessor.core.plan.serving import LASTING_S, Failure, Lasting, unserved
from lessor.core.state import (
    Bridge,
    DeviceAddress,
    DhcpDevice,
    DhcpServer,
    HostState,
    Namespace,
    OvsBridge,
    OvsPort,
)
from lessor.model import Network

SERVER = DhcpServer.__new__(DhcpServer)
SWITCH = {"br-int": OvsBridge("br-int", "netdev")}
VIF = OvsPort("tap0974aaaa-11", "br-int", "vif")


def overlay(name: str, *, serves: bool = True) -> NetworkPlan:
    own = OwnPort(f"port-{name}", f"tap-{name}")
    space = f"qdhcp-{name}"
    device = DhcpDevice(own.thing, f"o{own.thing}", space, "fa:16:3e:00:00:01", 1450, ())
    state = HostState(ovs_bridges=SWITCH, ovs_ports={VIF.name: VIF})
    if serves:
        state = replace(
            state,
            namespaces={space: Namespace(space)},
            dhcp_devices={device.name: device},
            dhcp_servers={name: SERVER},
        )
    return NetworkPlan(
        network=Network(id=name, name=name),
        state=state,
        own_ports=(own,) if serves else (),
        facts=NetworkFacts(vni=1, vlan=1),
    )


def flat() -> NetworkPlan:
    address = DeviceAddress("br100", IPv4Interface("10.0.0.1/24"))
    state = HostState(
        bridges={"br100": Bridge(name="br100", interface="eth1")},
        addresses={address.key: address},
        dhcp_servers={"br100": SERVER},
    )
    return NetworkPlan(network=Network(id="office", name="office"), state=state)


@pytest.fixture
def desired() -> Desired:
    plans = (flat(), overlay("red"), overlay("blue"), overlay("vms", serves=False))
    return Desired(HostState(), plans=plans)


@pytest.mark.parametrize(
    ("failure", "networks"),
    [
        (Failure("flows", "", "connection refused"), {"red", "blue"}),
        (Failure("flows", "br-int", "ovs-vswitchd is not running"), {"red", "blue"}),
        (Failure("ovs_ports", "tap-red", "no such device"), {"red"}),
        (Failure("ovs_ports", "tap0974aaaa-11", "no such device"), set()),
        (Failure("flows", "tap0974aaaa-11", "wait for port", waits=True), set()),
        (Failure("namespaces", "qdhcp-blue", "no"), {"blue"}),
        (Failure("dhcp_servers", "red", "address already in use"), {"red"}),
        (Failure("dhcp_servers", "red", "reloads in 0.4 s", waits=True), set()),
        (Failure("dhcp_servers", "br100", "address already in use"), {"office"}),
        (Failure("bridges", "br100", "eth1 is not there", waits=True), {"office"}),
        (Failure("bridges", "", "no"), {"office"}),
        (Failure("addresses", "", "no"), {"office"}),
        (Failure("namespaces", "", "no"), {"red", "blue"}),
        (Failure("dhcp_servers", "", "no"), {"office", "red", "blue"}),
        (Failure("taps", "", "no"), set()),
    ],
)
def test_a_failure_concerns_the_networks_served_with_it(
    desired: Desired, failure: Failure, networks: set[str]
) -> None:
    assert unserved(desired, [failure], "br-int") == dict.fromkeys(networks, failure.text)


def test_the_first_failure_is_the_reason(desired: Desired) -> None:
    failures = [Failure("flows", "", "cause"), Failure("dhcp_servers", "red", "effect")]
    assert unserved(desired, failures)["red"] == "cause"


def test_what_fails_for_a_moment_is_not_said() -> None:
    lasting = Lasting()
    assert lasting.of({"red": "a"}, 100) == {}
    assert lasting.of({"red": "b"}, 100 + LASTING_S) == {"red": "b"}
    assert lasting.of({}, 104) == {}
    assert lasting.of({"red": "a"}, 105) == {}
