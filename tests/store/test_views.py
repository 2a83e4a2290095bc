from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import event

from lessor.core.plan.view import merge, request
from lessor.errors import LessorError
from lessor.model import DHCP_OWNER, Network, Port, Problem, View, ViewAnswer, ViewRequest
from lessor.store import views
from lessor.store.addresses import housekeeping, states
from lessor.store.hosts import dhcp_scheduler, failover
from lessor.store.hosts import rules as host_rules
from lessor.store.networks import rules as network_rules
from lessor.store.store import Store
from tests.store.store_cloud import SQLITE, Cloud, by, ips_of, open_cloud


@dataclass
class Agent:
    """What an agent holds of the cloud."""

    store: Store
    host: str
    view: View = field(default_factory=View)
    last: ViewAnswer = field(default_factory=lambda: ViewAnswer(epoch="", revision=0))

    def poll(self) -> ViewAnswer:
        self.last = views.answer(self.store, self.host, request(self.view, 0))
        self.view = merge(self.view, self.last)
        return self.last

    def ports(self, network: Network) -> set[str]:
        return set(self.view.scopes[network.id].ports)


def contents(view: View) -> Mapping[str, object]:
    """Return what a view says, its cursors aside."""
    return {key: (s.network, s.subnets, s.ports, s.peers) for key, s in view.scopes.items()}


def whole(store: Store, host: str) -> View:
    return merge(View(), views.answer(store, host, ViewRequest()))


@pytest.fixture
def hosts(cloud: Cloud) -> dict[str, Agent]:
    for name in ("net", "h1", "h2"):
        cloud.host(name)
    return {name: Agent(cloud.store, name) for name in ("net", "h1", "h2")}


def test_the_network_host_sees_all_ports_and_others_their_own(
    cloud: Cloud, hosts: dict[str, Agent]
) -> None:
    network = cloud.network(host="net")
    one, two, free = cloud.port(network, "h1"), cloud.port(network, "h2"), cloud.port(network)
    for agent in hosts.values():
        agent.poll()
    assert hosts["net"].ports(network) == {one.id, two.id, free.id}
    assert hosts["h1"].ports(network) == {one.id}
    assert hosts["h1"].view.scopes[network.id].network == cloud.store.networks.get(network.id)
    assert list(hosts["h1"].view.scopes[network.id].subnets) == [cloud.subnet_of(network).id]


def test_a_network_that_concerns_a_host_in_nothing_is_not_seen(
    cloud: Cloud, hosts: dict[str, Agent]
) -> None:
    cloud.network(host="net")
    assert hosts["h1"].poll().scopes == {}


def test_one_changed_port_costs_one_row(cloud: Cloud, hosts: dict[str, Agent]) -> None:
    network = cloud.network("10.0.0.0/20", host="net")
    ports = cloud.store.ports.create([{"network_id": network.id}] * 500)
    hosts["net"].poll()
    after = cloud.store.ports.update(ports[250].id, {"name": "new"})
    change = hosts["net"].poll().scopes[network.id]
    assert (change.whole, change.network, change.subnets) == (False, None, ())
    assert change.ports == (after,)


@SQLITE
def test_one_changed_port_is_found_by_an_index(cloud: Cloud, hosts: dict[str, Agent]) -> None:
    network = cloud.network("10.0.0.0/20", host="net")
    cloud.store.ports.create([{"network_id": network.id}] * 500)
    port = cloud.port(network, "h1")
    for name in ("net", "h1"):
        hosts[name].poll()
    cloud.store.ports.update(port.id, {"name": "new"})
    said: list[tuple[str, object]] = []
    event.listen(
        cloud.store._engine,
        "before_cursor_execute",
        lambda _conn, _cursor, text, values, *_: said.append((text, values)),
    )
    for name in ("net", "h1"):
        hosts[name].poll()
    asked = [(text, values) for text, values in said if "mac_address" in text]
    assert len(asked) == 2
    with cloud.store._engine.connect() as conn:
        for text, values in asked:
            plan = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all()  # type: ignore[arg-type]
            steps = [row[3] for row in plan if " ports " in f"{row[3]} "]
            assert steps
            assert all("revision>?" in step for step in steps if "ports" in step)


