from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from lessor.core.metadata.network_data import network_data
from lessor.model import FixedIp, HostRoute, MetadataFacts, Network, Port, Subnet

DHCP = Subnet(
    id="dhcp",
    network_id="blue",
    cidr=IPv4Network("10.0.0.0/24"),
    gateway_ip=IPv4Address("10.0.0.1"),
    dns_nameservers=(IPv4Address("9.9.9.9"),),
)
STATIC = Subnet(
    id="static",
    network_id="red",
    cidr=IPv4Network("192.168.4.0/22"),
    gateway_ip=IPv4Address("192.168.4.1"),
    enable_dhcp=False,
    dns_nameservers=(IPv4Address("9.9.9.9"), IPv4Address("1.1.1.1")),
    host_routes=(HostRoute(IPv4Network("172.16.0.0/12"), IPv4Address("192.168.4.9")),),
)
FIRST = Port(
    id="aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
    network_id="blue",
    mac_address="fa:16:3e:00:00:01",
    fixed_ips=(FixedIp("dhcp", IPv4Address("10.0.0.5")),),
    created_at=1.0,
)
SECOND = Port(
    id="00000000-bbbb-4ccc-8ddd-eeeeeeeeeeee",
    network_id="red",
    mac_address="fa:16:3e:00:00:02",
    fixed_ips=(FixedIp("static", IPv4Address("192.168.5.7")),),
    created_at=2.0,
)
FACTS = MetadataFacts(
    port=SECOND,
    ports=(SECOND, FIRST),
    networks={
        "blue": Network(id="blue", mtu=1500),
        "red": Network(id="red", network_type="vxlan", mtu=1450),
    },
    subnets={"dhcp": DHCP, "static": STATIC},
)


def test_two_nics_one_by_dhcp_one_static() -> None:
    assert network_data(FACTS) == {
        "links": [
            {
                "id": "tapaaaaaaaa-bb",
                "vif_id": FIRST.id,
                "type": "bridge",
                "mtu": 1500,
                "ethernet_mac_address": "fa:16:3e:00:00:01",
            },
            {
                "id": "tap00000000-bb",
                "vif_id": SECOND.id,
                "type": "ovs",
                "mtu": 1450,
                "ethernet_mac_address": "fa:16:3e:00:00:02",
            },
        ],
        "networks": [
            {
                "id": "network0",
                "type": "ipv4_dhcp",
                "link": "tapaaaaaaaa-bb",
                "network_id": "blue",
            },
            {
                "id": "network1",
                "type": "ipv4",
                "link": "tap00000000-bb",
                "network_id": "red",
                "ip_address": "192.168.5.7",
                "netmask": "255.255.252.0",
                "routes": [
                    {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.168.4.1"},
                    {
                        "network": "172.16.0.0",
                        "netmask": "255.240.0.0",
                        "gateway": "192.168.4.9",
                    },
                ],
                "services": [
                    {"type": "dns", "address": "9.9.9.9"},
                    {"type": "dns", "address": "1.1.1.1"},
                ],
            },
        ],
        "services": [
            {"type": "dns", "address": "9.9.9.9"},
            {"type": "dns", "address": "1.1.1.1"},
        ],
    }


def test_static_subnet_without_gateway_has_no_default_route() -> None:
    isolated = replace(STATIC, gateway_ip=None, host_routes=())
    data = network_data(replace(FACTS, subnets={"static": isolated}))
    assert [network["routes"] for network in data["networks"]] == [[]]


def test_subnet_and_network_that_are_gone_leave_the_link() -> None:
    data = network_data(replace(FACTS, subnets={}, networks={}, ports=()))
    assert [link["vif_id"] for link in data["links"]] == [SECOND.id]
    assert data["networks"] == data["services"] == []


def test_two_addresses_of_a_dhcp_subnet_are_one_network() -> None:
    both = replace(FIRST, fixed_ips=(*FIRST.fixed_ips, FixedIp("dhcp", IPv4Address("10.0.0.6"))))
    data = network_data(replace(FACTS, port=both, ports=()))
    assert len(data["networks"]) == 1
