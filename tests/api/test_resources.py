"""Each resource through HTTP: made, shown, listed, changed, deleted."""

from __future__ import annotations

from typing import Any

import pytest

Server = Any  # tests/api/conftest.py
NO_ID = "00000000-0000-0000-0000-000000000000"


def test_a_network_has_the_defaults_of_the_api(server: Server) -> None:
    network = server.make("network", name="blue", **{"provider:physical_network": "physnet1"})

    shown = server.api.get(f"/v2.0/networks/{network['id']}").json()["network"]
    assert shown == network
    expected = {
        "name": "blue",
        "admin_state_up": True,
        "status": "ACTIVE",
        "shared": False,
        "subnets": [],
        "mtu": 1500,
        "provider:network_type": "flat",
        "provider:physical_network": "physnet1",
        "provider:segmentation_id": None,
        "port_security_enabled": True,
        "dns_domain": "",
        "description": "",
        "lessor:multi_host": False,
        "lessor:share_address": False,
        "lessor:host": None,
        "lessor:bridge": "br100",
        "lessor:bridge_interface": "eth1",
        "project_id": "",
        "tenant_id": "",
    }
    assert {key: network[key] for key in expected} == expected
    assert network["created_at"].endswith("Z")
    assert network["revision_number"] > 0


def test_a_bridge_stands_for_its_physical_network(server: Server) -> None:
    network = server.make("network", **{"lessor:bridge": "br200"})
    assert network["provider:physical_network"] == "physnet2"
    assert network["lessor:bridge_interface"] is None


def test_a_network_lists_its_subnets(server: Server) -> None:
    network, subnet = server.network()
    assert server.api.get(f"/v2.0/networks/{network['id']}").json()["network"]["subnets"] == [
        subnet["id"]
    ]
    assert server.api.get("/v2.0/networks").json()["networks"][0]["subnets"] == [subnet["id"]]


def test_a_subnet_has_the_defaults_of_the_api(server: Server) -> None:
    _, subnet = server.network("10.0.0.0/29")
    expected = {
        "ip_version": 4,
        "cidr": "10.0.0.0/29",
        "gateway_ip": "10.0.0.1",
        "allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.6"}],
        "dns_nameservers": [],
        "host_routes": [],
        "enable_dhcp": True,
    }
    assert {key: subnet[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("given", "gateway"),
    [
        pytest.param({}, "10.0.0.1", id="unset-is-the-first"),
        pytest.param({"gateway_ip": None}, None, id="null-is-none"),
        pytest.param({"gateway_ip": "10.0.0.254"}, "10.0.0.254", id="given"),
    ],
)
def test_an_unset_gateway_is_not_a_null_one(
    server: Server, given: dict[str, Any], gateway: str | None
) -> None:
    network = server.make("network", **{"lessor:bridge": "br100"})
    subnet = server.make("subnet", network_id=network["id"], cidr="10.0.0.0/24", **given)
    assert subnet["gateway_ip"] == gateway


def test_an_update_leaves_what_it_does_not_name(server: Server) -> None:
    network, subnet = server.network()
    given = {"name": "x", "dns_nameservers": ["10.0.0.9"]}
    first = server.api.put(f"/v2.0/subnets/{subnet['id']}", json={"subnet": given}).json()
    assert (first["subnet"]["name"], first["subnet"]["gateway_ip"]) == ("x", "10.0.0.1")

    path = f"/v2.0/networks/{network['id']}"
    second = server.api.put(path, json={"network": {"admin_state_up": False}}).json()["network"]
    assert second["admin_state_up"] is False
    assert second["revision_number"] > network["revision_number"]
    assert second["lessor:bridge"] == "br100"


def test_a_port_gets_an_address_a_mac_and_names(server: Server) -> None:
    network, subnet = server.network()
    port = server.make("port", network_id=network["id"])
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.2"}]
    assert port["mac_address"].startswith("fa:16:3e:")
    assert port["dns_assignment"] == [
        {
            "hostname": "host-10-0-0-2",
            "ip_address": "10.0.0.2",
            "fqdn": "host-10-0-0-2.novalocal.",
        }
    ]
    assert (port["status"], port["binding:vif_type"]) == ("DOWN", "unbound")
    assert port["binding:vif_details"] == {}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        pytest.param({"name": "My VM"}, "my-vm", id="name"),
        pytest.param({"name": "My VM", "dns_name": "db.example.org"}, "db", id="dns-name"),
        pytest.param({"name": "My VM", "device_id": "vm-1"}, "web", id="instance"),
    ],
)
def test_a_port_says_the_name_that_dns_answers(
    server: Server, given: dict[str, str], name: str
) -> None:
    network, _ = server.network(dns_domain="blue.example.")
    server.make("instance", id="vm-1", hostname="web")
    (told,) = server.make("port", network_id=network["id"], **given)["dns_assignment"]
    assert (told["hostname"], told["fqdn"]) == (name, f"{name}.blue.example.")


