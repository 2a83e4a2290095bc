"""Commands against a real server with a real store."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lessor.errors import Conflict, Invalid, LessorError, NotFound

Lessor = Callable[..., str]


@pytest.fixture
def name() -> str:
    """A name that no other test has: they share a server."""
    return f"n-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def block(numbers: Iterator[int]) -> str:
    """A block that no other test has: they share a server."""
    number = next(numbers)
    return f"10.{number // 256}.{number % 256}.0/24"


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return count(256)


def read(text: str) -> Any:
    return json.loads(text)


def rows(text: str) -> list[list[str]]:
    return [re.split(r" {2,}", line) for line in text.splitlines()[1:]]


def pairs(text: str) -> dict[str, str]:
    """Read what `show` printed: a name and a value in each line."""
    return {line.split()[0]: line.partition(" ")[2].strip() for line in text.splitlines()}


def listed(text: str, name: str) -> dict[str, str]:
    """Return the row of a table that has this name, by the table's heads."""
    heads = re.split(r" {2,}", text.splitlines()[0])
    [row] = [row for row in rows(text) if row[1] == name]
    return dict(zip(heads, row, strict=True))


def test_a_network_made_with_a_block_has_its_subnet(lessor: Lessor, name: str, block: str) -> None:
    made = read(lessor("network", "create", name, "--fixed_range_v4", block, "--json"))
    [subnet] = read(lessor("subnet", "list", "--network", name, "--json"))
    assert made["subnets"] == [subnet["id"]]
    assert subnet["cidr"] == block
    row = listed(lessor("network", "list"), name)
    assert row.pop("VNI", "-") == "-"  # shown only where some network of the list has one
    assert list(row.values()) == [made["id"], name, block, "flat", "physnet1", "br100", "no", "-"]


def test_all_of_nova_manages_options_are_heeded(lessor: Lessor, name: str, block: str) -> None:
    first = block.replace(".0/24", "")
    words = (
        f"--label {name} --fixed_range_v4 {block} --num_networks 1 --network_size 256 "
        f"--bridge br200 --bridge_interface eth2 --multi_host T --dns1 192.0.2.1 --dns2 192.0.2.2 "
        f"--gateway {first}.9 --fixed_cidr {first}.16/28 --project_id p1"
    )
    made = read(lessor("network", "create", *words.split(), "--json"))
    [subnet] = read(lessor("subnet", "list", "--network", name, "--json"))
    assert made["provider:physical_network"] == "physnet2"
    assert (made["lessor:multi_host"], made["project_id"]) == (True, "p1")
    assert subnet["gateway_ip"] == f"{first}.9"
    assert subnet["dns_nameservers"] == ["192.0.2.1", "192.0.2.2"]
    assert subnet["allocation_pools"] == [{"start": f"{first}.16", "end": f"{first}.31"}]


def test_several_networks_are_cut_from_one_block(lessor: Lessor, name: str) -> None:
    words = ["--cidr", "172.20.0.0/22", "--num-networks", "3", "--physical-network", "physnet2"]
    made = read(lessor("network", "create", name, *words, "--json"))
    assert [row["name"] for row in made] == [f"{name}_0", f"{name}_1", f"{name}_2"]
    assert [row["cidrs"] for row in made] == [
        ["172.20.0.0/24"],
        ["172.20.1.0/24"],
        ["172.20.2.0/24"],
    ]


def test_a_vxlan_network_is_listed_with_its_number(lessor: Lessor, name: str, block: str) -> None:
    words = ["--type", "vxlan", "--vni", "4711", "--cidr", block]
    made = read(lessor("network", "create", name, *words, "--json"))
    row = listed(lessor("network", "list"), name)
    assert list(row.values()) == [made["id"], name, block, "vxlan", "4711", "-", "-", "no", "-"]
    with pytest.raises(Conflict, match="segmentation_id 4711 is in use"):
        lessor("network", "create", name, "--vni", "4711")
    twin = ["--type", "vxlan", "--cidr", block, "--num-networks", "2", "--network-size", "128"]
    lessor("network", "create", f"{name}-twin", *twin)