def test_nothing_new_is_an_empty_answer(cloud: Cloud, hosts: dict[str, Agent]) -> None:
    cloud.port(cloud.network(host="net"), "h1")
    first = hosts["h1"].poll()
    again = hosts["h1"].poll()
    assert (again.scopes, again.left, again.revision) == ({}, (), first.revision)


def test_a_deleted_port_is_gone_for_all(cloud: Cloud, hosts: dict[str, Agent]) -> None:
    network = cloud.network(host="net")
    keep, port = cloud.port(network, "h1"), cloud.port(network, "h1")
    for agent in hosts.values():
        agent.poll()
    cloud.store.ports.delete(port.id)
    for name in ("net", "h1"):
        assert hosts[name].poll().scopes[network.id].gone_ports == (port.id,)
        assert hosts[name].ports(network) == {keep.id}


def test_a_port_that_moves_is_gone_for_its_former_host_only(
    cloud: Cloud, hosts: dict[str, Agent]
) -> None:
    network = cloud.network(host="net")
    keep, port = cloud.port(network, "h1"), cloud.port(network, "h1")
    for agent in hosts.values():
        agent.poll()
    cloud.store.ports.update(port.id, {"binding_host": "h2"})
    for agent in hosts.values():
        agent.poll()
    assert hosts["h1"].ports(network) == {keep.id}
    assert hosts["h2"].ports(network) == {port.id}
    assert hosts["net"].ports(network) == {keep.id, port.id}


def test_a_port_that_moved_there_and_back_is_there(cloud: Cloud, hosts: dict[str, Agent]) -> None:
    network = cloud.network(host="net")
    port = cloud.port(network, "h1")
    hosts["h1"].poll()
    cloud.store.ports.update(port.id, {"binding_host": "h2"})
    cloud.store.ports.update(port.id, {"binding_host": "h1"})
    assert hosts["h1"].poll().scopes[network.id].gone_ports == ()
    assert hosts["h1"].ports(network) == {port.id}


def test_a_port_that_leaves_the_network_host_stays_in_its_sight(
    cloud: Cloud, hosts: dict[str, Agent]
) -> None:
    network = cloud.network(host="net")
    port = cloud.port(network, "net")
    hosts["net"].poll()
    cloud.store.ports.update(port.id, {"binding_host": "h1"})
    hosts["net"].poll()
    assert hosts["net"].ports(network) == {port.id}


def test_a_host_without_ports_of_a_network_has_left_it(
    cloud: Cloud, hosts: dict[str, Agent]
) -> None:
    network = cloud.network(host="net")
    port = cloud.port(network, "h1")
    hosts["h1"].poll()
    cloud.store.ports.delete(port.id)
    assert hosts["h1"].poll().left == (network.id,)
    assert hosts["h1"].view.scopes == {}


def test_a_deleted_network_is_left(cloud: Cloud, hosts: dict[str, Agent]) -> None:
    network = cloud.network(host="net")
    hosts["net"].poll()
    cloud.store.networks.delete(network.id)
    assert hosts["net"].poll().left == (network.id,)


def test_subnets_come_change_and_go(cloud: Cloud, hosts: dict[str, Agent]) -> None:
    network = cloud.network(host="net")
    hosts["net"].poll()
    second = cloud.subnet(network, "10.0.1.0/24")
    assert hosts["net"].poll().scopes[network.id].subnets == (second,)
    cloud.store.subnets.delete(second.id)
    assert hosts["net"].poll().scopes[network.id].gone_subnets == (second.id,)
    assert contents(hosts["net"].view) == contents(whole(cloud.store, "net"))


