from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

import pytest

from lessor.core.openflow.facts import NetworkFacts
from lessor.core.openflow.int_flows import int_flows
from lessor.core.openflow.tun_flows import tun_flows
from lessor.core.plan.desired import Planner
from lessor.core.plan.network import NetworkPlan
from lessor.core.plan.overlay import tunnel_name
from lessor.core.plan.ready import Found, PortReports
from lessor.core.plan.vlans import local_vlans
from lessor.core.state import DhcpServer
from lessor.core.vmport import hosts_of
from lessor.errors import Exhausted
from lessor.model import DHCP_OWNER, FixedIp, Network, Port, Scope, Subnet, View
from lessor.settings import AgentSettings

PEERS = {name: IPv4Address(f"203.0.113.{n}") for n, name in enumerate(("net", "a", "b"), 10)}
CIDR = IPv4Network("10.0.0.0/24")
BLUE = Network(id="blue", name="blue", network_type="vxlan", segmentation_id=1001, mtu=1450)
SUBNET = Subnet(id="s", network_id="blue", cidr=CIDR, gateway_ip=CIDR[1])


def port(number: int, host: str, **more: object) -> Port:
    values: dict[str, object] = {
        "id": f"{number:08x}-5bb2-4d6c-8a6e-0123456789ab",
        "network_id": "blue",
        "mac_address": f"fa:16:3e:00:00:{number:02x}",
        "fixed_ips": (FixedIp("s", CIDR[number]),),
        "binding_host": host,
    }
    return Port(**(values | more))  # type: ignore[arg-type]


DHCP, HERE, THERE = port(2, "net", device_owner=DHCP_OWNER), port(5, "a"), port(6, "b")


def scope(*ports: Port) -> Scope:
    return Scope(
        revision=1,
        network=BLUE,
        subnets={"s": SUBNET},
        ports={p.id: p for p in ports},
        peers={host: ip for host, ip in PEERS.items() if any(host in hosts_of(p) for p in ports)},
    )


def settings(host: str, **more: object) -> AgentSettings:
    values = {
        "state_dir": Path("/s"),
        "host": host,
        "my_ip": IPv4Address("192.0.2.1"),
        "local_ip": PEERS[host],
    }
    return AgentSettings(**(values | more))  # type: ignore[arg-type]


def plan(host: str, *ports: Port) -> NetworkPlan:
    view = View(epoch="e", scopes={"blue": scope(*ports)})
    return Planner(settings(host)).desired(view).plans[0]


def facts(host: str, *ports: Port) -> NetworkFacts:
    found = plan(host, *ports).facts
    assert found
    return found


def server(host: str, *ports: Port) -> DhcpServer:
    return plan(host, *ports).state.dhcp_servers["blue"]


ALL = (DHCP, HERE, THERE)


def lines(text: tuple[str, ...], *parts: str) -> list[str]:
    return [line for line in text if all(one in line for one in parts)]


def test_a_dhcp_broadcast_leaves_only_towards_the_hosts_that_serve() -> None:
    found = facts("a", *ALL)
    assert lines(int_flows([found]), "in_port=tap00000005-5b,udp,dl_dst=ff") == [
        (
            "table=60,priority=100,in_port=tap00000005-5b,udp,dl_dst=ff:ff:ff:ff:ff:ff,tp_dst=67,"
            "actions=meter:tap00000005-5b,mod_vlan_vid:1,output:patch-tun"
        )
    ]
    assert lines(tun_flows([found]), "table=24,", "dl_vlan=1") == [
        "table=24,priority=1,dl_vlan=1,actions=strip_vlan,set_tunnel:0x3e9,output:vxlan-cb00710a"
    ]


def test_other_broadcasts_reach_every_host_with_a_port_and_no_other() -> None:
    assert lines(tun_flows([facts("a", *ALL)]), "table=22,", "dl_vlan") == [
        (
            "table=22,priority=1,dl_vlan=1,actions=strip_vlan,set_tunnel:0x3e9,"
            "output:vxlan-cb00710a,output:vxlan-cb00710c"
        )
    ]
    assert lines(tun_flows([facts("a", DHCP, HERE)]), "vxlan-cb00710c") == []


