"""A database that went back is noticed, and gives out no address that a host still has."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from lessor.core.plan.holdings import holdings
from lessor.core.plan.view import merge, request
from lessor.errors import Unavailable
from lessor.model import (
    Holdings,
    LeaseEvent,
    Network,
    Port,
    View,
    ViewRequest,
)
from lessor.store import views
from lessor.store.addresses import holdings as store_holdings
from lessor.store.addresses import leases as lease_rules
from lessor.store.engine import database, history, place, upkeep
from lessor.store.hosts import dhcp_scheduler, failover
from lessor.store.hosts import rules as host_rules
from lessor.store.store import Store
from lessor.store.tables import metadata
from tests.store.store_cloud import SQLITE, Cloud, by, ip_of, ips_of

ALL = 1 << 40


class HostAgent:
    """Follows a store as an agent does, with its view in memory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.view = View()
        self.leases: list[LeaseEvent] = []

    def look(self, cloud: Cloud, *, tell: bool = True) -> bool:
        """Ask for news; return whether the store has another epoch than the view."""
        answer = views.answer(cloud.store, self.name, request(self.view, 0.0))
        other = answer.epoch != self.view.epoch
        if other and tell:
            self.tell(cloud, answer.epoch)
            answer = views.answer(cloud.store, self.name, request(self.view, 0.0))
        self.view = merge(self.view, answer)
        return other

    def tell(self, cloud: Cloud, epoch: str) -> bool:
        said = Holdings(
            epoch=epoch, ports=holdings(self.view, self.name), leases=tuple(self.leases)
        )
        return cloud.store.write(store_holdings.report, self.name, said)

    def lease(self, cloud: Cloud, port: Port, lasts_s: float = 600) -> None:
        """Give a port's VM its lease, as this host's DHCP server does."""
        event = cloud.lease(self.name, "add", port, expires_at=cloud.clock.now + lasts_s)
        self.leases.append(event)


class Copies:
    """Takes copies of all rows of a database and puts them back, whatever engine it has."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def take(self) -> dict[str, list[dict[str, Any]]]:
        with database.reading(self._cloud.store._engine) as conn:
            return {
                table.name: [dict(row._mapping) for row in conn.execute(select(table))]
                for table in metadata.sorted_tables
            }

    def put_back(self, copy: dict[str, list[dict[str, Any]]], *, running: bool = False) -> None:
        """Restore in place, with the database's own metadata: no other copy is newer."""
        engine = self._cloud.store._engine
        with database.writing(engine) as conn:
            now = {row.name: row.value for row in conn.execute(select(metadata.tables["meta"]))}
            for table in reversed(metadata.sorted_tables):
                conn.execute(delete(table))
            for table in metadata.sorted_tables:
                if copy[table.name]:
                    conn.execute(table.insert(), copy[table.name])
            meta = metadata.tables["meta"]  # the place is the same: this is what it can't tell
            conn.execute(update(meta).where(meta.c.name == "place").values(value=now["place"]))
        if not running:
            place.close(engine)


@contextmanager
def started_again(cloud: Cloud) -> Iterator[Cloud]:
    store = Store.open(cloud.settings, cloud.clock)
    try:
        yield Cloud(store, cloud.clock, cloud.settings, cloud.seqs)
    finally:
        store.close()


@pytest.fixture
def agent(cloud: Cloud) -> HostAgent:
    cloud.host("h1", network_host=True)
    cloud.store.housekeep()  # so that its heartbeat is written
    return HostAgent("h1")


@pytest.fixture
def network(cloud: Cloud, agent: HostAgent) -> Network:
    made = cloud.network(host="h1")
    agent.look(cloud)
    return made


# --- noticed --------------------------------------------------------------------------------------


