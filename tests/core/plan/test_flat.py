from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from lessor.core.plan.flat import FlatPlanner
from lessor.core.plan.network import Inputs, NetworkPlan
from lessor.core.plan.reserve import Reserved
from lessor.core.state import DhcpRange, Tap
from lessor.model import (
    DHCP_OWNER,
    AddressPair,
    DhcpOption,
    FixedIp,
    HostRoute,
    Network,
    Pool,
    Port,
    Scope,
    Subnet,
)
from lessor.settings import AgentSettings, FlatMapping

MAPPING = FlatMapping(physical_network="physnet1", bridge="br100", interface="eth1")
SETTINGS = AgentSettings(state_dir=Path("/s"), host="net", my_ip=IPv4Address("192.0.2.1"))
BLUE = Network(id="blue", physical_network="physnet1", host="net")
GATEWAY = IPv4Address("10.0.0.1")
SUBNET = Subnet(
    id="s",
    network_id="blue",
    cidr=IPv4Network("10.0.0.0/24"),
    gateway_ip=GATEWAY,
    dhcp_server=GATEWAY,
    pools=(Pool(IPv4Address("10.0.0.2"), IPv4Address("10.0.0.254")),),
)


def port(number: int, host: str | None = None, **more: object) -> Port:
    values: dict[str, object] = {
        "id": f"{number:08x}-5bb2-4d6c-8a6e-0123456789ab",
        "network_id": "blue",
        "mac_address": f"fa:16:3e:00:00:{number:02x}",
        "fixed_ips": (FixedIp("s", IPv4Address(f"10.0.0.{number}")),),
        "binding_host": host,
    }
    return Port(**(values | more))  # type: ignore[arg-type]


def plan(
    host: str, *ports: Port, network: Network = BLUE, subnet: Subnet = SUBNET, **settings: object
) -> NetworkPlan:
    scope = Scope(
        revision=1, network=network, subnets={"s": subnet}, ports={p.id: p for p in ports}
    )
    chosen = replace(SETTINGS, host=host, flat_mappings=(MAPPING,), **settings)  # type: ignore[arg-type]
    return FlatPlanner(chosen).plan(scope, Inputs(), None)


def reserved(made: NetworkPlan) -> list[str]:
    return sorted(str(reservation.address) for reservation in made.reserved.by_port.values())


def addresses(made: NetworkPlan) -> list[str]:
    return [str(address.interface) for address in made.state.addresses.values()]


def ranges(made: NetworkPlan) -> tuple[DhcpRange, ...]:
    return tuple(r for server in made.state.dhcp_servers.values() for r in server.ranges)


def taps(made: NetworkPlan) -> list[Tap]:
    return list(made.state.taps.values())


HERE, THERE = port(5, "net"), port(6, "compute")


def test_the_network_host_serves_every_port_and_wires_its_own() -> None:
    made = plan("net", HERE, THERE)
    assert reserved(made) == ["10.0.0.5", "10.0.0.6"]
    assert [tap.name for tap in taps(made)] == ["tap00000005-5b"]
    assert addresses(made) == ["10.0.0.1/24"]
    assert not made.state.bridges["br100"].tx_checksum


def test_a_compute_host_has_the_bridge_and_no_address() -> None:
    made = plan("compute", HERE, THERE)
    assert (addresses(made), made.gateways, ranges(made), made.reserved) == ([], (), (), Reserved())
    assert [tap.name for tap in taps(made)] == ["tap00000006-5b"]
    assert made.state.bridges["br100"].interface == "eth1"


MULTI = replace(BLUE, multi_host=True, host=None)
OWN = port(9, "compute", device_owner=DHCP_OWNER)


def test_multi_host_serves_its_own_ports_from_its_own_address() -> None:
    made = plan("compute", HERE, THERE, OWN, network=MULTI)
    assert reserved(made) == ["10.0.0.6"]
    assert addresses(made) == ["10.0.0.9/24"]
    assert [str(range_.router) for range_ in ranges(made)] == ["10.0.0.9"]
    assert not made.gateways[0].isolated


def test_multi_host_without_an_address_of_its_own_yet_serves_nothing() -> None:
    made = plan("compute", THERE, network=MULTI)
    assert (made.gateways, made.reserved) == ((), Reserved())


def test_multi_host_without_a_vm_here_is_no_gateway() -> None:
    assert not plan("net", THERE, OWN, network=MULTI).gateways


def test_a_shared_address_is_the_same_everywhere_and_isolated() -> None:
    made = plan("compute", THERE, network=replace(MULTI, share_address=True))
    assert addresses(made) == ["10.0.0.1/24"]
    assert made.gateways[0].isolated
    assert made.guards[0].local_dhcp


@pytest.mark.parametrize(
    ("gateway", "server", "external", "router"),
    [
        pytest.param("10.0.0.1", "10.0.0.1", False, "10.0.0.1", id="ours"),
        pytest.param("10.0.0.254", "10.0.0.1", True, "10.0.0.254", id="a-router-of-somebody"),
        pytest.param(None, "10.0.0.1", True, "None", id="none"),
    ],
)
def test_a_gateway_that_is_not_the_dhcp_server_is_external(
    gateway: str | None, server: str, external: bool, router: str
) -> None:
    subnet = replace(
        SUBNET,
        gateway_ip=IPv4Address(gateway) if gateway else None,
        dhcp_server=IPv4Address(server),
    )
    made = plan("net", subnet=subnet)
    assert (made.gateways[0].external, str(ranges(made)[0].router)) == (external, router)