def test_the_dhcp_taps_mac_leads_to_the_tunnel_of_its_host() -> None:
    flows = tun_flows([facts("a", *ALL)])
    assert lines(flows, "table=20,", DHCP.mac_address) == [
        (
            "table=20,priority=2,dl_vlan=1,dl_dst=fa:16:3e:00:00:02,"
            "actions=strip_vlan,set_tunnel:0x3e9,output:vxlan-cb00710a"
        )
    ]
    assert len(lines(flows, "table=21,", "arp_tpa=10.0.0.6")) == 1


def test_a_broadcast_that_arrives_reaches_the_dhcp_server_and_no_vm() -> None:
    assert lines(int_flows([facts("net", *ALL)]), "table=60", "in_port=patch-tun") == [
        (
            "table=60,priority=100,in_port=patch-tun,reg6=0x1,udp,dl_dst=ff:ff:ff:ff:ff:ff,"
            "tp_dst=67,actions=output:otap00000002-5b"
        )
    ]
    [arrived] = lines(int_flows([facts("b", *ALL)]), "table=60", "in_port=patch-tun")
    assert arrived.endswith("=drop")


def test_a_vm_sends_as_itself_and_never_as_a_dhcp_server() -> None:
    flows = int_flows([facts("a", *ALL)])
    tap = "in_port=tap00000005-5b"
    assert lines(flows, f"ip,{tap},dl_src=fa:16:3e:00:00:05,nw_src=10.0.0.5/32")
    answers = lines(flows, f"udp,{tap},tp_src=67,actions=load:3->NXM_NX_REG0[],resubmit(,90)")
    assert len(answers) == 1
    refused = [f"table=90,priority=1,reg0={n},{tap},actions=drop" for n in (1, 2, 3)]
    assert lines(flows, "reg0=") == refused
    assert lines(flows, f"arp,{tap},arp_sha=fa:16:3e:00:00:05,arp_spa=10.0.0.5/32")


def test_without_port_security_only_the_way_and_the_rate_of_dhcp_requests_are_fixed() -> None:
    flows = int_flows([facts("a", DHCP, replace(HERE, port_security_enabled=False))])
    of_vm = lines(flows, "in_port=tap00000005-5b")
    assert [line.split(",")[0] for line in of_vm] == ["table=0", *["table=60"] * 4]
    assert of_vm[0].endswith("resubmit(,60)")
    assert [line.endswith("=drop") or "meter:" in line for line in of_vm[1:]] == [True] * 4


def test_a_renewal_goes_through_the_meter_too() -> None:
    flows = int_flows([facts("a", *ALL)])
    assert lines(flows, "table=60,priority=98") == [
        (
            "table=60,priority=98,udp,in_port=tap00000005-5b,tp_dst=67,"
            "actions=meter:tap00000005-5b,resubmit(,61)"
        )
    ]


def test_no_flow_leaves_it_to_the_switch_where_a_frame_goes() -> None:
    flows = int_flows([facts("a", *ALL)])
    assert not lines(flows, "NORMAL")
    assert lines(flows, "table=0,priority=0,") == ["table=0,priority=0,actions=drop"]


def test_the_dhcp_host_has_namespace_device_server_and_listener() -> None:
    state = plan("net", *ALL).state
    assert list(state.namespaces) == ["qdhcp-blue"]
    (device,), (listener,) = state.dhcp_devices.values(), state.metadata.values()
    assert (device.name, device.outer) == ("tap00000002-5b", "otap00000002-5b")
    assert [str(i) for i in device.addresses] == ["10.0.0.2/24", "169.254.169.254/32"]
    assert (listener.interface, listener.namespace) == (device.name, device.namespace)
    made = state.dhcp_servers["blue"]
    assert sorted(made.reservations) == ["10.0.0.5", "10.0.0.6"]
    assert not made.peers
    route = made.ranges[0].routes[-1]
    assert (str(route[0]), str(route[1])) == ("169.254.169.254/32", "10.0.0.2")


def test_two_dhcp_servers_are_both_named_and_each_has_a_peer() -> None:
    other = port(3, "b", device_owner=DHCP_OWNER)
    made = server("net", *ALL, other)
    assert [str(address) for address in made.ranges[0].dns] == ["10.0.0.2", "10.0.0.3"]
    assert made.peers