def test_a_copy_of_a_moment_ago_is_noticed_by_the_first_host_that_asks(
    cloud: Cloud, agent: HostAgent, network: Network
) -> None:
    copies = Copies(cloud)
    copy = copies.take()
    cloud.port(network, "h1")
    agent.look(cloud)
    before = cloud.store.epoch
    cloud.store.close()
    copies.put_back(copy)
    with started_again(cloud) as again:
        assert again.store.epoch == before  # nothing tells it so far
        assert agent.look(again)
        assert again.store.epoch != before


def test_it_is_noticed_however_far_its_counter_has_come_meanwhile(
    cloud: Cloud, agent: HostAgent, network: Network
) -> None:
    copies = Copies(cloud)
    copy = copies.take()
    cloud.port(network, "h1")
    agent.look(cloud)
    cloud.store.close()
    copies.put_back(copy)
    with started_again(cloud) as again:
        for _ in range(9):
            again.network(None)
        assert agent.look(again)


def test_it_is_noticed_if_the_lost_part_began_after_a_restart(
    cloud: Cloud, agent: HostAgent, network: Network
) -> None:
    copies = Copies(cloud)
    copy = copies.take()
    cloud.store.close()
    with started_again(cloud) as lost:
        agent.look(lost)
    copies.put_back(copy)
    with started_again(cloud) as again:
        assert agent.look(again)


def test_a_copy_under_a_running_server_is_noticed(
    cloud: Cloud, agent: HostAgent, network: Network
) -> None:
    copies = Copies(cloud)
    copy = copies.take()
    cloud.port(network, "h1")
    agent.look(cloud)
    copies.put_back(copy, running=True)
    assert agent.look(cloud)


def test_no_restart_is_taken_for_it(cloud: Cloud, agent: HostAgent, network: Network) -> None:
    for _ in range(3):
        cloud.store.close()
        with started_again(cloud) as again:
            assert not agent.look(again)
            again.port(network, "h1")
            assert not agent.look(again)


def test_several_servers_begin_one_epoch(make_cloud: Callable[..., Cloud], engine: str) -> None:
    if engine == "sqlite":
        pytest.skip("on SQLite there is one server")
    one, other = make_cloud(), make_cloud()
    one.host("h1", network_host=True)
    one.host("h2")
    network = one.network(host="h1")
    agents = [HostAgent("h1"), HostAgent("h2")]
    one.port(network, "h2")
    copies = Copies(one)
    copy = copies.take()
    one.port(network, "h2")
    for agent in agents:
        agent.look(one)
    copies.put_back(copy, running=True)
    assert agents[0].look(one)
    assert agents[1].look(other)
    assert agents[0].view.epoch == agents[1].view.epoch
    assert not agents[0].look(other)


def test_a_host_can_not_claim_a_position_that_never_was(
    cloud: Cloud, agent: HostAgent, network: Network
) -> None:
    """Its token is worth that host alone: it must not make all others take whole views."""
    with database.reading(cloud.store._engine) as conn:
        at = history.now(conn)
    run, revision, signed = agent.view.position.split(":")
    for position in (
        f"{run}:{ALL}:{signed}",
        f"other:{revision}:{signed}",
        f"{run}:{ALL}:",
        replace(at, revision=ALL, secret="guessed").position,
        "::",
        "nonsense",
        "\x00:٣:x",
        f"{run}:{'9' * 5000}:{signed}",
    ):
        asked = ViewRequest(epoch=at.epoch, cursors={network.id: ALL}, position=position)
        assert views.answer(cloud.store, "h1", asked).epoch == at.epoch


def test_a_position_of_an_earlier_epoch_does_not_count(
    cloud: Cloud, agent: HostAgent, network: Network
) -> None:
    cloud.port(network, "h1")
    agent.look(cloud)
    old = agent.view
    cloud.store.close()
    upkeep.restored(cloud.settings)
    with started_again(cloud) as again:
        epoch = again.store.epoch
        asked = replace(request(old, 0.0), epoch=epoch)
        assert views.answer(again.store, "h1", asked).epoch == epoch


# --- the addresses --------------------------------------------------------------------------------


