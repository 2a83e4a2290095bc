"""Agents, zones and how full networks are, through the real `openstack` client."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from tests.clients.started import Openstack, needs_clients

pytestmark = [pytest.mark.clients, needs_clients]


def dhcp_host(openstack: Openstack, number: int, **said: Any) -> str:
    """Make a host that may serve DHCP on vxlan networks; return its agent's id."""
    end = IPv4Address(f"192.0.2.{number}")
    return openstack.server.make_host(f"h{number}", local_ip=end, network_host=True, **said)


def test_agents_are_listed_and_shown(openstack: Openstack) -> None:
    key = dhcp_host(openstack, 1)
    (agent,) = openstack("network agent list")
    assert (agent["ID"], agent["Host"], agent["Agent Type"]) == (key, "h1", "DHCP agent")
    assert openstack(f"network agent show {key}")["host"] == "h1"
    assert openstack("network agent list --agent-type dhcp --host h1") == [agent]
    assert openstack("network agent list --host h2") == []
    openstack.server.make_host("h2", local_ip=IPv4Address("192.0.2.2"))  # a compute host
    assert openstack("network agent list --agent-type dhcp") == [agent]
    (other,) = openstack("network agent list --agent-type open-vswitch")
    assert (other["Host"], other["Agent Type"]) == ("h2", "Open vSwitch agent")


def test_a_network_is_served_by_the_agents_it_is_given_to(openstack: Openstack) -> None:
    first, second = (dhcp_host(openstack, number) for number in (1, 2))
    openstack("network create blue --provider-network-type vxlan")
    openstack("subnet create blue4 --network blue --subnet-range 10.1.0.0/24")
    (serving,) = openstack("network agent list --network blue")
    other = second if serving["ID"] == first else first
    openstack.run("network", "agent", "add", "network", "--dhcp", other, "blue")
    both = openstack("network agent list --network blue --sort-column Host")
    assert [row["Host"] for row in both] == ["h1", "h2"]
    assert [row["Name"] for row in openstack(f"network list --agent {other}")] == ["blue"]
    openstack.run("network", "agent", "remove", "network", "--dhcp", serving["ID"], "blue")
    (left,) = openstack("network agent list --network blue")
    assert left["ID"] == other


def test_zones_are_listed_and_asked_for(openstack: Openstack) -> None:
    dhcp_host(openstack, 1, availability_zone="west")
    dhcp_host(openstack, 2, availability_zone="east")
    zones = openstack("availability zone list --network --sort-column", "Zone Name")
    assert zones == [{"Zone Name": name, "Zone Status": "available"} for name in ("east", "west")]
    network = openstack(
        "network create blue --provider-network-type vxlan --availability-zone-hint west"
    )
    assert network["availability_zone_hints"] == ["west"]
    openstack("subnet create blue4 --network blue --subnet-range 10.1.0.0/24")
    assert openstack("network show blue")["availability_zones"] == ["west"]
    (agent,) = openstack("network agent list --network blue")
    assert agent["Availability Zone"] == "west"
    assert "north" in openstack.refusal("network create red --availability-zone-hint north")


def test_how_full_networks_are_is_listed_and_shown(openstack: Openstack) -> None:
    openstack("network create blue")
    openstack("subnet create blue4 --network blue --subnet-range 10.1.0.0/29")
    openstack("port create --network blue p1")
    (row,) = openstack("ip availability list")
    assert (row["Network Name"], row["Total IPs"], row["Used IPs"]) == ("blue", 5, 1)
    assert openstack("ip availability list --ip-version 6") == []
    shown = openstack("ip availability show blue")
    assert (shown["total_ips"], shown["used_ips"]) == (5, 1)
    assert shown["subnet_ip_availability"][0]["cidr"] == "10.1.0.0/29"
