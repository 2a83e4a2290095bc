from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from lessor.errors import Conflict, InUse, Invalid, NotFound
from lessor.model import DHCP_OWNER, AddressState, MetadataFacts, PortReport, Problem, ViewRequest
from lessor.net.address import Address
from lessor.store import instances as instance_rules
from lessor.store import views
from lessor.store.hosts import rules as host_rules
from lessor.store.hosts import tokens
from lessor.store.store import Store
from lessor.store.values import NetworkValues
from tests.store.store_cloud import SQLITE, Cloud, by, ip_of, ips_of

MISSING = Problem(text="tap1: missing", since=1, seen=2)


@SQLITE
def test_a_token_names_its_host_and_is_not_kept(cloud: Cloud) -> None:
    host, token = cloud.store.write(host_rules.create, "h1")
    assert tokens.host_of(cloud.store, token) == tokens.host_of(cloud.store, token) == host.name
    assert tokens.host_of(cloud.store, "wrong") is None
    assert tokens.host_of(cloud.store, "") is None
    for file in cloud.settings.state_dir.iterdir():
        assert token.encode() not in file.read_bytes()


def test_a_host_added_after_a_refusal_is_known(cloud: Cloud) -> None:
    assert tokens.host_of(cloud.store, "anything") is None
    _, token = cloud.store.write(host_rules.create, "h1")
    assert tokens.host_of(cloud.store, token) == "h1"


def test_a_deleted_hosts_token_ends(cloud: Cloud) -> None:
    _, token = cloud.store.write(host_rules.create, "h1")
    assert tokens.host_of(cloud.store, token) == "h1"
    cloud.store.write(host_rules.remove, "h1")
    assert tokens.host_of(cloud.store, token) is None


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-a", "a\n", "x" * 300])
def test_a_name_that_is_no_hosts_is_refused(cloud: Cloud, name: str) -> None:
    with pytest.raises(Invalid):
        cloud.store.write(host_rules.create, name)


def test_a_host_can_be_added_once(cloud: Cloud) -> None:
    cloud.store.write(host_rules.create, "h1")
    with pytest.raises(Conflict, match="already"):
        cloud.store.write(host_rules.create, "h1")


def test_a_host_in_use_stays(cloud: Cloud) -> None:
    cloud.host("h1")
    network = cloud.network(host="h1")
    cloud.port(network, "h1")
    with pytest.raises(InUse, match="1 network and 1 port;"):
        cloud.store.write(host_rules.remove, "h1")
    with pytest.raises(NotFound):
        cloud.store.write(host_rules.remove, "h2")


def test_a_host_is_alive_for_a_while_after_a_heartbeat(cloud: Cloud) -> None:
    cloud.store.write(host_rules.create, "h1")
    assert (cloud.store.hosts.get("h1").alive, cloud.store.hosts.get("h1").heartbeat_at) == (
        False,
        None,
    )
    cloud.report("h1", version="1", problems=(MISSING,), counts={"ports": 3})
    host = cloud.store.hosts.get("h1")
    assert (host.alive, host.version, host.problems) == (True, "1", (MISSING,))
    assert host.counts == {"ports": 3}
    cloud.clock.now += cloud.settings.agent_down_time + 1
    assert not cloud.store.hosts.get("h1").alive
    assert cloud.store.hosts.find(by(alive=True)) == []


def test_problems_stay_until_others_are_reported(cloud: Cloud) -> None:
    cloud.store.write(host_rules.create, "h1")
    cloud.report("h1", problems=(MISSING,))
    cloud.report("h1")
    assert cloud.store.hosts.get("h1").problems == (MISSING,)
    cloud.report("h1", problems=())
    assert cloud.store.hosts.get("h1").problems == ()


def test_a_bare_heartbeat_waits_for_the_next_batch(cloud: Cloud) -> None:
    cloud.host("h1")
    cloud.clock.now += 10
    cloud.report("h1")
    assert cloud.store.hosts.get("h1").heartbeat_at == cloud.clock.now
    cloud.store.close()
    again = Store.open(cloud.settings, cloud.clock)
    assert again.hosts.get("h1").heartbeat_at == cloud.clock.now
    again.close()