@pytest.fixture
def lost(cloud: Cloud, agent: HostAgent, network: Network) -> Iterator[tuple[Cloud, Port]]:
    """A restored store, with the port that it lost; the host has it, and its lease."""
    copies = Copies(cloud)
    copy = copies.take()
    port = cloud.port(network, "h1")
    agent.lease(cloud, port)
    agent.look(cloud)
    cloud.store.close()
    copies.put_back(copy)
    upkeep.restored(cloud.settings)
    with started_again(cloud) as again:
        yield again, port


def test_no_address_is_given_out_before_the_hosts_have_told_theirs(
    lost: tuple[Cloud, Port], agent: HostAgent, network: Network
) -> None:
    cloud, port = lost
    with pytest.raises(Unavailable, match=r"host h1 has not yet reported .* try again"):
        cloud.port(network, "h1")
    with pytest.raises(Unavailable, match="the database was restored"):
        cloud.port(network, "h1", address=str(ip_of(port)))
    assert agent.look(cloud)
    assert ip_of(cloud.port(network, "h1")) != ip_of(port)
    assert cloud.state(network, ip_of(port)) == "releasing"


def test_a_lost_ports_address_is_free_when_its_host_has_let_go_and_its_lease_is_over(
    lost: tuple[Cloud, Port], agent: HostAgent, network: Network
) -> None:
    cloud, port = lost
    agent.look(cloud)
    cloud.wait(100)
    cloud.applied("h1", network, agent.view.scopes[network.id].revision)
    assert cloud.state(network, ip_of(port)) == "releasing"  # its VM may believe in it
    cloud.wait(600)
    assert cloud.state(network, ip_of(port)) == "free"


def test_a_lost_ports_address_waits_for_its_lease_though_its_dhcp_server_dropped_it(
    lost: tuple[Cloud, Port], agent: HostAgent, network: Network
) -> None:
    """The reservation goes with the new view, and the lease with it; the VM lives and has it."""
    cloud, port = lost
    agent.look(cloud)
    cloud.lease("h1", "del", port)
    cloud.applied("h1", network, agent.view.scopes[network.id].revision)
    assert cloud.store.leases.find(by(live=True)) == []
    assert cloud.state(network, ip_of(port)) == "releasing"
    cloud.wait(500)
    assert cloud.state(network, ip_of(port)) == "releasing"
    cloud.wait(200)
    assert cloud.state(network, ip_of(port)) == "free"


def test_an_operator_frees_a_lost_ports_address_sooner(
    lost: tuple[Cloud, Port], agent: HostAgent, network: Network
) -> None:
    cloud, port = lost
    agent.look(cloud)
    [lease] = cloud.store.leases.find()
    cloud.applied("h1", network, agent.view.scopes[network.id].revision)
    cloud.store.write(lease_rules.release, lease.id)
    assert cloud.state(network, ip_of(port)) == "free"


def test_an_address_without_a_lease_is_held_until_its_host_has_applied_the_view(
    lost: tuple[Cloud, Port], agent: HostAgent, network: Network
) -> None:
    """A VM with the address from its image: only the tap says that it is in use."""
    cloud, port = lost
    agent.leases.clear()
    agent.look(cloud)
    assert cloud.state(network, ip_of(port)) == "releasing"
    cloud.applied("h1", network, agent.view.scopes[network.id].revision)
    assert cloud.state(network, ip_of(port)) == "free"


def test_a_port_made_again_with_its_mac_gets_its_address_back(
    lost: tuple[Cloud, Port], agent: HostAgent, network: Network
) -> None:
    cloud, port = lost
    agent.look(cloud)
    again = cloud.port(network, "h1", mac_address=port.mac_address, address=str(ip_of(port)))
    assert ips_of(again) == ips_of(port)


def test_a_silent_host_is_waited_for_a_bounded_time(
    lost: tuple[Cloud, Port], network: Network
) -> None:
    cloud, _ = lost
    cloud.clock.now += cloud.settings.agent_down_time - 1
    with pytest.raises(Unavailable):
        cloud.port(network)
    cloud.wait(2)
    cloud.port(network)


