"""Which networks somebody may make who acts for one project: never on a shared wire unasked."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Server
from tests.api.people import Cloud, password_files

Serve = Callable[..., Server]
LISTED = {"project_physical_networks": ("physnet2",)}


def cloud(serve: Serve, folder: Path, **settings: Any) -> Cloud:
    return Cloud(
        serve(**{**password_files(folder), "project_network_types": ("flat",), **settings})
    )


def made(cloud: Cloud, who: str, **fields: Any) -> tuple[int, str]:
    """Return the status, and the physical network or what the error says."""
    answer = cloud.ask(who, "POST", "/v2.0/networks", {"network": fields})
    if answer.status_code != 201:
        return answer.status_code, answer.json()["NeutronError"]["message"]
    network = cloud.ask("root", "GET", f"/v2.0/networks/{answer.json()['network']['id']}").json()
    return 201, network["network"]["provider:physical_network"] or "vxlan"


def test_a_member_makes_no_flat_network(serve: Serve, tmp_path: Path) -> None:
    alone = cloud(serve, tmp_path)
    status, message = made(alone, "alice", name="a")
    assert status == 403
    assert "project_physical_networks" in message
    assert alone.ask("alice", "GET", "/v2.0/networks").json()["networks"] == []
    bulk = alone.ask("alice", "POST", "/v2.0/networks", {"networks": [{"name": "a"}] * 2})
    assert bulk.status_code == 403
    assert made(alone, "root") == (201, "physnet1")
    assert made(alone, "root", project_id="p1") == (201, "physnet1")


def test_a_member_makes_flat_networks_where_the_operator_lets_him(
    serve: Serve, tmp_path: Path
) -> None:
    listed = cloud(serve, tmp_path, **LISTED)
    assert made(listed, "alice") == (201, "physnet2")
    assert made(listed, "root") == (201, "physnet1")


@pytest.mark.parametrize("listed", [{}, LISTED], ids=["closed", "listed"])
def test_a_member_s_network_is_the_same_whichever_hosts_are_there(
    serve: Serve, tmp_path: Path, listed: dict[str, Any]
) -> None:
    default = cloud(serve, tmp_path, project_network_types=(), **listed)

    def host(name: str, **said: Any) -> None:
        token = default.make("host", name=name)["token"]
        report = {"run_id": name, "physical_networks": ["physnet1", "physnet2"]} | said
        header = {"Authorization": f"Bearer {token}"}
        answer = default.server.agents.post("/agent/v1/report", json=report, headers=header)
        assert answer.status_code == 200, answer.text

    assert made(default, "alice") == (201, "vxlan")
    assert made(default, "root") == (201, "physnet1")
    host("flat1", network_host=True)
    assert made(default, "alice") == (201, "vxlan")
    host("net1", network_host=True, local_ip="192.0.2.9")
    assert made(default, "alice") == (201, "vxlan")


@pytest.mark.parametrize("types", [("flat", "vxlan"), ("vxlan", "flat")])
def test_a_member_gets_the_type_that_he_may_have(
    serve: Serve, tmp_path: Path, types: tuple[str, ...]
) -> None:
    both = cloud(serve, tmp_path, project_network_types=types)
    assert made(both, "alice") == (201, "vxlan")
    assert made(both, "root") == (201, "physnet1" if types[0] == "flat" else "vxlan")


def test_a_policy_that_lets_members_choose_does_not_open_a_wire(
    serve: Serve, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    names = ("provider:network_type", "provider:physical_network")
    policy.write_text("".join(f'"create_network:{name}": "rule:member"\n' for name in names))
    open_ = cloud(serve, tmp_path, policy_file=policy, **LISTED)
    for fields in ({"provider:network_type": "flat"}, {"provider:physical_network": "physnet2"}):
        assert made(open_, "alice", **fields) == (201, "physnet2")
    status, message = made(open_, "alice", **{"provider:physical_network": "physnet1"})
    assert status == 400
    assert "physnet1" in message


def test_the_network_that_a_project_is_given_is_no_flat_one(serve: Serve, tmp_path: Path) -> None:
    alone = cloud(serve, tmp_path)
    pool: dict[str, Any] = {
        "name": "pool",
        "prefixes": ["10.0.0.0/16"],
        "is_default": True,
        "shared": True,
    }
    alone.make("subnetpool", **pool)
    answer = alone.ask("alice", "GET", "/v2.0/auto-allocated-topology/p1")
    assert answer.status_code == 403
    assert alone.ask("alice", "GET", "/v2.0/networks").json()["networks"] == []


def test_without_authentication_everybody_makes_flat_networks(serve: Serve) -> None:
    network = serve().make("network")
    assert network["provider:physical_network"] == "physnet1"


def test_what_a_member_changes_is_checked_as_what_is_made(serve: Serve, tmp_path: Path) -> None:
    """Her subnet lies in the LAN of hosts, which an administrator alone can make."""
    hers = cloud(serve, tmp_path)
    token = {"Authorization": f"Bearer {hers.make('host', name='h1')['token']}"}
    lan = {"cidr": "10.9.0.0/24", "what": "network", "physical_network": "physnet1"}
    report = {"run_id": "r", "blocks": [lan], "physical_networks": ["physnet1"]}
    assert hers.server.agents.post("/agent/v1/report", json=report, headers=token).is_success
    network = hers.make("network", project_id="p1", **{"provider:network_type": "flat"})
    pools = [{"start": "10.9.0.100", "end": "10.9.0.200"}]
    subnet = hers.make(
        "subnet", network_id=network["id"], cidr="10.9.0.0/24", ip_version=4, allocation_pools=pools
    )
    path = f"/v2.0/subnets/{subnet['id']}"
    body = {"subnet": {"allocation_pools": [{"start": "10.9.0.50", "end": "10.9.0.200"}]}}
    refused = hers.ask("alice", "PUT", path, body)
    assert (refused.status_code, refused.json()["NeutronError"]["type"]) == (409, "CidrConflict")
    assert hers.ask("root", "PUT", path, body).status_code == 200
    named = {"network": {"name": "hers"}}
    assert hers.ask("alice", "PUT", f"/v2.0/networks/{network['id']}", named).status_code == 200


FLAT = {"provider:network_type": "flat"}


def refusal(answer: Any) -> str:
    assert answer.status_code == 403, answer.text
    message: str = answer.json()["NeutronError"]["message"]
    return message


def test_a_member_chooses_no_domain_of_a_flat_network(serve: Serve, tmp_path: Path) -> None:
    """One dnsmasq answers all networks of a bridge, and asks nobody about a domain of VMs."""
    hers = cloud(serve, tmp_path, project_physical_networks=("physnet1",))
    status, message = made(hers, "alice", dns_domain="com")
    assert status == 403
    assert "vxlan" in message
    bulk = {"networks": [{"name": "a"}, {"name": "b", "dns_domain": "google.com"}]}
    refusal(hers.ask("alice", "POST", "/v2.0/networks", bulk))
    assert hers.ask("alice", "GET", "/v2.0/networks").json()["networks"] == []
    assert made(hers, "alice", dns_domain="") == (201, "physnet1")
    (own,) = hers.ask("alice", "GET", "/v2.0/networks").json()["networks"]
    given = hers.make("network", project_id="p1", dns_domain="p1.example.", **FLAT)
    for network in (own, given):
        path = f"/v2.0/networks/{network['id']}"
        change = {"network": {"name": "b", "dns_domain": "com"}}
        assert "administrator" in refusal(hers.ask("alice", "PUT", path, change))
        shown = hers.ask("alice", "GET", path).json()["network"]
        assert shown["dns_domain"] == network["dns_domain"]
        assert shown["name"] == network["name"]
    same = {"network": {"name": "c", "dns_domain": "p1.example."}}
    assert hers.ask("alice", "PUT", path, same).status_code == 200
    assert hers.ask("alice", "PUT", path, {"network": {"dns_domain": ""}}).status_code == 200
    assert hers.ask("root", "PUT", path, {"network": {"dns_domain": "a.b"}}).status_code == 200


def test_a_member_chooses_the_domain_of_a_vxlan_network(serve: Serve, tmp_path: Path) -> None:
    hers = cloud(serve, tmp_path, project_network_types=("vxlan",))
    assert made(hers, "alice", dns_domain="p1.example.") == (201, "vxlan")
    (own,) = hers.ask("alice", "GET", "/v2.0/networks").json()["networks"]
    change = {"network": {"dns_domain": "com"}}
    assert hers.ask("alice", "PUT", f"/v2.0/networks/{own['id']}", change).status_code == 200


@pytest.mark.parametrize("asked", [True, False])
def test_a_member_gives_no_name_servers_that_a_bridge_asks(
    serve: Serve, tmp_path: Path, *, asked: bool
) -> None:
    hers = cloud(serve, tmp_path, use_network_dns_servers=asked)
    flat = hers.make("network", project_id="p1", **FLAT)["id"]
    overlay = hers.network()["id"]
    servers = {"dns_nameservers": ["192.0.2.53"]}

    def subnet(who: str, network: str, cidr: str, **fields: Any) -> Any:
        body = {"subnet": {"network_id": network, "cidr": cidr, "ip_version": 4, **fields}}
        return hers.ask(who, "POST", "/v2.0/subnets", body)

    def change(who: str, key: str) -> Any:
        return hers.ask(who, "PUT", f"/v2.0/subnets/{key}", {"subnet": servers})

    expected = 403 if asked else 201
    refused = subnet("alice", flat, "10.1.0.0/24", **servers)
    assert refused.status_code == expected
    made_ = subnet("alice", flat, "10.2.0.0/24").json()["subnet"]
    assert change("alice", made_["id"]).status_code == (403 if asked else 200)
    assert change("root", made_["id"]).status_code == 200
    assert change("alice", made_["id"]).status_code == 200  # it says what is there
    assert subnet("alice", overlay, "10.3.0.0/24", **servers).status_code == 201
    assert subnet("root", flat, "10.4.0.0/24", **servers).status_code == 201


def subnet(cloud: Cloud, who: str, network: str, **fields: Any) -> Any:
    body = {"subnet": {"network_id": network, "ip_version": 4, **fields}}
    return cloud.ask(who, "POST", "/v2.0/subnets", body)


def pool(cloud: Cloud, who: str, *prefixes: str, **fields: Any) -> str:
    wanted = {"name": "pool", "prefixes": [*prefixes], "default_prefixlen": 26, **fields}
    return str(cloud.make("subnetpool", who, **wanted)["id"])


PUBLIC = "198.51.100.0/24"


@pytest.mark.parametrize("cidr", [PUBLIC, "1.1.1.1/32", "100.64.0.0/10", "172.0.0.0/8"])
def test_a_member_takes_no_public_block_on_a_wire(serve: Serve, tmp_path: Path, cidr: str) -> None:
    hers = cloud(serve, tmp_path)
    flat = hers.make("network", project_id="p1", **FLAT)["id"]
    message = refusal(subnet(hers, "alice", flat, cidr=cidr, gateway_ip=None, enable_dhcp=False))
    assert cidr in message
    assert "project_cidrs" in message
    assert hers.ask("root", "GET", "/v2.0/subnets").json()["subnets"] == []
    for private in ("10.1.0.0/24", "172.31.0.0/16", "192.168.7.0/24"):
        assert subnet(hers, "alice", flat, cidr=private).status_code == 201
    assert subnet(hers, "alice", hers.network()["id"], cidr="198.51.100.0/28").status_code == 201
    assert subnet(hers, "root", flat, cidr="198.51.100.0/28").status_code == 201


@pytest.mark.parametrize(("blocks", "status"), [((), 403), (("198.51.0.0/16",), 201)])
def test_an_operator_says_which_blocks_projects_take(
    serve: Serve, tmp_path: Path, blocks: tuple[str, ...], status: int
) -> None:
    hers = cloud(serve, tmp_path, project_cidrs=tuple(map(IPv4Network, blocks)))
    flat = hers.make("network", project_id="p1", **FLAT)["id"]
    assert subnet(hers, "alice", flat, cidr=PUBLIC).status_code == status
    assert subnet(hers, "alice", flat, cidr="10.1.0.0/24").status_code == 403


def test_a_member_cuts_public_blocks_from_an_administrators_pool_alone(
    serve: Serve, tmp_path: Path
) -> None:
    hers = cloud(serve, tmp_path)
    flat = hers.make("network", project_id="p1", **FLAT)["id"]

    def cut(pool_id: str) -> int:
        """Try it on a network of its own: all subnets of a network are of one pool."""
        network = hers.make("network", project_id="p1", **FLAT)["id"]
        return int(subnet(hers, "alice", network, subnetpool_id=pool_id).status_code)

    own = pool(hers, "alice", PUBLIC)
    for more in ({}, {"cidr": "198.51.100.0/26"}, {"prefixlen": 28}):
        refusal(subnet(hers, "alice", flat, subnetpool_id=own, **more))
    assert cut(pool(hers, "alice", "10.2.0.0/16")) == 201
    accomplice = pool(hers, "bob", "203.0.113.0/24")
    hers.make(
        "rbac_policy", "bob", "rbac-policies", object_type="subnetpool", object_id=accomplice,
        action="access_as_shared", target_tenant="p1",
    )  # fmt: skip
    assert cut(accomplice) == 403
    for given in (pool(hers, "root", "192.0.2.0/25", shared=True),
                  pool(hers, "root", "192.0.2.128/25", project_id="p1")):  # fmt: skip
        assert cut(given) == 201
    path = f"/v2.0/subnetpools/{given}"
    assert hers.ask("alice", "PUT", path, {"subnetpool": {"name": "hers"}}).status_code == 200
    assert cut(given) == 201


@pytest.mark.parametrize("way", ["prefixes", "add_prefixes"])
def test_a_pool_that_a_member_adds_to_is_an_administrators_no_more(
    serve: Serve, tmp_path: Path, way: str
) -> None:
    hers = cloud(serve, tmp_path)
    given = pool(hers, "root", "192.0.2.0/24", project_id="p1", is_default=True)
    path = f"/v2.0/subnetpools/{given}"
    flat = hers.make("network", project_id="p1", **FLAT)["id"]
    both = ["192.0.2.0/24", PUBLIC]
    if way == "prefixes":
        change = hers.ask("alice", "PUT", path, {"subnetpool": {"prefixes": both}})
    else:
        change = hers.ask("alice", "PUT", f"{path}/add_prefixes", {"prefixes": [PUBLIC]})
    assert change.status_code == 200, change.text
    wanted = {"subnetpool_id": given, "cidr": "198.51.100.0/28"}
    refusal(subnet(hers, "alice", flat, **wanted))
    for looked in ({"name": "x"}, {"default_quota": None}):
        assert hers.ask("root", "PUT", path, {"subnetpool": looked}).status_code == 200
        refusal(subnet(hers, "alice", flat, **wanted))
    assert hers.ask("root", "PUT", path, {"subnetpool": {"prefixes": both}}).status_code == 200
    assert subnet(hers, "alice", flat, **wanted).status_code == 201


@pytest.mark.parametrize("default", [False, True])
def test_who_makes_a_members_pool_the_default_has_seen_its_prefixes(
    serve: Serve, tmp_path: Path, *, default: bool
) -> None:
    hers = cloud(serve, tmp_path)
    own = pool(hers, "alice", PUBLIC)
    change = {"subnetpool": {"is_default": default}}
    assert hers.ask("root", "PUT", f"/v2.0/subnetpools/{own}", change).status_code == 200
    flat = hers.make("network", project_id="p1", **FLAT)["id"]
    answer = subnet(hers, "alice", flat, subnetpool_id=own)
    assert answer.status_code == (201 if default else 403)


def test_a_member_s_public_subnet_grows_by_nothing(serve: Serve, tmp_path: Path) -> None:
    """An administrator gave it a few addresses of a block in which there may be other machines."""
    hers = cloud(serve, tmp_path)
    flat = hers.make("network", project_id="p1", **FLAT)["id"]
    pools = [{"start": "198.51.100.100", "end": "198.51.100.200"}]
    wanted = {"cidr": PUBLIC, "allocation_pools": pools, "gateway_ip": "198.51.100.1"}
    made_ = subnet(hers, "root", flat, **wanted)
    path = f"/v2.0/subnets/{made_.json()['subnet']['id']}"
    larger = [{"start": "198.51.100.50", "end": "198.51.100.200"}]
    for change in ({"gateway_ip": "198.51.100.7"}, {"allocation_pools": larger}):
        assert "project_cidrs" in refusal(hers.ask("alice", "PUT", path, {"subnet": change}))
        assert hers.ask("root", "PUT", path, {"subnet": change}).status_code == 200
    smaller = {"allocation_pools": pools, "name": "hers", "host_routes": []}
    assert hers.ask("alice", "PUT", path, {"subnet": smaller}).status_code == 200


@pytest.mark.parametrize("whose", ["root", "alice"])
def test_the_subnet_that_a_project_is_given_is_of_an_administrators_pool(
    serve: Serve, tmp_path: Path, whose: str
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text('"create_subnetpool:is_default": "rule:admin_only or rule:member"\n')
    hers = cloud(serve, tmp_path, project_physical_networks=("physnet1",), policy_file=policy)
    pool(hers, whose, PUBLIC, is_default=True)
    answer = hers.ask("alice", "GET", "/v2.0/auto-allocated-topology/p1")
    assert answer.status_code == (200 if whose == "root" else 403), answer.text
    if whose == "alice":
        assert hers.ask("alice", "GET", "/v2.0/networks").json()["networks"] == []
