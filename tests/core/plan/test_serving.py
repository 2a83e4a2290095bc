"""Which networks a DHCP host can't serve, by what a pass could not do."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest

from lessor.core.openflow.facts import NetworkFacts
from lessor.core.plan.desired import Desired
from lessor.core.plan.flat import Part
from lessor.core.plan.overlay import OverlayPart
from lessor.core.plan.serving import LASTING_S, Failure, Lasting, unserved
from lessor.core.state import Address, Bridge, DhcpRange, DhcpServer, HostState, Namespace
from lessor.model import Network
from lessor.settings import FlatMapping

FACTS = NetworkFacts.__new__(NetworkFacts)
SERVER = DhcpServer.__new__(DhcpServer)


def overlay(name: str, *, serves: bool = True) -> OverlayPart:
    return OverlayPart(
        network_id=name,
        name=name,
        facts=FACTS,
        namespace=Namespace.__new__(Namespace) if serves else None,
        server=SERVER if serves else None,
        own_ports=((f"port-{name}", f"tap-{name}"),) if serves else (),
    )


@pytest.fixture
def desired(monkeypatch: pytest.MonkeyPatch) -> Desired:
    parts = [overlay("red"), overlay("blue"), overlay("vms", serves=False)]
    for part in parts[:2]:
        assert part.namespace is not None
        object.__setattr__(part.namespace, "name", f"qdhcp-{part.network_id}")
    flat = Part(
        network=Network(id="office", name="office", network_type="flat", mtu=1500),
        mapping=FlatMapping.__new__(FlatMapping),
        bridge=Bridge(name="br100", interface="eth1", mtu=1500),
        addresses=(Address("br100", IPv4Interface("10.0.0.1/24")),),
        ranges=(DhcpRange.__new__(DhcpRange),),
    )
    return Desired(HostState(), parts=(flat,), overlay=tuple(parts))


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
