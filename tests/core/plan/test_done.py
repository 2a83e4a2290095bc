"""Which networks a host may say are done, by what a pass could not do."""

from __future__ import annotations

from typing import Any

import pytest

from lessor.core.plan.desired import Desired
from lessor.core.plan.done import is_settled, networks_done
from lessor.core.plan.network import NetworkPlan
from lessor.core.plan.serving import Failure
from lessor.core.state import Bridge, HostState, Tap
from lessor.model import Network, Scope, View

NAMES = ("office", "red", "blue")


def tap(name: str) -> Tap:
    return Tap(name=name, port_id=name, bridge="br100", mtu=1500, managed=False, up=True)


def plan(name: str, **things: dict[str, Any]) -> NetworkPlan:
    state = HostState(taps={f"tap-{name}": tap(f"tap-{name}")}, **things)
    return NetworkPlan(network=Network(id=name, name=name), state=state)


OFFICE = plan("office", bridges={"br100": Bridge(name="br100", interface="eth1")})
DESIRED = Desired(HostState(), plans=(OFFICE, plan("red"), plan("blue")))
VIEW = View(
    epoch="e",
    scopes={
        name: Scope(revision=number, network=Network(id=name, name=name))
        for number, name in enumerate(NAMES, 1)
    },
)


@pytest.mark.parametrize(
    ("failure", "done"),
    [
        pytest.param(Failure("taps", "tap-office", ""), {"red", "blue"}, id="tap"),
        pytest.param(Failure("taps", "tap-of-no-port", ""), set(), id="tap-to-be-removed"),
        pytest.param(Failure("taps", "tap-red", "", waits=True), set(NAMES), id="tap-not-made-yet"),
        pytest.param(Failure("ovs_ports", "tap-red", ""), {"office", "blue"}, id="ovs-port"),
        pytest.param(Failure("flows", "", ""), set(), id="flows"),
        pytest.param(Failure("flows", "br-int", ""), set(), id="flows-of-a-bridge"),
        pytest.param(Failure("rulesets", "nft bridge lessor", ""), set(), id="guards"),
        pytest.param(Failure("dhcp_servers", "br100", ""), {"red", "blue"}, id="flat-server"),
        pytest.param(Failure("dhcp_servers", "red", "", waits=True), {"office", "blue"}, id="busy"),
        pytest.param(Failure("addresses", "10.0.0.1", ""), set(), id="address"),
        pytest.param(Failure("namespaces", "qdhcp-gone", ""), set(), id="namespace"),
        pytest.param(Failure("metadata", "br100", ""), set(NAMES), id="metadata"),
    ],
)
def test_a_network_is_done_when_nothing_of_it_serves_or_admits_a_vm(
    failure: Failure, done: set[str]
) -> None:
    assert networks_done(VIEW, DESIRED, [failure]).keys() == done
    assert is_settled([failure]) is (done == set(NAMES))


def test_without_failures_all_are_done_at_their_revisions() -> None:
    assert networks_done(VIEW, DESIRED, []) == {"office": 1, "red": 2, "blue": 3}
    assert is_settled([])