def test_a_block_that_is_refused_leaves_no_network(lessor: Lessor, name: str, block: str) -> None:
    lessor("network", "create", f"{name}-there", "--cidr", block)
    with pytest.raises(LessorError):
        lessor("network", "create", name, "--cidr", block)
    assert read(lessor("network", "list", "--name", name, "--json")) == []


def test_a_network_is_changed_and_deleted(lessor: Lessor, name: str) -> None:
    lessor("network", "create", name)
    changed = read(lessor("network", "set", name, "--mtu", "1400", "--multi-host", "T", "--json"))
    assert (changed["mtu"], changed["lessor:multi_host"]) == (1400, True)
    lessor("network", "delete", name)
    with pytest.raises(NotFound, match=f"there is no network '{name}'"):
        lessor("network", "show", name)


def test_networks_are_deleted_by_their_block_too(lessor: Lessor, name: str, block: str) -> None:
    lessor("network", "create", name, "--cidr", block)
    lessor("network", "delete", "--fixed_range", block)
    assert read(lessor("network", "list", "--name", name, "--json")) == []


def test_a_name_of_two_networks_is_refused(lessor: Lessor, name: str) -> None:
    lessor("network", "create", name)
    lessor("network", "create", name)
    with pytest.raises(Conflict, match=f"2 networks have the name '{name}'; give an id"):
        lessor("network", "set", name, "--mtu", "1400")


