"""What `openstack` can set and unset of ports, subnets and networks, and list them by."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.started import Openstack, needs_clients

pytestmark = [pytest.mark.clients, needs_clients]


@pytest.fixture
def blue(openstack: Openstack) -> Any:
    openstack("network create blue --provider-network-type flat")
    return openstack("subnet create blue4 --network blue --subnet-range 10.1.0.0/24")


def test_what_neutron_refuses_is_refused_in_its_words(openstack: Openstack, blue: Any) -> None:
    more = "subnet create more --network blue --subnet-range 10.1.0.128/25"
    assert "overlaps with another subnet" in openstack.refusal(more)
    assert "is more than" in openstack.refusal("network set blue --mtu 9000")
    openstack("port create p --network blue --allowed-address ip-address=10.1.0.77")
    assert "allowed address pairs" in openstack.refusal("port set p --disable-port-security")
    assert blue["cidr"] == "10.1.0.0/24"


def test_a_domain_is_shown_as_it_was_given(openstack: Openstack) -> None:
    made = openstack("network create green --provider-network-type vxlan --dns-domain test.org.")
    assert made["dns_domain"] == "test.org."


def names(rows: list[dict[str, str]]) -> list[str]:
    return [row["Name"] for row in rows]


def test_each_attribute_of_a_port_is_set_and_unset(openstack: Openstack, blue: Any) -> None:
    openstack.server.make_host("h1")
    openstack("port create p --network blue --disable --no-fixed-ip")
    openstack.run(
        "port set p --name vm1 --enable --fixed-ip subnet=blue4,ip-address=10.1.0.7"
        " --device vm-1 --device-owner compute:nova --mac-address fa:16:3e:00:00:07"
        " --host h1 --vnic-type normal --binding-profile tap=managed"
        " --dns-name vm1 --extra-dhcp-option name=ntp-server,value=10.1.0.3"
        " --allowed-address ip-address=10.1.0.0/28,mac-address=fa:16:3e:00:00:08 --tag a",
        "--description", "first of its kind",
    )  # fmt: skip
    port = openstack("port show vm1")
    assert port["fixed_ips"] == [{"subnet_id": blue["id"], "ip_address": "10.1.0.7"}]
    pair = {"ip_address": "10.1.0.0/28", "mac_address": "fa:16:3e:00:00:08"}
    option = {"opt_name": "ntp-server", "opt_value": "10.1.0.3", "ip_version": 4}
    wanted = {
        "admin_state_up": True, "description": "first of its kind", "device_id": "vm-1",
        "device_owner": "compute:nova", "mac_address": "fa:16:3e:00:00:07",
        "binding_host_id": "h1", "binding_vnic_type": "normal", "binding_vif_type": "tap",
        "binding_profile": {"tap": "managed"}, "dns_name": "vm1", "tags": ["a"],
        "allowed_address_pairs": [pair], "extra_dhcp_opts": [option],
    }  # fmt: skip
    assert {name: port[name] for name in wanted} == wanted

    openstack.run(
        "port unset vm1 --fixed-ip subnet=blue4,ip-address=10.1.0.7 --binding-profile tap"
        " --allowed-address ip-address=10.1.0.0/28,mac-address=fa:16:3e:00:00:08 --device"
        " --device-owner --host --tag a"
    )
    gone = openstack("port show vm1")
    assert (gone["fixed_ips"], gone["allowed_address_pairs"], gone["tags"]) == ([], [], [])
    assert (gone["binding_profile"], gone["binding_host_id"]) == ({}, "")
    assert (gone["device_id"], gone["device_owner"]) == ("", "")
    openstack.run("port", "set", "vm1", "--disable-port-security", "--disable")
    off = openstack("port show vm1")
    assert (off["port_security_enabled"], off["admin_state_up"]) == (False, False)


@pytest.mark.usefixtures("blue")
def test_each_attribute_of_subnets_and_networks_is_set_and_unset(openstack: Openstack) -> None:
    openstack.run(
        "subnet set blue4 --name net4 --no-dhcp --gateway 10.1.0.254 --dns-nameserver 10.1.0.5"
        " --host-route destination=10.9.0.0/16,gateway=10.1.0.9 --no-allocation-pool"
        " --allocation-pool start=10.1.0.10,end=10.1.0.20 --tag a --description text"
    )
    subnet = openstack("subnet show net4")
    assert (subnet["enable_dhcp"], subnet["gateway_ip"]) == (False, "10.1.0.254")
    assert subnet["allocation_pools"] == [{"start": "10.1.0.10", "end": "10.1.0.20"}]
    assert (subnet["tags"], subnet["description"]) == (["a"], "text")
    openstack.run(
        "subnet unset net4 --dns-nameserver 10.1.0.5 --gateway --tag a"
        " --host-route destination=10.9.0.0/16,gateway=10.1.0.9"
    )
    subnet = openstack("subnet show net4")
    assert (subnet["dns_nameservers"], subnet["host_routes"]) == ([], [])
    assert (subnet["gateway_ip"], subnet["tags"]) == (None, [])

    openstack.run(
        "network set blue --name net --disable --share --mtu 1300 --disable-port-security"
        " --description text"
    )
    network = openstack("network show net")
    assert (network["mtu"], network["shared"], network["description"]) == (1300, True, "text")
    assert (network["admin_state_up"], network["port_security_enabled"]) == (False, False)


@pytest.mark.usefixtures("blue")
def test_lists_are_filtered_sorted_and_cut(openstack: Openstack) -> None:
    openstack.server.make_host("h1")
    for name, more in (
        ("b", "--device vm-1 --fixed-ip ip-address=10.1.0.20"),
        ("c", "--host h1 --device-owner compute:nova --fixed-ip ip-address=10.1.0.30"),
        ("a", "--fixed-ip ip-address=10.1.0.21 --tag web"),
    ):
        openstack(f"port create {name} --network blue {more}")
    by_name = "--sort-column Name"
    assert names(openstack(f"port list {by_name}")) == ["a", "b", "c"]
    assert names(openstack(f"port list {by_name} --sort-descending")) == ["c", "b", "a"]
    for filters, found in (
        ("--device-id vm-1", ["b"]),
        ("--device-owner compute:nova", ["c"]),
        ("--host h1", ["c"]),
        ("--name a", ["a"]),
        ("--tags web", ["a"]),
        ("--not-tags web", ["b", "c"]),
        ("--status DOWN --network blue", ["a", "b", "c"]),
        ("--fixed-ip subnet=blue4,ip-address=10.1.0.20", ["b"]),
        ("--fixed-ip ip-substring=10.1.0.2", ["a", "b"]),
    ):
        assert names(openstack(f"port list {by_name} {filters}")) == found, filters
    assert names(openstack(f"port list --long {by_name}")) == ["a", "b", "c"]
    assert len(openstack("port list --limit 2 --max-items 2")) == 2
    assert names(openstack("network list --share")) == []
    assert names(openstack("network list --name blue --enable --provider-network-type flat"))
    assert names(openstack("subnet list --subnet-range 10.1.0.0/24 --gateway 10.1.0.1 --dhcp"))
