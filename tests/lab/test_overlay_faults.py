"""What breaks on a host with overlay networks, and comes back by itself (issue: section 6)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lessor.errors import CommandError
from lessor.lab.cloud import LabNetwork
from lessor.lab.demo.overlay import dhcp_hosts, lease_host, renew
from lessor.lab.lab import Lab
from lessor.lab.ovs import DATABASE, SERVER, SWITCH
from lessor.lab.services import start_agent
from lessor.lab.vm import Vm

pytestmark = [pytest.mark.lab, pytest.mark.long]  # a minute and a half: much of it is waiting

BACK_S = 30  # from a fault to service; the agent's full look is every 30 s, events come earlier
FAILOVER_S = 40  # from a host's death to its successor's service, on a busy machine


@pytest.fixture(autouse=True)
def _all_on(overlay_lab: Lab) -> Iterator[None]:
    """A test that failed half way leaves no host off, and no cable cut, to the next one."""
    yield
    for name in ("net1", "net2"):
        overlay_lab.heal(name)
        if not overlay_lab.node(name).is_running():
            overlay_lab.power_on(name)


@pytest.fixture(scope="module")
def nets(overlay_lab: Lab) -> list[LabNetwork]:
    return [overlay_lab.network(f"n{i}", "10.50.0.0/24", kind="vxlan") for i in range(3)]


@pytest.fixture(scope="module")
def vms(overlay_lab: Lab, nets: list[LabNetwork]) -> list[Vm]:
    """A VM of each network, all on cmp1; all have the same address."""
    made = []
    for network in nets:
        vm = overlay_lab.boot(f"vm-{network.name}", "cmp1", network)
        overlay_lab.wait_active(vm, timeout_s=20)
        vm.dhcp(timeout_s=20)
        made.append(vm)
    assert len({vm.state.assigned for vm in made}) == 1
    return made


def served(vm: Vm) -> bool:
    """Ask anew: from DISCOVER on, over all tables and tunnels."""
    try:
        return vm.dhcp(timeout_s=3).address == vm.state.assigned
    except TimeoutError:
        return False


def back(lab: Lab, vm: Vm) -> None:
    lab.wait_for(lambda: served(vm), BACK_S, f"{vm.state.name} gets its address again")


def qdhcp(network: LabNetwork) -> str:
    return f"qdhcp-{network.id}"


@pytest.mark.parametrize("what", [SWITCH, SERVER])
@pytest.mark.parametrize("where", ["compute", "dhcp"])
def test_a_killed_daemon_of_open_vswitch_that_is_started_again_serves_again(
    overlay_lab: Lab, nets: list[LabNetwork], vms: list[Vm], what: str, where: str
) -> None:
    host = "cmp1" if where == "compute" else dhcp_hosts(overlay_lab, nets[0])[0]
    overlay_lab.kill(host, what)
    overlay_lab.start(host, what)
    back(overlay_lab, vms[0])


def test_an_empty_database_of_open_vswitch_is_filled_again(overlay_lab: Lab, vms: list[Vm]) -> None:
    overlay_lab.kill("cmp1", SERVER)
    overlay_lab.exec("cmp1", "rm", DATABASE)
    overlay_lab.start("cmp1", SERVER)
    for vm in vms:
        back(overlay_lab, vm)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("ovs-ofctl del-flows br-tun", id="flows-of-br-tun"),
        pytest.param("ovs-ofctl del-flows br-int", id="flows-of-br-int"),
        pytest.param("ovs-vsctl del-br br-tun", id="br-tun"),
        pytest.param("ovs-vsctl del-br br-int", id="br-int"),
    ],
)
def test_what_was_deleted_by_hand_is_made_again(
    overlay_lab: Lab, vms: list[Vm], words: str
) -> None:
    overlay_lab.exec("cmp1", *words.split())
    back(overlay_lab, vms[0])


def test_a_tunnel_that_was_deleted_by_hand_is_made_again(
    overlay_lab: Lab, nets: list[LabNetwork], vms: list[Vm]
) -> None:
    end = overlay_lab.host_state(dhcp_hosts(overlay_lab, nets[0])[0]).tunnel_address
    assert end is not None
    overlay_lab.exec("cmp1", "ovs-vsctl", "del-port", f"vxlan-{int(end):08x}")
    back(overlay_lab, vms[0])


def test_a_namespace_that_was_deleted_by_hand_is_made_again(
    overlay_lab: Lab, nets: list[LabNetwork], vms: list[Vm]
) -> None:
    overlay_lab.exec(dhcp_hosts(overlay_lab, nets[0])[0], "ip", "netns", "del", qdhcp(nets[0]))
    back(overlay_lab, vms[0])


def test_a_killed_dnsmasq_comes_back_and_the_others_do_not_notice(
    overlay_lab: Lab, nets: list[LabNetwork], vms: list[Vm]
) -> None:
    host = dhcp_hosts(overlay_lab, nets[0])[0]
    before = {network.id: dnsmasq_of(overlay_lab, host, network) for network in nets}
    mine = before.pop(nets[0].id)
    overlay_lab.exec(host, "kill", "-KILL", *mine)
    back(overlay_lab, vms[0])
    for network in nets[1:]:
        assert dnsmasq_of(overlay_lab, host, network) == before[network.id]


def dnsmasq_of(lab: Lab, host: str, network: LabNetwork) -> list[str]:
    try:
        pids = lab.exec(host, "ip", "netns", "pids", qdhcp(network)).split()
    except CommandError:
        return []
    programs = {str(process.pid) for process in lab.node(host).find("dnsmasq")}
    return sorted(programs & set(pids))


def test_a_killed_agent_interrupts_nothing(
    overlay_lab: Lab, nets: list[LabNetwork], vms: list[Vm]
) -> None:
    for host in ("cmp1", dhcp_hosts(overlay_lab, nets[0])[0]):
        overlay_lab.kill(host, "agent")
        assert served(vms[0])
        overlay_lab.start(host, "agent")
        assert served(vms[0])


def test_one_killed_dnsmasq_of_20_comes_back_and_the_others_do_not_notice(
    overlay_lab: Lab, nets: list[LabNetwork]
) -> None:
    lab = overlay_lab
    many = [lab.network(f"m{i}", f"10.60.{i}.0/24", kind="vxlan") for i in range(20 - len(nets))]
    on: dict[str, list[LabNetwork]] = {}
    for network in (*nets, *many):
        on.setdefault(dhcp_hosts(lab, network)[0], []).append(network)

    def all_run() -> bool:
        return all(dnsmasq_of(lab, host, one) for host, many in on.items() for one in many)

    lab.wait_for(all_run, timeout_s=60, what="all DHCP servers run")
    host, served_there = max(on.items(), key=lambda pair: len(pair[1]))
    before = {network.id: dnsmasq_of(lab, host, network) for network in served_there}
    mine = before.pop(served_there[0].id)
    lab.exec(host, "kill", "-KILL", *mine)
    lab.wait_for(
        lambda: set(dnsmasq_of(lab, host, served_there[0])) - set(mine), BACK_S, "it is back"
    )
    assert {n.id: dnsmasq_of(lab, host, n) for n in served_there[1:]} == before
    for network in many:
        lab.api.delete("networks", network.id)


def test_an_underlay_that_was_cut_and_healed_carries_again(overlay_lab: Lab, vms: list[Vm]) -> None:
    overlay_lab.cut("cmp1", "eth2")
    assert not served(vms[0])
    overlay_lab.heal("cmp1", "eth2")
    back(overlay_lab, vms[0])


def test_d3_13_a_killed_dhcp_host_is_replaced_with_its_address_and_all_leases(
    overlay_lab: Lab, nets: list[LabNetwork], vms: list[Vm]
) -> None:
    """And it stays replaced when the dead one is back."""
    lab, vm, network = overlay_lab, vms[0], nets[0]
    assert served(vm)
    lease, dead = vm.lease(), dhcp_hosts(lab, network)[0]
    assert lease is not None
    seen = len(vm.events())
    lab.power_off(dead)
    lab.wait_for(lambda: dead not in dhcp_hosts(lab, network), FAILOVER_S, "a successor")
    lab.wait_for(lambda: vm.ping(lease.server, timeout_s=1), FAILOVER_S, "it answers")
    renew(vm)
    now = vm.lease()
    assert now is not None
    assert (now.address, now.server) == (lease.address, lease.server)
    assert not {"deconfig", "nak"} & set(vm.events()[seen:])
    lab.wait_for(
        lambda: lease_host(lab, vm) in dhcp_hosts(lab, network), 15, "the store has the lease"
    )
    lab.power_on(dead)
    assert dead not in dhcp_hosts(lab, network)
    assert served(vm)


def test_a_dhcp_host_taken_down_hands_its_network_on_with_address_and_leases(
    overlay_lab: Lab, nets: list[LabNetwork], vms: list[Vm]
) -> None:
    lab, vm, network = overlay_lab, vms[1], nets[1]
    assert served(vm)
    lease, (old,) = vm.lease(), dhcp_hosts(lab, network)
    assert lease is not None
    seen, agent = len(vm.events()), lab.api.list("agents", {"host": old})[0]["id"]
    lab.api.update("agents", agent, {"admin_state_up": False})
    try:
        (new,) = dhcp_hosts(lab, network)
        assert new != old
        lab.wait_for(lambda: not dnsmasq_of(lab, old, network), BACK_S, f"{old} serves no more")
        lab.wait_for(lambda: vm.ping(lease.server, timeout_s=1), BACK_S, f"{new} answers")
        renew(vm)
        now = vm.lease()
        assert now is not None
        assert (now.address, now.server) == (lease.address, lease.server)
        assert not {"deconfig", "nak"} & set(vm.events()[seen:])
        assert served(vm)
    finally:
        lab.api.update("agents", agent, {"admin_state_up": True})


def test_two_dhcp_hosts_that_each_thought_the_other_dead_end_up_with_one_server(
    overlay_lab: Lab, nets: list[LabNetwork], vms: list[Vm]
) -> None:
    """The one that holds the network is cut off from the server, and goes on serving."""
    lab, vm, network = overlay_lab, vms[0], nets[0]
    assert served(vm)
    seen, (old,) = len(vm.events()), dhcp_hosts(lab, network)
    lab.cut(old)
    lab.wait_for(lambda: old not in dhcp_hosts(lab, network), FAILOVER_S, "a successor")
    (new,) = dhcp_hosts(lab, network)
    lab.wait_for(lambda: dnsmasq_of(lab, new, network), FAILOVER_S, "the successor serves")
    assert dnsmasq_of(lab, old, network), "the one that is cut off serves, too"
    late = lab.boot("late", "cmp2", network)
    lab.wait_active(late, timeout_s=30)
    assert late.dhcp(timeout_s=30).address == late.state.assigned
    assert vm.dhcp(timeout_s=30).address == vm.state.assigned
    lab.heal(old)
    lab.wait_for(lambda: not dnsmasq_of(lab, old, network), FAILOVER_S, "only one server is left")
    assert dhcp_hosts(lab, network) == [new]
    addresses = [one.dhcp(timeout_s=30).address for one in (vm, late)]
    assert addresses == [vm.state.assigned, late.state.assigned]
    assert len(set(addresses)) == len(addresses)
    for one, since in ((vm, seen), (late, 0)):
        assert "nak" not in one.events()[since:]
    lab.delete_vm("late")


def test_a_dhcp_host_that_dies_and_returns_while_the_server_is_away_serves_again(
    overlay_lab: Lab, nets: list[LabNetwork], vms: list[Vm]
) -> None:
    """Nobody takes its place meanwhile, and it needs nobody's word: it has its last view."""
    lab, vm, network = overlay_lab, vms[0], nets[0]
    assert served(vm)
    (host,) = dhcp_hosts(lab, network)
    lab.kill("server", "server")
    try:
        lab.power_off(host)
        assert not served(vm)
        lab.power_on(host, wait=False)
        back(lab, vm)
    finally:
        lab.start("server", "server")
    lab.wait_for(lambda: in_sync(lab, host), 60, "it is in sync again")
    assert dhcp_hosts(lab, network) == [host]
    assert served(vm)