@pytest.mark.parametrize("heir", ["h1", "h2"])
def test_a_new_network_host_gets_the_whole_network(
    cloud: Cloud, hosts: dict[str, Agent], heir: str
) -> None:
    network = cloud.network(host="net")
    ports = {cloud.port(network, "h1").id, cloud.port(network).id}
    for agent in hosts.values():
        agent.poll()
    cloud.store.networks.update(network.id, {"host": heir})
    for agent in hosts.values():
        agent.poll()
    assert hosts[heir].ports(network) == ports
    assert hosts["net"].view.scopes == {}


def test_a_former_network_host_forgets_the_ports_that_are_not_its_own(
    cloud: Cloud, hosts: dict[str, Agent]
) -> None:
    network = cloud.network(host="net")
    own, _ = cloud.port(network, "net"), cloud.port(network, "h1")
    hosts["net"].poll()
    cloud.store.networks.update(network.id, {"host": "h2"})
    hosts["net"].poll()
    assert hosts["net"].ports(network) == {own.id}


def test_multi_host_hosts_see_their_own_ports_and_their_own_server(
    cloud: Cloud, hosts: dict[str, Agent]
) -> None:
    network = cloud.network(multi_host=True)
    port, _ = cloud.port(network, "h1"), cloud.port(network, "h2")
    hosts["h1"].poll()
    seen = hosts["h1"].view.scopes[network.id].ports.values()
    assert {p.binding_host for p in seen} == {"h1"}
    assert {p.device_owner for p in seen if p.id != port.id} == {DHCP_OWNER}


def test_with_update_dns_entries_multi_host_hosts_see_all_ports(
    make_cloud: Callable[..., Cloud],
) -> None:
    cloud = make_cloud(update_dns_entries=True)
    for name in ("h1", "h2"):
        cloud.host(name)
    network = cloud.network(multi_host=True, share_address=True)
    one = cloud.port(network, "h1")
    agent = Agent(cloud.store, "h1")
    agent.poll()
    heard: list[frozenset[str]] = []
    cloud.store.subscribe(heard.append)
    two = cloud.port(network, "h2")
    agent.poll()
    assert agent.ports(network) == {one.id, two.id}
    cloud.told()
    assert "h1" in heard[-1]


def test_switching_update_dns_entries_sends_multi_host_networks_whole(
    make_cloud: Callable[..., Cloud],
) -> None:
    cloud = make_cloud()
    for name in ("h1", "h2"):
        cloud.host(name)
    network = cloud.network(multi_host=True, share_address=True)
    ports = {cloud.port(network, name).id for name in ("h1", "h2")}
    agent = Agent(cloud.store, "h1")
    agent.poll()
    cloud.store.close()
    agent.store = make_cloud(update_dns_entries=True).store
    agent.poll()
    assert agent.ports(network) == ports


def test_another_epoch_gets_everything_whole(cloud: Cloud, hosts: dict[str, Agent]) -> None:
    network = cloud.network(host="net")
    cursors = {network.id: 1 << 40, "unknown": 3}
    answer = views.answer(cloud.store, "net", ViewRequest(epoch="another", cursors=cursors))
    assert answer.scopes[network.id].whole
    assert answer.epoch == cloud.store.epoch


def test_a_cursor_from_the_future_gets_the_whole_scope(
    cloud: Cloud, hosts: dict[str, Agent]
) -> None:
    """A database put back to an older copy of itself has the same epoch."""
    network = cloud.network(host="net")
    asked = ViewRequest(epoch=cloud.store.epoch, cursors={network.id: 1 << 40})
    assert views.answer(cloud.store, "net", asked).scopes[network.id].whole


def test_a_cursor_older_than_purged_tombstones_gets_the_whole_scope(
    cloud: Cloud, hosts: dict[str, Agent]
) -> None:
    busy, quiet = cloud.network(host="net"), cloud.network("10.1.0.0/24", host="net")
    port = cloud.port(busy)
    agent = hosts["net"]
    agent.poll()
    cloud.store.ports.delete(port.id)
    cloud.wait(housekeeping.TOMBSTONES_S + 1)
    cloud.store.networks.update(quiet.id, {"name": "new"})
    scopes = agent.poll().scopes
    assert scopes[busy.id].whole
    assert not scopes[quiet.id].whole
    assert agent.ports(busy) == set()