def test_a_second_agent_of_the_same_name_is_refused(cloud: Cloud) -> None:
    cloud.host("h1")
    cloud.clock.now += 20
    with pytest.raises(Conflict, match=r"host h1: it did so 20 s ago\. Stop it, or") as caught:
        cloud.report("h1", run_id="other")
    assert caught.value.type == "AgentConflict"
    cloud.report("h1")


def test_an_agent_that_was_started_again_is_not_another(cloud: Cloud) -> None:
    cloud.host("h1")
    cloud.report("h1", run_id="second", previous_run_id="run-h1")
    cloud.report("h1", run_id="second", previous_run_id="run-h1")
    with pytest.raises(Conflict):
        cloud.report("h1", run_id="third")


def test_an_agent_that_was_started_often_while_no_server_answered_is_taken(cloud: Cloud) -> None:
    """Any of its runs may be the one that the server heard of last."""
    cloud.host("h1")
    runs = ("a", "b", "run-h1", "c")
    cloud.report("h1", run_id="last", previous_run_id="before", unconfirmed_run_ids=runs)
    with pytest.raises(Conflict):  # a clone of the machine has the same files, and comes second
        cloud.report("h1", run_id="clone", previous_run_id="before", unconfirmed_run_ids=runs)


def test_a_silent_agents_name_may_be_taken_over(cloud: Cloud) -> None:
    cloud.host("h1")
    cloud.clock.now += cloud.settings.agent_down_time
    cloud.report("h1", run_id="other")
    with pytest.raises(Conflict):
        cloud.report("h1")


def test_a_report_may_have_more_ports_than_a_statement(cloud: Cloud) -> None:
    """A DHCP host of several networks says all at once when it meets a new store."""
    cloud.host("h1")
    port = cloud.port(cloud.network(host="h1"), "h1")
    others = {f"no-port-{n}": PortReport(wired=True) for n in range(300_000)}
    said = PortReport(revision=port.revision, wired=True, served=True)
    cloud.report("h1", ports=others | {port.id: said})
    assert cloud.store.ports.get(port.id).status == "ACTIVE"


def test_a_report_of_nobody_is_refused(cloud: Cloud) -> None:
    with pytest.raises(NotFound, match="lessor host add nobody"):
        cloud.report("nobody")


# --- a multi-host network's own server addresses --------------------------------------------------


def servers(cloud: Cloud) -> dict[str | None, list[str]]:
    return {p.binding_host: ips_of(p) for p in cloud.store.ports.find(by(device_owner=DHCP_OWNER))}


def test_each_host_with_ports_has_its_own_server_address(cloud: Cloud) -> None:
    for name in ("h1", "h2"):
        cloud.host(name)
    network = cloud.network(multi_host=True)
    first = cloud.port(network, "h1")
    assert servers(cloud) == {"h1": ["10.0.0.3"]}
    assert cloud.state(network, "10.0.0.3") is AddressState.SERVER
    cloud.port(network, "h1")
    second = cloud.port(network, "h2")
    assert set(servers(cloud)) == {"h1", "h2"}
    assert len({ip_of(first), ip_of(second)} | {a for (a,) in servers(cloud).values()}) == 4


def test_a_server_address_goes_with_its_hosts_last_port(cloud: Cloud) -> None:
    cloud.host("h1")
    network = cloud.network(multi_host=True)
    ports = [cloud.port(network, "h1") for _ in range(2)]
    own = cloud.store.ports.find(by(device_owner=DHCP_OWNER))[0]
    cloud.store.ports.delete(ports[0].id)
    assert servers(cloud)
    cloud.store.ports.delete(ports[1].id)
    assert servers(cloud) == {}
    assert cloud.state(network, ip_of(own)) is AddressState.RELEASING
    cloud.applied("h1", network)
    assert cloud.state(network, ip_of(own)) is AddressState.FREE


def test_a_server_address_follows_a_port_from_host_to_host(cloud: Cloud) -> None:
    for name in ("h1", "h2"):
        cloud.host(name)
    network = cloud.network(multi_host=True)
    port = cloud.port(network, "h1")
    cloud.store.ports.update(port.id, {"binding_host": "h2"})
    assert set(servers(cloud)) == {"h2"}
    cloud.store.ports.update(port.id, {"binding_host": None})
    assert servers(cloud) == {}