def test_a_bound_port_tells_a_hypervisor_how_to_plug_it(server: Server) -> None:
    network, _ = server.network(dns_domain="blue.example.")
    said = {"run_id": "r", "physical_networks": ["physnet1"]}
    server.agents.post("/agent/v1/report", json=said, headers=server.token("h1"))
    port = server.make("port", network_id=network["id"], dns_name="vm", **{"binding:host_id": "h1"})
    assert port["binding:host_id"] == "h1"
    assert port["binding:vif_type"] == "tap"  # Nova 34 plugs no VIF of type "bridge"
    mac = port["binding:vif_details"].pop("mac_address")
    assert mac.startswith("fe:"), "a bridge would take a low MAC for its own"
    assert port["binding:vif_details"] == {
        "bridge_name": "br100",
        "port_filter": True,
        "connectivity": "l2",
        "tap_name": f"tap{port['id'][:11]}",
    }
    assert port["dns_assignment"][0]["fqdn"] == "vm.blue.example."


def test_a_port_may_be_said_to_have_no_security_groups(server: Server) -> None:
    network, _ = server.network()
    port = server.make("port", network_id=network["id"], security_groups=[])
    body = {"port": {"security_groups": [], "name": "vm1"}}
    changed = server.api.put(f"/v2.0/ports/{port['id']}", json=body)
    assert (changed.json()["port"]["name"], port["security_groups"]) == ("vm1", [])


def test_a_port_takes_the_lists_of_the_api(server: Server) -> None:
    network, subnet = server.network()
    option = {"opt_name": "ntp-server", "opt_value": "10.0.0.9", "ip_version": 4}
    pair = {"ip_address": "10.0.0.64/28", "mac_address": "fa:16:3e:00:00:02"}
    port = server.make(
        "port",
        network_id=network["id"],
        fixed_ips=[{"subnet_id": subnet["id"]}, {"ip_address": "10.0.0.9"}],
        mac_address="FA-16-3E-00-00-01",
        extra_dhcp_opts=[option],
        allowed_address_pairs=[pair, {"ip_address": "10.0.0.100"}],
        **{"binding:profile": {"key": "value"}},
    )
    assert port["mac_address"] == "fa:16:3e:00:00:01"
    assert {fixed["ip_address"] for fixed in port["fixed_ips"]} == {"10.0.0.2", "10.0.0.9"}
    assert port["extra_dhcp_opts"] == [option]
    own = {"ip_address": "10.0.0.100", "mac_address": port["mac_address"]}
    assert port["allowed_address_pairs"] == [pair, own]
    assert port["binding:profile"] == {"key": "value"}


def test_a_port_without_addresses_can_be_asked_for(server: Server) -> None:
    network, _ = server.network()
    assert server.make("port", network_id=network["id"], fixed_ips=[])["fixed_ips"] == []


def test_a_dhcp_option_not_named_stays_and_a_null_one_goes(server: Server) -> None:
    network, _ = server.network()
    options = [
        {"opt_name": "ntp-server", "opt_value": "10.0.0.9"},
        {"opt_name": "mtu", "opt_value": "1400"},
    ]
    port = server.make("port", network_id=network["id"], extra_dhcp_opts=options)
    change = [
        {"opt_name": "mtu", "opt_value": None},
        {"opt_name": "tftp-server", "opt_value": "10.0.0.8"},
    ]
    path = f"/v2.0/ports/{port['id']}"
    changed = server.api.put(path, json={"port": {"extra_dhcp_opts": change}}).json()["port"]
    names = {option["opt_name"]: option["opt_value"] for option in changed["extra_dhcp_opts"]}
    assert names == {"ntp-server": "10.0.0.9", "tftp-server": "10.0.0.8"}


def test_an_instance_lives_its_whole_life(server: Server) -> None:
    made = server.make(
        "instance",
        id="vm-1",
        name="web",
        hostname="web",
        public_keys={"me": "ssh-ed25519 AAAA"},
        user_data="aGVsbG8=",
        metadata={"role": "web"},
    )
    assert made["availability_zone"] == "nova"
    change = {"instance": {"metadata": {"role": "db"}}}
    changed = server.api.put("/v2.0/instances/vm-1", json=change).json()["instance"]
    assert (changed["metadata"], changed["name"]) == ({"role": "db"}, "web")
    assert server.names("/v2.0/instances?name=web") == ["web"]
    assert server.api.delete("/v2.0/instances/vm-1").status_code == 204
    assert server.api.get("/v2.0/instances/vm-1").status_code == 404