def test_a_status_or_heartbeat_wakes_nobody(cloud: Cloud, hosts: dict[str, Agent]) -> None:
    port = cloud.port(cloud.network(host="net"), "h1")
    first = hosts["h1"].poll()
    cloud.wire("h1", port, wired=True)
    cloud.report("h1", problems=(Problem(text="x"),))
    assert hosts["h1"].poll().revision == first.revision


# --- whatever happens, an agent that merges answers holds what a fresh view says ------------------

NAMES = ("h1", "h2", "h3")


class AgentsFollow(RuleBasedStateMachine):
    """Random changes, and agents that poll now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory(prefix="store-view-")
        self.cloud = open_cloud(
            Path(self.folder.name),
            update_dns_entries=False,
            dhcp_agents_per_network=2,
            project_network_types=("flat",),
        )
        for name in NAMES:
            self.cloud.store.write(host_rules.create, name)
            self.end(name, 1)
        self.agents = {name: Agent(self.cloud.store, name) for name in NAMES}
        self.blocks = iter(range(1, 250))
        self.ids = (str(UUID(int=n)) for n in count(1))  # hypothesis repeats what it did

    def teardown(self) -> None:
        self.cloud.store.close()
        self.folder.cleanup()

    def _network(self, n: int) -> Network:
        networks = self.cloud.store.networks.find()
        return networks[n % len(networks)]

    def _port(self, n: int) -> Port:
        ports = self.cloud.store.ports.find()
        ports.sort(
            key=lambda p: (
                p.device_owner,
                p.network_id,
                p.id if not p.device_owner else "",
                ips_of(p),
            )
        )
        return ports[n % len(ports)]

    def has_networks(self) -> bool:
        return bool(self.cloud.store.networks.find())

    def has_ports(self) -> bool:
        return bool(self.cloud.store.ports.find())

    @rule(multi=st.booleans(), shared=st.booleans(), host=st.sampled_from((None, *NAMES)))
    def make_network(self, multi: bool, shared: bool, host: str | None) -> None:
        cidr = f"10.{next(self.blocks)}.0.0/24"
        host = None if multi else host
        self.cloud.network(
            cidr, id=next(self.ids), multi_host=multi, share_address=shared, host=host
        )

    @rule(dhcp=st.booleans())
    def make_overlay(self, dhcp: bool) -> None:
        network = self.cloud.network(None, id=next(self.ids), network_type="vxlan")
        self.cloud.subnet(network, "10.0.0.0/24", enable_dhcp=dhcp)

    @rule(name=st.sampled_from(NAMES), end=st.sampled_from((None, 1, 2)))
    def end(self, name: str, end: int | None) -> None:
        """Have a host report where its tunnels end, or that it has none."""
        address = None if end is None else IPv4Address(f"192.0.{NAMES.index(name)}.{end}")
        mappings = ("physnet1", "physnet2")
        self.cloud.report(name, local_ip=address, network_host=True, physical_networks=mappings)

    @rule(dead=st.sampled_from(NAMES))
    def die(self, dead: str) -> None:
        """Let one host be silent until its DHCP servers are elsewhere."""
        for _ in range(25):
            self.cloud.clock.now += 1
            for name in NAMES:
                if name != dead:
                    self.cloud.store.fleet.heartbeats.record(name, self.cloud.clock.now)
            failover.watch(self.cloud.store)

    @precondition(has_networks)
    @rule(n=st.integers(0, 9), name=st.sampled_from(NAMES), there=st.booleans())
    def schedule(self, n: int, name: str, there: bool) -> None:
        change = dhcp_scheduler.add if there else dhcp_scheduler.remove
        self._try(self.cloud.store.write, change, self._network(n).id, name)

    @precondition(has_networks)
    @rule(n=st.integers(0, 9), host=st.sampled_from((None, *NAMES)))
    def make_port(self, n: int, host: str | None) -> None:
        self.cloud.port(self._network(n), host, id=next(self.ids))

    @precondition(has_ports)
    @rule(n=st.integers(0, 99), host=st.sampled_from((None, *NAMES)))
    def move_port(self, n: int, host: str | None) -> None:
        self._try(self.cloud.store.ports.update, self._port(n).id, {"binding_host": host})

    @precondition(has_ports)
    @rule(n=st.integers(0, 99), name=st.text("ab", max_size=2))
    def rename_port(self, n: int, name: str) -> None:
        self._try(self.cloud.store.ports.update, self._port(n).id, {"name": name})

    @precondition(has_ports)
    @rule(n=st.integers(0, 99))
    def delete_port(self, n: int) -> None:
        self._try(self.cloud.store.ports.delete, self._port(n).id)

    @precondition(has_networks)
    @rule(n=st.integers(0, 9), host=st.sampled_from((None, *NAMES)))
    def give_network(self, n: int, host: str | None) -> None:
        self._try(self.cloud.store.networks.update, self._network(n).id, {"host": host})

    @precondition(has_networks)
    @rule(n=st.integers(0, 9), multi=st.booleans())
    def change_kind(self, n: int, multi: bool) -> None:
        self._try(self.cloud.store.networks.update, self._network(n).id, {"multi_host": multi})

    @precondition(has_networks)
    @rule(n=st.integers(0, 9))
    def delete_network(self, n: int) -> None:
        self._try(self.cloud.store.networks.delete, self._network(n).id)

    @precondition(has_networks)
    @rule(n=st.integers(0, 9))
    def add_subnet(self, n: int) -> None:
        self.cloud.subnet(self._network(n), f"10.{next(self.blocks)}.0.0/24")

    @precondition(has_networks)
    @rule(n=st.integers(0, 9), m=st.integers(0, 3))
    def delete_subnet(self, n: int, m: int) -> None:
        network = self._network(n)
        ids = self.cloud.store.read(network_rules.subnet_ids, [network.id])[network.id]
        ids.sort(key=lambda key: self.cloud.store.subnets.get(key).cidr)
        if ids:
            self._try(self.cloud.store.subnets.delete, ids[m % len(ids)])

    @rule(days=st.sampled_from((0.5, 8.0)))
    def wait(self, days: float) -> None:
        self.cloud.store._purged_at = 0
        self.cloud.wait(days * 86400)

    @rule(name=st.sampled_from(NAMES))
    def poll(self, name: str) -> None:
        agent = self.agents[name]
        agent.poll()
        assert contents(agent.view) == contents(whole(self.cloud.store, name))

    @rule(name=st.sampled_from(NAMES))
    def confirm(self, name: str) -> None:
        for network in self.cloud.store.networks.find():
            self.cloud.applied(name, network)

    def _try(self, function: Callable[..., object], *args: object) -> None:
        try:
            function(*args)
        except LessorError:
            return

    @invariant()
    def no_address_is_lost(self) -> None:
        ports = self.cloud.store.ports.find()
        held = [(p.network_id, f.address) for p in ports for f in p.fixed_ips]
        assert len(held) == len(set(held))
        rows = self.cloud.store.read(states.find)
        assert sorted(held) == sorted((r.network_id, r.address) for r in rows if r.port_id)


TestAgentsFollow = AgentsFollow.TestCase
TestAgentsFollow.settings = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_a_row_is_always_whole(cloud: Cloud, hosts: dict[str, Agent]) -> None:
    network = cloud.network(host="net")
    port = cloud.port(network, "h1", name="a")
    hosts["net"].poll()
    after = cloud.store.ports.update(port.id, {"name": "b"})
    assert hosts["net"].poll().scopes[network.id].ports == (after,)
    assert replace(after, name="a", revision=port.revision, updated_at=port.updated_at) == port
    assert cloud.store.ports.find(by(ip_address=IPv4Address("10.0.0.2"))) == [after]
