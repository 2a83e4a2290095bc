"""The real `openstack` client against a real server process."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.clients.started import CLIENTS, Openstack, environment, needs_clients

pytestmark = [pytest.mark.clients, needs_clients]


def names(rows: list[dict[str, str]]) -> list[str]:
    return sorted(row["Name"] for row in rows)


def test_the_program_itself_asks_the_server(endpoint: str, tmp_path: Path) -> None:
    argv = [str(CLIENTS / "openstack"), "network", "list", "-f", "json"]
    env = environment(tmp_path, OS_AUTH_TYPE="none", OS_ENDPOINT=endpoint)
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=True)
    assert json.loads(done.stdout) == []


def test_network_subnet_and_port_live_their_whole_lives(openstack: Openstack) -> None:
    openstack.server.make_host("h1")
    network = openstack(
        "network create blue --provider-network-type flat --provider-physical-network physnet1"
        " --mtu 1400 --description",
        "a net",
    )
    assert (network["name"], network["mtu"], network["description"]) == ("blue", 1400, "a net")
    assert network["provider:physical_network"] == "physnet1"
    assert network["status"] == "ACTIVE"

    subnet = openstack(
        "subnet create blue4 --network blue --subnet-range 10.1.0.0/24"
        " --allocation-pool start=10.1.0.10,end=10.1.0.20 --dns-nameserver 10.1.0.5"
        " --host-route destination=10.9.0.0/16,gateway=10.1.0.9"
    )
    assert subnet["gateway_ip"] == "10.1.0.1"
    assert subnet["allocation_pools"] == [{"start": "10.1.0.10", "end": "10.1.0.20"}]
    assert subnet["host_routes"] == [{"destination": "10.9.0.0/16", "nexthop": "10.1.0.9"}]

    port = openstack(
        "port create vm1 --network blue --fixed-ip subnet=blue4,ip-address=10.1.0.12"
        " --mac-address fa:16:3e:00:00:09 --device vm-1 --host h1 --dns-name vm1"
        " --extra-dhcp-option name=ntp-server,value=10.1.0.3"
        " --allowed-address ip-address=10.1.0.0/28"
    )
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.1.0.12"}]
    assert port["mac_address"] == "fa:16:3e:00:00:09"
    assert port["binding_vif_type"] == "tap"

    assert names(openstack("network list")) == ["blue"]
    assert openstack("network list")[0]["Subnets"] == [subnet["id"]]
    assert [row["Subnet"] for row in openstack("subnet list --network blue")] == ["10.1.0.0/24"]
    listed = openstack("port list --network blue --fixed-ip ip-address=10.1.0.12")
    assert names(listed) == ["vm1"]
    assert openstack("port list --mac-address fa:16:3e:00:00:0a") == []

    openstack.run("network", "set", "blue", "--name", "azure")
    openstack.run("subnet", "set", "blue4", "--dns-nameserver", "10.1.0.6")
    openstack.run("port", "set", "vm1", "--name", "vm2", "--no-fixed-ip")
    openstack.run("port", "set", "vm2", "--fixed-ip", "subnet=blue4")
    openstack.run("port", "unset", "vm2", "--host")
    assert openstack("network show azure")["id"] == network["id"]
    assert openstack("subnet show blue4")["dns_nameservers"] == ["10.1.0.6", "10.1.0.5"]
    shown = openstack("port show vm2")
    assert len(shown["fixed_ips"]) == 1
    assert shown["binding_vif_type"] == "unbound"

    openstack.run("port", "delete", "vm2")
    openstack.run("subnet", "delete", "blue4")
    openstack.run("network", "delete", "azure")
    assert openstack("network list") == []


def test_what_the_client_asks_of_the_server_itself_is_answered(openstack: Openstack) -> None:
    aliases = {row["Alias"] for row in openstack("extension list --network")}
    assert {"provider", "binding", "agent"} <= aliases
    assert openstack("extension show agent")["alias"] == "agent"
    assert openstack("network agent list") == []


def test_refusals_reach_the_user_as_sentences(openstack: Openstack) -> None:
    assert "eth9" in openstack.refusal("network create x --provider-physical-network eth9")
    assert "No Network found for nothing" in openstack.refusal("network show nothing")


def test_tags_are_set_shown_filtered_by_and_taken_away(openstack: Openstack) -> None:
    openstack("network create blue --tag web --tag prod")
    openstack("network create red --tag web")
    openstack("network create grey")
    assert sorted(openstack("network show blue")["tags"]) == ["prod", "web"]
    assert names(openstack("network list --tags web,prod")) == ["blue"]
    assert names(openstack("network list --any-tags web,prod")) == ["blue", "red"]
    assert names(openstack("network list --not-tags web,prod")) == ["grey", "red"]
    assert names(openstack("network list --not-any-tags web,prod")) == ["grey"]
    openstack.run("network", "unset", "--tag", "web", "blue")
    openstack.run("network", "set", "--tag", "night", "blue")
    assert sorted(openstack("network show blue")["tags"]) == ["night", "prod"]
    openstack.run("network", "unset", "--all-tag", "blue")
    assert openstack("network show blue")["tags"] == []
    subnet = openstack("subnet create s --network red --subnet-range 10.0.0.0/24 --tag a")
    port = openstack("port create p --network red --tag b")
    assert (subnet["tags"], port["tags"]) == (["a"], ["b"])


def test_prefixes_come_from_pools_of_an_address_scope(openstack: Openstack) -> None:
    scope = openstack("address scope create lan --ip-version 4")
    pool = openstack(
        "subnet pool create big --pool-prefix 10.8.0.0/16 --pool-prefix 10.10.0.0/16"
        " --default-prefix-length 26 --min-prefix-length 24 --address-scope lan"
    )
    assert pool["address_scope_id"] == scope["id"]
    assert (pool["default_prefixlen"], pool["min_prefixlen"]) == (26, 24)
    openstack("network create blue")
    first = openstack("subnet create one --network blue --subnet-pool big")
    second = openstack("subnet create two --network blue --subnet-pool big --prefix-length 24")
    assert [first["subnetpool_id"], second["subnetpool_id"]] == [pool["id"], pool["id"]]
    assert first["cidr"].endswith("/26")
    assert second["cidr"].endswith("/24")
    assert names(openstack("subnet list --subnet-pool big")) == ["one", "two"]
    assert "23" in openstack.refusal(
        "subnet create three --network blue --subnet-pool big --prefix-length 23"
    )
    openstack.run(
        "subnet", "pool", "set", "big", "--name", "large", "--pool-prefix", "10.12.0.0/16"
    )
    assert "10.12.0.0/16" in openstack("subnet pool show large")["prefixes"]
    assert [row["Name"] for row in openstack("subnet pool list")] == ["large"]
    assert [row["Name"] for row in openstack("address scope list")] == ["lan"]
    openstack.run("address", "scope", "set", "lan", "--name", "wan")
    assert "lan" in openstack.refusal("address scope show lan")
    openstack.run("subnet", "delete", "one", "two")
    openstack.run("subnet", "pool", "delete", "large")
    openstack.run("address", "scope", "delete", "wan")