def test_a_subnet_without_dhcp_has_a_gateway_and_no_reservations() -> None:
    made = plan("net", HERE, subnet=replace(SUBNET, enable_dhcp=False))
    assert (ranges(made), made.reserved, len(made.gateways)) == ((), Reserved(), 1)


def test_one_address_of_a_port_is_told_by_dhcp() -> None:
    two = (FixedIp("s", IPv4Address("10.0.0.8")), FixedIp("s", IPv4Address("10.0.0.7")))
    assert reserved(plan("net", replace(HERE, fixed_ips=two))) == ["10.0.0.8"]


def test_a_guard_allows_what_the_port_has_and_its_pairs() -> None:
    pairs = (AddressPair(IPv4Network("10.0.0.200/32")),)
    guard = plan("net", replace(HERE, allowed_address_pairs=pairs)).guards[0]
    assert guard.macs == (HERE.mac_address,)
    assert [str(network) for _, network in guard.sources] == ["10.0.0.5/32", "10.0.0.200/32"]
    assert guard.dhcp_servers == (GATEWAY,)


def test_without_port_security_nothing_is_checked() -> None:
    guard = plan("net", replace(HERE, port_security_enabled=False)).guards[0]
    assert (guard.macs, guard.sources) == ((), ())


def test_what_the_api_says_of_a_subnet_and_a_port_reaches_dhcp() -> None:
    route = HostRoute(IPv4Network("172.16.0.0/16"), IPv4Address("10.0.0.77"))
    dns = (IPv4Address("9.9.9.9"),)
    subnet = replace(SUBNET, host_routes=(route,), dns_nameservers=dns)
    option = DhcpOption("tftp-server", "10.0.0.3")
    network = replace(BLUE, mtu=1400, dns_domain="blue.example.")
    made = plan("net", replace(HERE, extra_dhcp_opts=(option,)), subnet=subnet, network=network)
    range_ = ranges(made)[0]
    assert (range_.mtu, range_.dns, range_.domain) == (1400, dns, "blue.example")
    assert range_.routes == ((route.destination, route.nexthop),)
    assert made.reserved.by_address["10.0.0.5"].options == (("tftp-server", "10.0.0.3"),)


def test_network_dns_servers_are_asked_by_dnsmasq_where_the_flag_says_so() -> None:
    subnet = replace(SUBNET, dns_nameservers=(IPv4Address("9.9.9.9"),))
    made = plan("net", subnet=subnet, use_network_dns_servers=True, dns_server=("1.1.1.1",))
    assert (made.state.dhcp_servers["br100"].upstream_dns, ranges(made)[0].dns) == (
        ("1.1.1.1", "9.9.9.9"),
        (),
    )


def test_a_port_that_is_down_has_its_tap_down() -> None:
    assert not taps(plan("net", replace(HERE, admin_state_up=False)))[0].up


def test_vm_sources_are_the_pools_and_what_was_given_outside_them() -> None:
    pools = (Pool(IPv4Address("10.0.0.100"), IPv4Address("10.0.0.200")),)
    made = plan("net", HERE, port(150, "net"), subnet=replace(SUBNET, pools=pools))
    assert [f"{first}-{last}" for first, last in made.gateways[0].vm_sources] == [
        "10.0.0.5-10.0.0.5",
        "10.0.0.100-10.0.0.200",
    ]


def test_a_reservation_is_made_again_only_when_its_row_changed() -> None:
    planner = FlatPlanner(replace(SETTINGS, flat_mappings=(MAPPING,)))

    def then(before: NetworkPlan | None, *ports: Port) -> NetworkPlan:
        scope = Scope(
            revision=1, network=BLUE, subnets={"s": SUBNET}, ports={p.id: p for p in ports}
        )
        return planner.plan(scope, Inputs(), before)

    before = then(None, HERE, THERE)
    after = then(before, HERE, replace(THERE, name="web"))
    assert after.reserved.by_port[HERE.id] is before.reserved.by_port[HERE.id]
    assert after.reserved.by_address["10.0.0.6"].hostname == "web"


def test_dns_knows_the_addresses_of_a_vm_that_dhcp_does_not_tell() -> None:
    both = (FixedIp("s", IPv4Address("10.0.0.5")), FixedIp("s", IPv4Address("10.0.0.15")))
    made = plan("net", port(5, "net", fixed_ips=both, dns_name="web"), port(6, "net"))
    assert made.state.dhcp_servers["br100"].names == ((IPv4Address("10.0.0.15"), "web.novalocal"),)
    assert reserved(made) == ["10.0.0.5", "10.0.0.6"]
    assert plan("compute", port(5, "compute", fixed_ips=both)).state.dhcp_servers == {}


def test_a_prepared_host_has_the_tap_of_a_vm_that_is_to_come_guarded_on_its_bridge() -> None:
    moving = port(5, "net", prepared_for={"compute": True})
    made = plan("compute", moving)
    (tap,) = taps(made)
    assert (tap.name, tap.bridge, tap.managed, tap.up) == ("tap00000005-5b", "br100", True, True)
    assert [guard.tap for guard in made.guards] == [tap.name]
    assert made.reserved == Reserved()
    assert plan("other", moving).state.taps == {}


def test_a_host_of_a_multi_host_network_is_no_gateway_before_the_vm_is_there() -> None:
    shared = replace(BLUE, multi_host=True, share_address=True)
    moving = port(5, "net", prepared_for={"compute": False})
    assert plan("net", moving, network=shared).gateways
    made = plan("compute", moving, network=shared)
    assert (len(taps(made)), made.gateways, made.reserved) == (1, (), Reserved())