def test_an_address_is_reserved_and_given_back(server: Server) -> None:
    network, _ = server.network()
    reserved = server.make("address", network_id=network["id"], address="10.0.0.2")
    assert (reserved["address"], reserved["state"]) == ("10.0.0.2", "reserved")
    port = server.make("port", network_id=network["id"])
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.3"

    rows = server.api.get(f"/v2.0/addresses?network_id={network['id']}").json()["addresses"]
    states = {row["address"]: row["state"] for row in rows}
    assert (states["10.0.0.2"], states["10.0.0.3"]) == ("reserved", "allocated")
    path = f"/v2.0/addresses/{network['id']}/10.0.0.2"
    assert server.api.delete(path).status_code == 204
    second = server.make("port", network_id=network["id"], fixed_ips=[{"ip_address": "10.0.0.2"}])
    assert second["fixed_ips"][0]["ip_address"] == "10.0.0.2"


def test_a_hosts_token_is_shown_once(server: Server) -> None:
    made = server.make("host", name="h1")
    assert len(made["token"]) >= 32
    shown = server.api.get("/v2.0/hosts/h1").json()["host"]
    assert "token" not in shown
    assert (shown["alive"], shown["heartbeat_at"]) == (False, None)
    assert server.names("/v2.0/hosts") == ["h1"]
    assert server.api.delete("/v2.0/hosts/h1").status_code == 204
    assert server.api.get("/v2.0/hosts/h1").status_code == 404


def test_a_hosts_agent_has_neutrons_shape(server: Server) -> None:
    host = server.make("host", name="h1")
    (agent,) = server.api.get("/v2.0/agents").json()["agents"]
    assert agent["id"] == host["id"]
    assert (agent["agent_type"], agent["binary"]) == ("Linux bridge agent", "lessor-agent")
    assert (agent["host"], agent["alive"], agent["admin_state_up"]) == ("h1", False, True)
    assert server.api.get(f"/v2.0/agents/{agent['id']}").json()["agent"] == agent
    assert server.api.get(f"/v2.0/agents/{NO_ID}").json()["NeutronError"]["type"] == "AgentNotFound"
    listed = server.api.get("/v2.0/agents?agent_type=Linux bridge agent&host=h1").json()["agents"]
    assert [row["host"] for row in listed] == ["h1"]
    assert server.api.get("/v2.0/agents?agent_type=L3 agent").json() == {"agents": []}


@pytest.mark.parametrize("noun", ["networks", "subnets", "ports"])
def test_what_is_deleted_is_gone(server: Server, noun: str) -> None:
    network, subnet = server.network()
    port = server.make("port", network_id=network["id"])
    ids = {"networks": network["id"], "subnets": subnet["id"], "ports": port["id"]}
    for kind in ("ports", "subnets", "networks"):
        assert server.api.delete(f"/v2.0/{kind}/{ids[kind]}").status_code == 204
        if kind == noun:
            break
    assert server.api.get(f"/v2.0/{noun}/{ids[noun]}").status_code == 404
    assert server.api.get(f"/v2.0/{noun}").json() == {noun: []}


def test_tenant_id_and_project_id_are_one(server: Server) -> None:
    made = server.make("network", tenant_id="p1", name="a", **{"lessor:bridge": "br100"})
    assert (made["tenant_id"], made["project_id"]) == ("p1", "p1")
    assert server.names("/v2.0/networks?project_id=p1") == ["a"]
    assert server.names("/v2.0/networks?tenant_id=p2") == []


def test_bulk_is_all_or_nothing(server: Server) -> None:
    network, _ = server.network()
    good = {"network_id": network["id"], "name": "good"}
    bad = {"network_id": network["id"], "fixed_ips": [{"ip_address": "10.9.9.9"}]}

    refused = server.api.post("/v2.0/ports", json={"ports": [good, bad]})
    assert refused.status_code == 400
    assert server.api.get("/v2.0/ports").json() == {"ports": []}

    made = server.api.post("/v2.0/ports", json={"ports": [good, good]})
    assert made.status_code == 201
    assert [port["name"] for port in made.json()["ports"]] == ["good", "good"]


def test_numbers_and_flags_may_come_as_text(server: Server) -> None:
    made = server.make("network", mtu="1400", shared="true", **{"lessor:bridge": "br100"})
    assert (made["mtu"], made["shared"]) == (1400, True)
