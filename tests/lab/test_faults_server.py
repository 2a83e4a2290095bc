"""The server away, a second agent, another store: what VMs and an operator see of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from lessor.errors import CommandError
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.services import AGENT, LESSOR, SERVER, write_token
from lessor.lab.state import HostSpec
from lessor.lab.vm import NetnsVm

pytestmark = pytest.mark.lab

LIMIT_S = 30
SETTINGS = ("--config-file", "/etc/lessor/lessor.conf")
BOOK = "var/lib/lessor/agent/leases/br100"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    hosts = [HostSpec(name="net1", network_host=True), HostSpec(name="cmp1")]
    made = Lab.up(tmp_path_factory.mktemp("faults") / "lab", hosts)
    yield made
    made.down()


def plugged(lab: Lab, vm_name: str, on: str, network: LabNetwork) -> NetnsVm:
    vm = lab.boot(vm_name, on, network)
    assert isinstance(vm, NetnsVm)
    return vm


def leases(lab: Lab, vm: NetnsVm) -> list[dict[str, Any]]:
    rows = lab.api.list("leases", {"mac_address": vm.state.mac})
    return sorted(rows, key=lambda row: (row["started_at"], row["live"]))


def in_book(lab: Lab, host: str, vm: NetnsVm) -> bool:
    """Tell whether a host's agent has noted a VM's lease."""
    book = lab.node(host).root / BOOK
    return book.exists() and vm.state.mac in book.read_text()


def launch_without_server(lab: Lab, host: str) -> None:
    lab._launch(host, AGENT)  # start() waits until the agent is in sync


def test_a_server_killed_in_a_long_poll_is_followed_again(lab: Lab) -> None:
    """A port that was made just before it died gets its address."""
    network = lab.network("poll", "10.41.0.0/24")
    agents = {host: lab.host_state(host).processes[AGENT] for host in lab.hosts}
    vm = plugged(lab, "poll-vm", "cmp1", network)

    lab.kill(SERVER, SERVER)
    lab.start(SERVER, SERVER)

    lab.wait_active(vm, LIMIT_S)
    assert vm.dhcp(LIMIT_S).address == vm.state.assigned
    lab.wait_for(lambda: leases(lab, vm), LIMIT_S, "the lease is known")
    assert all(lab.is_running(host, AGENT) for host in agents)
    assert {host: lab.host_state(host).processes[AGENT] for host in lab.hosts} == agents


def test_no_lease_event_is_lost_or_counted_twice(lab: Lab) -> None:
    """The server is away, and the agent is killed twice, once while nobody hears dnsmasq."""
    network = lab.network("events", "10.42.0.0/24", multi_host=True)
    steady, fickle, late = (plugged(lab, f"{n}-vm", "cmp1", network) for n in ("a", "b", "c"))
    for vm in (steady, fickle, late):
        lab.wait_active(vm, LIMIT_S)
    steady.dhcp(LIMIT_S)
    lab.wait_for(lambda: leases(lab, steady), LIMIT_S, "the first lease is known")
    [before] = leases(lab, steady)
    lab.wait_for(lambda: told(time.time()) > before["renewed_at"], LIMIT_S, "a second has gone by")

    lab.kill(SERVER, SERVER)
    fickle.dhcp(LIMIT_S)
    lab.wait_for(lambda: in_book(lab, "cmp1", fickle), LIMIT_S, "a lease is noted")
    release(lab, fickle)
    lab.wait_for(lambda: not in_book(lab, "cmp1", fickle), LIMIT_S, "its end is noted")
    lab.kill("cmp1", AGENT)
    for vm in (fickle, late):
        vm.dhcp(LIMIT_S)
    steady.renew()
    lab.wait_for(lambda: "renew" in steady.events(), LIMIT_S, "a renewal without server or agent")
    launch_without_server(lab, "cmp1")
    lab.wait_for(lambda: in_book(lab, "cmp1", late), LIMIT_S, "the agent has caught up")
    lab.kill("cmp1", AGENT)
    returned_at = time.time()
    lab.start(SERVER, SERVER)
    lab.start("cmp1", AGENT)

    lab.wait_for(lambda: leases(lab, late), LIMIT_S, "the last lease is known")
    assert [(row["live"], row["end_reason"]) for row in leases(lab, fickle)] == [
        (False, "released"),
        (True, ""),
    ]
    [after] = leases(lab, steady)
    assert (after["id"], after["live"]) == (before["id"], True)
    assert after["renewed_at"] > before["renewed_at"]
    [last] = leases(lab, late)
    assert last["live"]
    assert last["started_at"] <= told(returned_at)


def release(lab: Lab, vm: NetnsVm) -> None:
    """Have the VM's client give its lease back: SIGUSR2 is udhcpc's order to release."""
    client = vm._client()
    assert client is not None
    lab.node(vm.state.host).kill(client, "USR2")


def told(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def test_a_second_agent_of_a_hosts_name_is_refused_and_touches_nothing(lab: Lab) -> None:
    token = (lab.node("cmp1").state_dir / "agent-token").read_text()
    (lab.node("net1").root / "run/token-of-cmp1").write_text(token)
    lab.kill("net1", AGENT)  # there is one agent on a host
    before = lab.exec("net1", "ip", "-4", "addr")
    with pytest.raises(CommandError) as caught:
        lab.exec(
            "net1",
            LESSOR,
            "agent",
            *SETTINGS,
            "--state-dir",
            "/run/second",
            "--set",
            "host=cmp1",
            "--set",
            "token_file=/run/token-of-cmp1",
        )
    assert "exit 1: lessor: " in str(caught.value)
    assert "another agent reports as host cmp1" in str(caught.value)
    assert lab.exec("net1", "ip", "-4", "addr") == before
    assert lab.is_running("cmp1", AGENT)
    lab.start("net1", AGENT)


def test_a_second_agent_in_the_same_folder_is_refused(lab: Lab) -> None:
    with pytest.raises(CommandError, match="exit 1: lessor: another agent runs on this host: pid "):
        lab.exec("cmp1", LESSOR, "agent", *SETTINGS)
    assert lab.is_running("cmp1", AGENT)


def test_an_agent_that_was_started_again_is_taken_at_once(lab: Lab) -> None:
    """Long before the server would hold its former run for dead (agent_down_time: 75 s)."""
    confirmed = lab.node("cmp1").state_dir / "agent" / "run-id"  # the run that the server took
    before = confirmed.read_text()
    lab.kill("cmp1", AGENT)
    lab.start("cmp1", AGENT)
    lab.wait_for(lambda: confirmed.read_text() != before, LIMIT_S, "the new run is taken")
    assert lab.is_running("cmp1", AGENT)


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    hosts = [HostSpec(name="net1", network_host=True)]
    made = Lab.up(tmp_path_factory.mktemp("other") / "lab", hosts)
    yield made
    made.down()


def test_a_store_that_would_take_all_away_waits_for_an_operators_word(other: Lab) -> None:
    lab = other
    vm = plugged(lab, "vm", "net1", lab.network("blue", "10.43.0.0/24"))
    lab.wait_active(vm, LIMIT_S)
    vm.dhcp(LIMIT_S)
    with pytest.raises(CommandError, match="exit 1: lessor: no other store was offered"):
        lab.exec("net1", LESSOR, "agent", *SETTINGS, "accept")

    lab.kill(SERVER, SERVER)
    lab.exec(SERVER, "sh", "-ec", "mkdir /run/former; mv /var/lib/lessor/* /run/former")
    lab.start(SERVER, SERVER)
    write_token(lab.node("net1"), lab.api.create("hosts", {"name": "net1"})["token"])

    lab.wait_for(lambda: "lessor agent accept" in status(lab), LIMIT_S, "it is said")
    assert "without 100% of the ports served here" in status(lab)
    vm.renew()
    lab.wait_for(lambda: "renew" in vm.events(), LIMIT_S, "the VM is still served")
    accepted = lab.exec("net1", LESSOR, "agent", *SETTINGS, "accept")
    assert accepted.strip() in lab.node("net1").log(AGENT).read_text()
    lab.wait_for(lambda: "br100" not in lab.exec("net1", "ip", "link"), LIMIT_S, "all is gone")
    lab.wait_for(lambda: "accept" not in status(lab), LIMIT_S, "it is no longer said")


def status(lab: Lab) -> str:
    return lab.exec(SERVER, LESSOR, "status")