def test_a_host_without_a_tunnel_address_says_so() -> None:
    view = View(epoch="e", scopes={"blue": scope(*ALL)})
    desired = Planner(settings("a", local_ip=None)).desired(view)
    assert "set local_ip" in desired.problems[0].text
    assert desired.state.flows == {}


def test_a_vm_port_is_wired_when_tap_ovs_port_and_flows_are_there() -> None:
    made = plan("a", *ALL)
    whole = Found(taps=made.state.taps, ovs_ports=made.state.ovs_ports, flows=True)
    assert PortReports().of((made,), whole)[HERE.id].wired
    for less in (
        replace(whole, taps={}),
        replace(whole, ovs_ports={}),
        replace(whole, flows=False),
    ):
        assert PortReports().of((made,), less)[HERE.id].wired is False


def test_a_network_keeps_its_local_vlan_and_a_new_one_takes_the_lowest_free() -> None:
    assert local_vlans({"b": 1, "gone": 2}, ["a", "b", "c"]) == {"b": 1, "a": 2, "c": 3}
    assert local_vlans({"a": 7, "b": 7}, ["a", "b"]) == {"a": 7, "b": 1}
    with pytest.raises(Exhausted, match="all 4094 are in use"):
        local_vlans({}, [str(number) for number in range(4095)])


def test_a_tunnel_to_an_ipv6_end_is_named_after_a_digest_of_it() -> None:
    """As Neutron names it: base 32 of SHA-1 of the address as text (sha1sum, base32 say so)."""
    assert tunnel_name(IPv6Address("2001:db8::7")) == "vxlan-4cclnb2dy"


def test_ends_of_two_ip_versions_have_no_tunnel_and_it_is_said() -> None:
    other = replace(scope(*ALL), peers={**PEERS, "b": IPv6Address("2001:db8::b")})
    desired = Planner(settings("a")).desired(View(epoch="e", scopes={"blue": other}))
    tunnels = [one for one in desired.state.ovs_ports.values() if one.kind == "vxlan"]
    assert [dict(one.options)["remote_ip"] for one in tunnels] == [str(PEERS["net"])]
    assert desired.problems[0].text.startswith("network blue: no tunnel leads to b, whose local_ip")


def test_dns_knows_the_addresses_of_a_vm_that_dhcp_does_not_tell() -> None:
    both = (FixedIp("s", CIDR[5]), FixedIp("s", CIDR[15]))
    made = server("net", DHCP, port(5, "a", fixed_ips=both, dns_name="web"), THERE)
    assert made.names == ((CIDR[15], "web.novalocal"),)


def test_a_prepared_host_is_wired_before_the_vm_comes() -> None:
    moving = port(5, "a", prepared_for={"b": False})
    made = plan("b", DHCP, moving)
    (tap,) = made.state.taps.values()
    assert (tap.name, tap.managed, tap.up) == ("tap00000005-5b", False, True)
    assert [one.name for one in made.state.ovs_ports.values() if one.kind == "vif"] == [tap.name]
    assert facts("b", DHCP, moving).tunnels == ("vxlan-cb00710a", "vxlan-cb00710b")
    elsewhere = plan("b", DHCP, port(5, "a", prepared_for={"c": False}), THERE)
    assert tap.name not in elsewhere.state.taps


def test_frames_reach_a_vm_that_moves_on_both_hosts() -> None:
    """As soon as it runs on the new host, before the binding is activated."""
    moving = port(5, "a", prepared_for={"b": False})
    unicast = f"dl_dst={moving.mac_address}"
    (far,) = lines(tun_flows([facts("net", DHCP, moving)]), "table=20,", unicast)
    assert far.endswith("output:vxlan-cb00710b,output:vxlan-cb00710c")
    for host, other in (("a", "vxlan-cb00710c"), ("b", "vxlan-cb00710b")):
        found = facts(host, DHCP, moving)
        (here,) = lines(int_flows([found]), "table=61,priority=3", unicast)
        assert here.endswith("actions=output:tap00000005-5b,mod_vlan_vid:1,output:patch-tun")
        (there,) = lines(tun_flows([found]), "table=20,", unicast)
        assert there.endswith(f"output:{other}")