def in_sync(lab: Lab, host: str) -> bool:
    row = lab.api.find("hosts", host)
    return bool(row["alive"] and row["in_sync"])


def test_a_second_host_with_the_same_local_ip_is_refused_and_says_so(overlay_lab: Lab) -> None:
    lab = overlay_lab
    taken = lab.host_state("cmp1").tunnel_address
    own = lab.host_state("cmp3").tunnel_address
    with other_local_ip(lab, "cmp3", str(taken)):
        lab.wait_for(
            lambda: f"local_ip {taken}, which is host cmp1's" in log(lab, "cmp3"), 30, "it is said"
        )
        assert lab.api.find("hosts", "cmp3")["local_ip"] == str(own)
    assert lab.api.find("hosts", "cmp1")["local_ip"] == str(taken)


def test_a_local_ip_on_no_interface_is_said_until_it_is_there(overlay_lab: Lab) -> None:
    lab = overlay_lab
    with other_local_ip(lab, "cmp3", "203.0.113.250"):
        lab.wait_for(
            lambda: (
                "local_ip 203.0.113.250 is on no interface"
                in str(lab.api.find("hosts", "cmp3")["problems"])
            ),
            30,
            "it is said",
        )
    lab.wait_for(
        lambda: "on no interface" not in str(lab.api.find("hosts", "cmp3")["problems"]),
        30,
        "it is well again",
    )


@contextmanager
def other_local_ip(lab: Lab, host: str, address: str) -> Iterator[None]:
    """Run a host's agent with another local_ip for a while."""
    settings = lab.node(host).etc_dir / "lessor.conf"
    before = settings.read_text()
    settings.write_text(re.sub(r"(?m)^local_ip = .*$", f"local_ip = {address}", before))
    lab.kill(host, "agent", "TERM")
    agent = start_agent(lab.node(host))
    try:
        yield
    finally:
        lab.node(host).kill(agent)
        settings.write_text(before)
        lab.wait_for(lambda: not lab.is_running(host, "agent"), 20, "the agent has ended")
        lab.start(host, "agent")


def log(lab: Lab, host: str) -> str:
    return lab.node(host).log("agent").read_text()
