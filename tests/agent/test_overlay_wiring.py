"""What an agent does differently where `local_ip` is set."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from lessor.agent.diagnosis.inspect import Inspector
from lessor.agent.kit import agent_kit, connection, lease_parts
from lessor.agent.overlay import Overlay
from lessor.agent.planner import HostPlanner
from lessor.core.plan.desired import Desired
from lessor.core.state import HostState
from lessor.errors import Unavailable
from lessor.model import Network, Port, Scope, View
from lessor.settings import AgentSettings

FLAT = ["sysctls", "bridges", "rulesets", "addresses", "dhcp_servers", "taps"]
HERE = IPv4Address("127.0.0.1")


def settings(folder: Path, **more: object) -> AgentSettings:
    fields = {
        "state_dir": folder,
        "host": "h1",
        "my_ip": HERE,
        "networks_path": folder / "networks",
        "ovsdb_connection": f"unix:{folder}/db.sock",
        "datapath_type": "netdev",
        **more,
    }
    return AgentSettings(**fields)  # type: ignore[arg-type] # a test's own names


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An agent has its socket until it ends; here it is closed."""
    with IPRoute() as opened:
        monkeypatch.setattr("lessor.agent.kit.IPRoute", lambda: opened)
        yield


def kinds(given: AgentSettings) -> list[str]:
    made = agent_kit(given, lease_parts(given), connection(given), metadata=None)
    made.close()
    return [kind.field for kind in made.kinds]


def test_a_host_without_local_ip_has_no_overlay_kinds(tmp_path: Path) -> None:
    assert kinds(settings(tmp_path)) == FLAT


def test_kinds_come_in_the_order_of_the_host_state(tmp_path: Path) -> None:
    assert kinds(settings(tmp_path, local_ip=HERE)) == [
        *("sysctls", "bridges", "namespaces", "ovs_bridges", "dhcp_devices"),
        *("rulesets", "addresses", "dhcp_servers", "taps", "ovs_ports", "flows"),
    ]


def view() -> View:
    """Two overlay networks with a VM's port here each."""
    scopes = {}
    for name in ("blue", "red"):
        network = Network(id=name, network_type="vxlan", segmentation_id=7, mtu=1450)
        port = Port(
            id=f"{name}-port-of-a-vm",
            network_id=name,
            mac_address="fa:16:3e:00:00:05",
            device_owner="compute:nova",
            binding_host="h1",
        )
        scopes[name] = Scope(revision=1, network=network, ports={port.id: port})
    return View(epoch="e", scopes=scopes)


class _Ovs(Overlay):
    """OVS that is away at first, and then says that "red" had local VLAN 1."""

    away = True

    def vlans(self) -> dict[str, int]:
        if self.away:
            raise Unavailable("OVS is away")
        return {"red": 1}


def test_networks_keep_the_local_vlans_that_ovs_has_once_it_answers(tmp_path: Path) -> None:
    given = settings(tmp_path, local_ip=HERE)
    ovs = _Ovs(given, tmp_path)
    planner = HostPlanner(given, ovs)

    def vlans() -> dict[str, int | None]:
        ports = planner.plan(view()).state.ovs_ports.values()
        return {port.network_id: port.vlan for port in ports if port.kind == "vif"}

    assert vlans() == {"blue": 1, "red": 2}
    ovs.away = False
    assert vlans() == {"blue": 2, "red": 1}
    ovs.away = True
    assert vlans() == {"blue": 2, "red": 1}, "asked once"


@pytest.mark.parametrize(
    ("local_ip", "words"),
    [
        pytest.param(None, [], id="no-overlay"),
        pytest.param(HERE, [], id="there"),
        pytest.param(
            IPv4Address("203.0.113.9"),
            ["local_ip 203.0.113.9 is on no interface of this host"],
            id="missing",
        ),
    ],
)
def test_a_local_ip_that_is_on_no_interface_is_said(
    tmp_path: Path, local_ip: IPv4Address | None, words: list[str]
) -> None:
    unused: Any = None
    inspector = Inspector(settings(tmp_path, local_ip=local_ip), unused, unused, unused)
    said = [problem.split(";")[0] for problem in inspector._local_ip(Desired(HostState()))]
    assert said == words