def test_a_restore_with_no_hosts_waits_for_none(cloud: Cloud) -> None:
    network = cloud.network()
    cloud.store.close()
    upkeep.restored(cloud.settings)
    with started_again(cloud) as again:
        again.port(network)


def test_what_was_told_of_another_epoch_is_not_taken(
    lost: tuple[Cloud, Port], agent: HostAgent, network: Network
) -> None:
    cloud, _ = lost
    assert not agent.tell(cloud, "another")
    with pytest.raises(Unavailable):
        cloud.port(network)


def test_all_hosts_are_waited_for(cloud: Cloud, agent: HostAgent, network: Network) -> None:
    cloud.host("h2")
    cloud.store.close()
    upkeep.restored(cloud.settings)
    with started_again(cloud) as again:
        agent.look(again)
        with pytest.raises(Unavailable, match="host h2 has"):
            again.port(network)
        HostAgent("h2").look(again)
        again.port(network)


def test_an_address_that_is_another_ports_meanwhile_is_said(
    lost: tuple[Cloud, Port],
    agent: HostAgent,
    network: Network,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The host was silent for longer than anybody waits for it."""
    cloud, port = lost
    cloud.wait(cloud.settings.agent_down_time + 1)
    new = cloud.port(network, "h1", address=str(ip_of(port)))
    agent.look(cloud)
    assert cloud.store.ports.get(new.id).fixed_ips == new.fixed_ips
    said = "".join(capsys.readouterr())
    assert "an address is in use by two" in said
    assert port.mac_address in said


def test_leases_that_the_copy_did_not_have_are_there_again(
    lost: tuple[Cloud, Port], agent: HostAgent
) -> None:
    cloud, port = lost
    assert cloud.store.leases.find() == []
    agent.look(cloud)
    [lease] = cloud.store.leases.find()
    assert (lease.address, lease.mac_address) == (ip_of(port), port.mac_address)
    assert upkeep.check(cloud.settings) == []


def test_dhcp_servers_of_overlay_networks_wait_too(
    make_cloud: Callable[..., Cloud],
) -> None:
    """They need addresses; a report must not fail for it."""
    cloud = make_cloud()
    cloud.store.write(host_rules.create, "h1")
    cloud.report("h1")
    network = cloud.network(network_type="vxlan")
    cloud.store.housekeep()
    cloud.store.close()
    upkeep.restored(cloud.settings)
    with started_again(cloud) as again:
        end: Any = "192.0.2.1"
        again.report("h1", network_host=True, local_ip=end)
        failover.watch(again.store)
        assert again.store.read(dhcp_scheduler.hosts_serving, network.id) == []
        HostAgent("h1").look(again)
        failover.watch(again.store)
        assert [
            host.name for host in again.store.read(dhcp_scheduler.hosts_serving, network.id)
        ] == ["h1"]


@SQLITE
def test_a_young_copy_of_the_file_is_noticed_at_the_start(
    cloud: Cloud, agent: HostAgent, network: Network, tmp_path: Path
) -> None:
    """Made by other means than `lessor db backup`, a moment ago; no host has asked yet."""
    file = cloud.settings.state_dir / database.FILE
    copy_of(file, tmp_path / "copy")
    cloud.port(network)
    before = cloud.store.epoch
    cloud.store.close()
    shutil.copy(tmp_path / "copy", file)
    with started_again(cloud) as again:
        assert again.store.epoch != before
        with pytest.raises(Unavailable, match="was restored"):
            again.port(network)


def copy_of(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def killed(cloud: Cloud, folder: Path) -> Cloud:
    """Return what is left where a server was killed: its files, as they are while it runs."""
    shutil.copytree(cloud.settings.state_dir, folder)
    return replace(cloud, settings=replace(cloud.settings, state_dir=folder))


@SQLITE
def test_after_a_kill_nothing_is_taken_for_a_restore(cloud: Cloud, tmp_path: Path) -> None:
    cloud.network()
    upkeep.check(cloud.settings)  # while the server runs
    with started_again(killed(cloud, tmp_path / "killed")) as again:
        assert again.store.epoch == cloud.store.epoch


@SQLITE
def test_a_young_copy_that_is_put_back_after_a_kill_is_noticed(
    cloud: Cloud, tmp_path: Path
) -> None:
    dead = killed(cloud, tmp_path / "killed")
    file = dead.settings.state_dir / database.FILE
    copy_of(cloud.settings.state_dir / database.FILE, tmp_path / "copy")
    for end in ("-wal", "-shm"):
        file.with_name(file.name + end).unlink()
    shutil.copy(tmp_path / "copy", file)
    with started_again(dead) as again:
        assert again.store.epoch != cloud.store.epoch


def without_wal(cloud: Cloud, folder: Path) -> Cloud:
    """Return what is left where a server was killed and its -wal file was removed."""
    dead = killed(cloud, folder)
    file = dead.settings.state_dir / database.FILE
    for end in ("-wal", "-shm"):
        file.with_name(file.name + end).unlink()
    return dead


@SQLITE
def test_a_lost_wal_is_refused_with_the_way_out(cloud: Cloud, tmp_path: Path) -> None:
    cloud.network()
    dead = without_wal(cloud, tmp_path / "killed")
    for _ in range(2):  # a look changes nothing
        with pytest.raises(Unavailable, match="lost its -wal file.*`lessor db restored`"):
            Store.open(dead.settings)
        [finding] = upkeep.check(dead.settings)
        assert "lost its -wal file" in finding.words
    shutil.copy(
        cloud.settings.state_dir / f"{database.FILE}-wal",
        dead.settings.state_dir / f"{database.FILE}-wal",
    )
    with started_again(dead) as again:
        assert len(again.store.networks.find()) == 1
        assert again.store.epoch == cloud.store.epoch


@SQLITE
def test_an_emptied_wal_is_refused_too(cloud: Cloud, tmp_path: Path) -> None:
    cloud.network()
    dead = without_wal(cloud, tmp_path / "killed")
    (dead.settings.state_dir / f"{database.FILE}-wal").touch()
    with pytest.raises(Unavailable, match="lost its -wal file"):
        Store.open(dead.settings)


@SQLITE
def test_an_operator_goes_on_without_a_lost_wal(cloud: Cloud, tmp_path: Path) -> None:
    cloud.network()
    dead = without_wal(cloud, tmp_path / "killed")
    epoch = upkeep.restored(dead.settings)
    with started_again(dead) as again:
        assert again.store.networks.find() == []
        assert again.store.epoch == epoch != cloud.store.epoch


@SQLITE
def test_a_copy_of_the_closed_file_is_no_lost_wal(cloud: Cloud, tmp_path: Path) -> None:
    """Made with cp while no server ran, and put back after the next one was killed."""
    cloud.store.close()
    file = cloud.settings.state_dir / database.FILE
    shutil.copy(file, tmp_path / "copy")
    with started_again(cloud) as lost:
        dead = without_wal(lost, tmp_path / "killed")
    shutil.copy(tmp_path / "copy", dead.settings.state_dir / database.FILE)
    with started_again(dead) as again:
        assert again.store.epoch != lost.store.epoch


@SQLITE
def test_a_lost_wal_whose_last_minute_was_moved_to_the_file_is_noticed(
    cloud: Cloud, tmp_path: Path
) -> None:
    """The token is in the file, as after sqlite3 has read what a killed server left: no refusal."""
    with cloud.store._engine.connect() as conn:
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    cloud.network()
    with started_again(without_wal(cloud, tmp_path / "killed")) as again:
        assert again.store.networks.find() == []
        assert again.store.epoch != cloud.store.epoch