@pytest.mark.parametrize(
    "values", [{"multi_host": False}, {"multi_host": True, "share_address": True}]
)
def test_single_host_and_shared_networks_need_no_server_addresses(
    cloud: Cloud, values: NetworkValues
) -> None:
    cloud.host("h1")
    network = cloud.network()
    cloud.store.networks.update(network.id, values)
    cloud.port(network, "h1")
    assert servers(cloud) == {}


def test_server_addresses_follow_the_subnets(cloud: Cloud) -> None:
    cloud.host("h1")
    network = cloud.network(None, multi_host=True)
    cloud.port(network, "h1", fixed_ips=())
    assert servers(cloud) == {}
    first = cloud.subnet(network, "10.0.0.0/24")
    cloud.clock.now += 1
    second = cloud.subnet(network, "10.0.1.0/24")
    assert servers(cloud) == {"h1": ["10.0.0.2", "10.0.1.2"]}
    cloud.store.subnets.update(first.id, {"enable_dhcp": False})
    assert servers(cloud) == {"h1": ["10.0.1.2"]}
    cloud.store.subnets.delete(second.id)
    assert servers(cloud) == {"h1": []}


def test_a_server_port_is_nobodys_to_delete_or_move(cloud: Cloud) -> None:
    cloud.host("h1")
    network = cloud.network(multi_host=True)
    cloud.port(network, "h1")
    own = cloud.store.ports.find(by(device_owner=DHCP_OWNER))[0]
    with pytest.raises(InUse, match="goes with the last port"):
        cloud.store.ports.delete(own.id)
    with pytest.raises(InUse):
        cloud.store.ports.update(own.id, {"binding_host": None})
    assert cloud.store.ports.update(own.id, {"name": "gw"}).name == "gw"


def test_a_multi_host_network_with_only_servers_can_be_deleted(cloud: Cloud) -> None:
    cloud.host("h1")
    network = cloud.network(multi_host=True)
    port = cloud.port(network, "h1")
    cloud.store.ports.delete(port.id)
    cloud.store.networks.delete(network.id)
    assert views.answer(cloud.store, "h1", ViewRequest(cursors={network.id: 1})).left == (
        network.id,
    )


# --- instances and metadata -----------------------------------------------------------------------


def test_an_instance_reads_back_changes_and_goes(cloud: Cloud) -> None:
    made = cloud.store.instances.create(
        [{"id": "i1", "name": "vm", "public_keys": {"k": "ssh-rsa A"}, "metadata": {"a": "b"}}]
    )[0]
    assert cloud.store.instances.get("i1") == made
    after = cloud.store.instances.update("i1", {"metadata": {}})
    assert (after.metadata, after.public_keys) == ({}, {"k": "ssh-rsa A"})
    assert after.revision > made.revision
    with pytest.raises(Conflict):
        cloud.store.instances.create([{"id": "i1"}])
    with pytest.raises(Invalid):
        cloud.store.instances.update("i1", {"id": "i2"})
    cloud.store.instances.delete("i1")
    with pytest.raises(NotFound):
        cloud.store.instances.delete("i1")


def test_a_number_too_large_is_refused(cloud: Cloud) -> None:
    with pytest.raises(Invalid, match="larger than"):
        cloud.store.instances.create([{"id": "i1", "launch_index": 1 << 99}])


def test_a_password_is_set_once(cloud: Cloud) -> None:
    cloud.host("h1")
    cloud.store.instances.create([{"id": "i1"}])
    cloud.port(cloud.network(host="h1"), device_id="i1")
    assert cloud.store.write(instance_rules.set_password, "h1", "i1", "secret")
    assert not cloud.store.write(instance_rules.set_password, "h1", "i1", "other")
    assert cloud.store.instances.get("i1").password == "secret"
    with pytest.raises(NotFound):
        cloud.store.write(instance_rules.set_password, "h1", "i2", "x")


def test_a_password_comes_from_a_host_that_has_or_serves_a_port_of_the_vm(cloud: Cloud) -> None:
    for name in ("h1", "h2", "h3"):
        cloud.host(name)
    network = cloud.network(host="h1")
    for key, host in (("i1", "h1"), ("i2", "h2")):
        cloud.store.instances.create([{"id": key, "project_id": "mine"}])
        cloud.port(network, "h2", device_id=key, project_id="mine")
        with pytest.raises(NotFound, match="host h3 has no port of instance"):
            cloud.store.write(instance_rules.set_password, "h3", key, "attacker's")
        assert cloud.store.write(instance_rules.set_password, host, key, "guest's")
    cloud.store.instances.create([{"id": "i3", "project_id": "another's"}])
    cloud.port(network, "h2", device_id="i3", project_id="mine")
    with pytest.raises(NotFound):
        cloud.store.write(instance_rules.set_password, "h2", "i3", "attacker's")