def test_an_interface_that_is_not_the_servers_is_said(
    lessor: Lessor, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    out = lessor("network", "create", name, "--bridge_interface", "eth9", "--json")
    assert read(out)["lessor:bridge_interface"] == "eth1"


def test_a_subnet_is_made_shown_changed_and_deleted(lessor: Lessor, name: str, block: str) -> None:
    first = block.replace(".0/24", "")
    lessor("network", "create", name)
    made = read(
        lessor(
            *["subnet", "create", "--network", name, "--cidr", block, "--name", name],
            *["--gateway", "none", "--dns", "192.0.2.1", "--dns", "192.0.2.2"],
            *["--route", f"192.0.2.0/24,{first}.7", "--pool", f"{first}.10-{first}.20", "--json"],
        )
    )
    assert made["gateway_ip"] is None
    assert made["dns_nameservers"] == ["192.0.2.1", "192.0.2.2"]
    assert made["host_routes"] == [{"destination": "192.0.2.0/24", "nexthop": f"{first}.7"}]
    assert made["allocation_pools"] == [{"start": f"{first}.10", "end": f"{first}.20"}]
    assert not read(lessor("subnet", "set", name, "--no-dhcp", "--json"))["enable_dhcp"]
    assert pairs(lessor("subnet", "show", name))["cidr"] == block
    lessor("subnet", "delete", name)
    assert read(lessor("subnet", "list", "--network", name, "--json")) == []


def test_a_port_has_its_address_and_is_listed_by_it(lessor: Lessor, name: str, block: str) -> None:
    lessor("network", "create", name, "--cidr", block)
    address = block.replace(".0/24", ".77")
    made = read(
        lessor(
            *["port", "create", "--network", name, "--name", name, "--fixed-ip", address],
            *["--dhcp-option", "mtu=1400", "--allowed-address", "192.0.2.0/28", "--json"],
        )
    )
    assert [fixed["ip_address"] for fixed in made["fixed_ips"]] == [address]
    assert made["extra_dhcp_opts"][0]["opt_value"] == "1400"
    assert made["allowed_address_pairs"][0]["ip_address"] == "192.0.2.0/28"
    [row] = rows(lessor("port", "list", "--network", name, "--address", address))
    assert row == [made["id"], name, made["mac_address"], address, "-", "DOWN", "-"]
    lessor("port", "set", name, "--device", "vm-1", "--dns-name", "web")
    assert pairs(lessor("port", "show", name))["device_id"] == "vm-1"
    lessor("port", "delete", name)
    assert rows(lessor("port", "list", "--network", name)) == []


def test_many_ports_are_made_and_listed_in_order_of_address(
    lessor: Lessor, name: str, block: str
) -> None:
    lessor("network", "create", name, "--cidr", block)
    made = rows(lessor("port", "create", "--network", name, "--name", "vm", "--count", "12"))
    assert len({row[3] for row in made}) == 12
    listed = [row[3] for row in rows(lessor("port", "list", "--network", name))]
    assert listed == sorted(listed, key=lambda text: int(text.rpartition(".")[2]))


def test_a_port_for_a_host_that_is_not_known_says_what_it_waits_for(
    lessor: Lessor, name: str, block: str
) -> None:
    lessor("network", "create", name, "--cidr", block)
    made = read(lessor("port", "create", "--network", name, "--host", "nowhere", "--json"))
    assert made["binding:vif_type"] == "binding_failed"
    assert "host nowhere had no live agent" in made["lessor:pending"]


def test_plug_asks_for_a_tap_on_the_host_and_says_what_it_waits_for(
    lessor: Lessor, name: str, block: str
) -> None:
    lessor("host", "add", name)
    lessor("network", "create", name, "--cidr", block)
    lessor("port", "create", "--network", name, "--name", name)
    with pytest.raises(LessorError, match=f"is not wired on {name} after 0 s"):
        lessor("port", "plug", name, "--host", name, "--timeout", "0")
    port = read(lessor("port", "show", name, "--json"))
    assert (port["binding:host_id"], port["binding:profile"]) == (name, {"tap": "managed"})
    assert f"port {name} on {name}: " in lessor("status")
    port = read(lessor("port", "unplug", name, "--json"))
    assert (port["binding:host_id"], port["binding:profile"]) == ("", {})


def test_the_tap_of_a_vm_that_moves_is_made_by_who_made_the_first(
    lessor: Lessor, name: str, block: str
) -> None:
    new = f"{name}-new"
    lessor("host", "add", name)
    lessor("host", "add", new)
    lessor("network", "create", name, "--cidr", block)
    lessor("port", "create", "--network", name, "--name", name, "--host", name)
    assert read(lessor("port", "bind", name, "--host", new, "--json"))["profile"] == {}
    lessor("port", "unbind", name, "--host", new)
    with pytest.raises(LessorError, match="is not wired"):
        lessor("port", "plug", name, "--host", name, "--timeout", "0")
    bound = read(lessor("port", "bind", name, "--host", new, "--json"))
    assert bound["profile"] == {"tap": "managed"}


def test_a_host_is_taken_down_and_up(lessor: Lessor, name: str) -> None:
    lessor("host", "add", name)
    down = read(lessor("host", "set", name, "--disable", "--description", "new disk", "--json"))
    assert (down["admin_state_up"], down["description"]) == (False, "new disk")
    assert pairs(lessor("host", "show", name))["admin_state_up"] == "no"
    assert read(lessor("host", "set", name, "--enable", "--json"))["admin_state_up"] is True
    with pytest.raises(NotFound):
        lessor("host", "set", f"no-{name}", "--disable")


def test_the_token_of_a_host_is_all_that_add_prints(lessor: Lessor, name: str) -> None:
    assert re.fullmatch(r"\S{20,}\n", lessor("host", "add", name))
    [row] = [row for row in rows(lessor("host", "list")) if row[0] == name]
    assert row[1] == "never seen"
    assert pairs(lessor("host", "show", name))["alive"] == "no"
    lessor("host", "delete", name)
    with pytest.raises(NotFound):
        lessor("host", "show", name)


def test_an_address_is_reserved_and_given_back(lessor: Lessor, name: str, block: str) -> None:
    lessor("network", "create", name, "--cidr", block)
    address = block.replace(".0/24", ".5")
    lessor("address", "reserve", "--network", name, address)
    asked = ("address", "list", "--network", name, "--state", "reserved")
    assert [row[1] for row in rows(lessor(*asked)) if row[0] == address] == ["reserved"]
    with pytest.raises(LessorError, match=address):
        lessor("port", "create", "--network", name, "--fixed-ip", address)
    lessor("address", "unreserve", "--network", name, address)
    assert [row for row in rows(lessor(*asked)) if row[0] == address] == []


def test_an_instance_tells_its_keys_and_user_data(
    lessor: Lessor, name: str, tmp_path: Path
) -> None:
    key, script = tmp_path / "id.pub", tmp_path / "user-data"
    key.write_text("ssh-ed25519 AAAA me\n")
    script.write_bytes(b"#!/bin/sh\n")
    made = read(
        lessor(
            *["instance", "create", name, "--public-key", f"me=@{key}", "--user-data", script],
            *["--meta", "role=web", "--hostname", "web1", "--json"],
        )
    )
    assert made["public_keys"] == {"me": "ssh-ed25519 AAAA me"}
    assert (made["user_data"], made["metadata"]) == ("IyEvYmluL3NoCg==", {"role": "web"})
    [row] = [row for row in rows(lessor("instance", "list")) if row[1] == name]
    assert row == [made["id"], name, "web1", "me", "yes", "role=web"]
    assert read(lessor("instance", "set", name, "--meta", "a=b", "--json"))["metadata"] == {
        "a": "b"
    }
    lessor("instance", "delete", name)
    with pytest.raises(NotFound):
        lessor("instance", "show", name)


def test_leases_of_nobody_are_an_empty_list(lessor: Lessor, name: str, block: str) -> None:
    lessor("network", "create", name, "--cidr", block)
    assert rows(lessor("lease", "list", "--network", name)) == []
    at = ["--at", "2026-01-01T00:00:00"]
    assert read(lessor("lease", "history", "--network", name, *at, "--json")) == []
    address = block.replace(".0/24", ".5")
    with pytest.raises(NotFound, match=f"network {name} has no live lease of {address}"):
        lessor("lease", "release", address, "--network", name)


def test_status_as_json_has_what_the_page_shows(lessor: Lessor, name: str, block: str) -> None:
    lessor("network", "create", name, "--cidr", block)
    shown = read(lessor("status", "--json"))
    assert [n["cidrs"] for n in shown["networks"] if n["name"] == name] == [[block]]
    assert f"network {name}: no host is its gateway and DHCP server yet" in shown["pending"]


def test_options_that_make_no_sense_together_are_refused(lessor: Lessor, name: str) -> None:
    with pytest.raises(Invalid, match="give its block with --cidr"):
        lessor("network", "create", name, "--dns1", "192.0.2.1")


def test_quotas_of_a_project_are_set_shown_listed_and_deleted(lessor: Lessor, name: str) -> None:
    made = read(lessor("quota", "set", name, "--networks", "0", "--ports", "-1", "--json"))
    assert (made["network"], made["port"]) == (0, -1)
    assert pairs(lessor("quota", "show", name))["network"] == "0"
    assert [name, "0"] in [row[:2] for row in rows(lessor("quota", "list"))]
    with pytest.raises(Conflict, match="quota exceeded"):
        lessor("network", "create", name, "--project-id", name)
    lessor("quota", "delete", name)
    assert name not in lessor("quota", "list")


def test_a_subnet_is_cut_from_a_pool_of_an_address_scope(
    lessor: Lessor, name: str, block: str
) -> None:
    scope = read(lessor("address-scope", "create", name, "--json"))
    pool = read(
        lessor(
            *["subnetpool", "create", name, "--prefix", block, "--default-prefixlen", "26"],
            *["--address-scope", name, "--json"],
        )
    )
    assert (pool["prefixes"], pool["address_scope_id"]) == ([block], scope["id"])
    lessor("network", "create", name)
    cut = ["subnet", "create", "--network", name, "--subnetpool", name]
    first = block.removesuffix("/24")
    assert read(lessor(*cut, "--json"))["cidr"] == f"{first}/26"
    assert read(lessor(*cut, "--prefixlen", "28", "--name", f"{name}-28", "--json"))["cidr"] == (
        f"{first.removesuffix('.0')}.64/28"
    )
    assert [name, block, "26"] in [row[1:4] for row in rows(lessor("subnetpool", "list"))]
    assert [name] in [row[1:2] for row in rows(lessor("address-scope", "list"))]

    grown = read(lessor("subnetpool", "set", name, "--prefix", "192.0.2.0/28", "--json"))
    assert grown["prefixes"] == [block, "192.0.2.0/28"]
    with pytest.raises(Invalid, match="cut from it"):
        lessor("subnetpool", "delete", name)
    with pytest.raises(Conflict, match="1 subnet pool"):
        lessor("address-scope", "delete", name)
    lessor("network", "delete", name)
    lessor("subnetpool", "set", name, "--address-scope", "none")
    lessor("address-scope", "set", name, "--share")
    assert "shared" in lessor("address-scope", "show", name)
    lessor("address-scope", "delete", name)
    lessor("subnetpool", "show", name)
    lessor("subnetpool", "delete", name)
