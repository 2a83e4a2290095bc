from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from lessor.core.around import NOTHING, Around, Connected
from lessor.core.plan.desired import Planner
from lessor.model import FixedIp, Network, Pool, Port, Scope, Subnet, View
from lessor.settings import AgentSettings, FlatMapping

SETTINGS = AgentSettings(
    state_dir=Path("/s"),
    host="net",
    my_ip=IPv4Address("192.0.2.1"),
    flat_mappings=(FlatMapping(physical_network="physnet1", bridge="br100", interface="eth1"),),
)


def scope(name: str, number: int, *, host: str = "net", physical: str = "physnet1") -> Scope:
    cidr = IPv4Network(f"10.0.{number}.0/24")
    subnet = Subnet(
        id=f"s-{name}", network_id=name, cidr=cidr, gateway_ip=cidr[1], pools=(Pool(cidr[2], cidr[9]),)
    )  # fmt: skip
    port = Port(
        id=f"{number:08x}-0000-4000-8000-000000000000",
        network_id=name,
        mac_address=f"fa:16:3e:00:00:{number:02x}",
        fixed_ips=(FixedIp(subnet.id, cidr[2]),),
        binding_host="net",
        device_id="vm",
        created_at=float(number),
    )
    network = Network(id=name, name=name, physical_network=physical, host=host)
    return Scope(revision=1, network=network, subnets={subnet.id: subnet}, ports={port.id: port})


BLUE, RED = scope("blue", 1), scope("red", 2)


def view(*scopes: Scope) -> View:
    return View(epoch="e", scopes={s.network.id: s for s in scopes})


GUARDS = ("nft bridge lessor", "nft inet lessor_host", "nft arp lessor_host")


def test_an_empty_view_asks_only_that_bridges_are_closed_to_unknown_ports() -> None:
    state = Planner(SETTINGS).desired(View()).state
    assert [name for name in state.__slots__ if getattr(state, name)] == ["rulesets"]
    assert sorted(state.rulesets) == sorted(GUARDS)
    assert 'wires { "eth1" }' in state.rulesets[GUARDS[0]].text
    assert 'bridges { "br100" }' in state.rulesets[GUARDS[1]].text


def test_nothing_is_desired_of_a_host_without_bridges() -> None:
    state = Planner(replace(SETTINGS, flat_mappings=())).desired(View()).state
    assert not any(getattr(state, name) for name in state.__slots__)


def test_ports_that_an_operator_names_are_wires() -> None:
    state = Planner(replace(SETTINGS, flat_bridge_ports=("veth7",))).desired(View()).state
    assert 'wires { "eth1", "veth7" }' in state.rulesets[GUARDS[0]].text


def test_two_networks_of_one_bridge_share_its_dhcp_server_and_listener() -> None:
    state = Planner(SETTINGS).desired(view(BLUE, RED)).state
    assert list(state.bridges) == ["br100"]
    assert [len(server.ranges) for server in state.dhcp_servers.values()] == [2]
    assert state.metadata["br100"].networks == ("blue", "red")
    assert sorted(state.addresses) == [
        "br100 10.0.1.1/24",
        "br100 10.0.2.1/24",
        "lo 169.254.169.254/32",
    ]


def test_a_host_that_is_no_gateway_forwards_nothing_and_has_no_address() -> None:
    state = Planner(replace(SETTINGS, host="compute")).desired(view(BLUE)).state
    assert (state.sysctls, state.addresses, state.dhcp_servers, state.metadata) == ({}, {}, {}, {})
    assert list(state.bridges) == ["br100"]


@pytest.mark.parametrize(
    ("firewall", "name"), [("nftables", "nft inet lessor"), ("iptables", "iptables")]
)
def test_the_gateway_rules_are_of_the_chosen_firewall(firewall: str, name: str) -> None:
    state = Planner(replace(SETTINGS, gateway_firewall=firewall)).desired(view(BLUE)).state
    assert sorted(state.rulesets) == sorted([*GUARDS, name])


def test_a_network_that_has_no_bridge_here_is_a_problem_and_holds_up_no_other() -> None:
    lost = scope("lost", 3, physical="physnet9")
    desired = Planner(SETTINGS).desired(view(BLUE, lost))
    assert "network lost is on physical network physnet9" in desired.problems[0].text
    assert list(desired.state.dhcp_servers) == ["br100"]


def test_metadata_elsewhere_needs_no_listener_here() -> None:
    chosen = replace(SETTINGS, metadata_host=IPv4Address("192.0.2.9"))
    state = Planner(chosen).desired(view(BLUE)).state
    assert (state.metadata, list(state.addresses)) == ({}, ["br100 10.0.1.1/24"])


def test_one_default_gateway_a_vm_is_that_of_its_oldest_port() -> None:
    chosen = replace(SETTINGS, use_single_default_gateway=True)
    server = Planner(chosen).desired(view(BLUE, RED)).state.dhcp_servers["br100"]
    assert {key: r.router for key, r in server.reservations.items()} == {
        "10.0.1.2": True,
        "10.0.2.2": False,
    }


def test_a_network_that_did_not_change_is_not_computed_again() -> None:
    planner = Planner(SETTINGS)
    before = planner.desired(view(BLUE, RED))
    after = planner.desired(view(BLUE, replace(RED, revision=2)))
    assert after.plans[0] is before.plans[0]
    assert after.plans[1] is not before.plans[1]


INET = "nft inet lessor"
MANAGEMENT = Around(connected=(Connected("eth2", IPv4Network("192.0.2.0/24")),))


def test_a_network_that_the_host_gets_is_closed_to_vms_at_once() -> None:
    planner = Planner(SETTINGS)
    closed = "add element inet lessor no_forward { 192.0.2.0/24 }"
    texts = [
        planner.desired(view(BLUE), around).state.rulesets[INET].text
        for around in (NOTHING, MANAGEMENT, NOTHING)
    ]
    assert [closed in text for text in texts] == [False, True, False]


def test_networks_of_one_bridge_are_apart_unless_a_setting_joins_them() -> None:
    texts = [
        Planner(settings).desired(view(BLUE, RED)).state.rulesets[GUARDS[0]].text
        for settings in (SETTINGS, replace(SETTINGS, joined_cidr=(IPv4Network("10.0.0.0/8"),)))
    ]
    assert ["of_br100_blue" in text for text in texts] == [True, False]
    assert "ranges { 10.0.1.0/24, 10.0.2.0/24 }" in texts[0]
    assert "routers { 10.0.1.1, 10.0.2.1 }" in texts[0]
    assert "joined { 10.0.0.0/8 . 10.0.0.0/8 }" in texts[1]