@pytest.mark.parametrize(
    ("strategy", "project", "told"),
    [("noauth", "mine", True), ("keystone", "mine", False), ("keystone", "", True)],
)
def test_an_instance_without_a_project_is_of_ports_without_one(
    make_cloud: Callable[..., Cloud], strategy: str, project: str, told: bool
) -> None:
    cloud = make_cloud(auth_strategy=strategy)
    cloud.host("h1")
    network = cloud.network(host="h1")
    cloud.store.instances.create([{"id": "i1", "user_data": "c2VjcmV0"}])
    port = cloud.port(network, device_id="i1", project_id=project)
    facts = cloud.store.read(instance_rules.metadata_facts, "h1", [network.id], ip_of(port))
    assert facts is not None
    assert (facts.instance is not None) is told
    if not told:
        with pytest.raises(NotFound):
            cloud.store.write(instance_rules.set_password, "h1", "i1", "attacker's")


def test_metadata_of_an_address_is_its_vms(cloud: Cloud) -> None:
    for name in ("h1", "h2"):
        cloud.host(name)
    one = cloud.network(host="h1")
    other = cloud.network("10.1.0.0/24", host="h1")
    cloud.store.instances.create([{"id": "i1", "name": "vm"}])
    port = cloud.port(one, "h2", device_id="i1", project_id="p")
    cloud.clock.now += 1
    second = cloud.port(other, "h2", device_id="i1", project_id="p")
    cloud.port(other, "h2", device_id="i1", project_id="a stranger's")
    facts = cloud.store.read(instance_rules.metadata_facts, "h1", [one.id], ip_of(port))
    assert facts is not None
    assert facts.instance is not None
    assert (facts.port, facts.ports, facts.instance.name) == (port, (port, second), "vm")
    assert set(facts.networks) == {one.id, other.id}
    assert {str(subnet.cidr) for subnet in facts.subnets.values()} == {"10.0.0.0/24", "10.1.0.0/24"}


def test_a_port_with_the_id_of_anothers_vm_does_not_read_its_user_data(cloud: Cloud) -> None:
    cloud.host("h1")
    network = cloud.network(host="h1")
    cloud.store.instances.create([{"id": "i1", "project_id": "mine", "user_data": "secret"}])
    own = cloud.port(network, device_id="i1", project_id="mine")
    posing = cloud.port(network, device_id="i1", project_id="a stranger's")
    told = [
        cloud.store.read(instance_rules.metadata_facts, "h1", [network.id], ip_of(port))
        for port in (own, posing)
    ]
    assert [facts is not None and facts.instance is not None for facts in told] == [True, False]
    assert told[1] is not None
    assert told[1].ports == (posing,)


def test_metadata_is_told_only_to_hosts_concerned(cloud: Cloud) -> None:
    for name in ("h1", "h2", "h3"):
        cloud.host(name)
    network = cloud.network(host="h1")
    port = cloud.port(network, "h2")

    def ask(host: str, networks: list[str], address: Address) -> MetadataFacts | None:
        return cloud.store.read(instance_rules.metadata_facts, host, networks, address)

    assert [ask(host, [network.id], ip_of(port)) is None for host in ("h1", "h2", "h3")] == [
        False, False, True,
    ]  # fmt: skip
    assert ask("h1", ["other"], ip_of(port)) is None
    assert ask("h1", [], ip_of(port)) is None
    assert ask("h1", [network.id], IPv4Address("10.0.0.99")) is None


def test_a_vm_without_device_id_has_only_its_own_port(cloud: Cloud) -> None:
    cloud.host("h1")
    network = cloud.network(host="h1")
    port, _ = cloud.port(network), cloud.port(network)
    facts = cloud.store.read(instance_rules.metadata_facts, "h1", [network.id], ip_of(port))
    assert facts is not None
    assert (facts.ports, facts.instance) == ((port,), None)
