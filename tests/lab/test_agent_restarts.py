"""Agents that are killed and started again, at bad moments, on hosts of an overlay lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lessor.lab.cloud import LabNetwork
from lessor.lab.demo.overlay import dhcp_hosts
from lessor.lab.lab import Lab
from lessor.lab.services import AGENT, LESSOR, SERVER, start_agent
from lessor.lab.state import HostSpec

pytestmark = pytest.mark.lab

HOSTS = [
    HostSpec(name="net1", overlay=True, network_host=True),
    HostSpec(name="net2", overlay=True, network_host=True),
    HostSpec(name="cmp1", overlay=True),
]
LIMIT_S = 60
RESTARTS = 4


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab.up(tmp_path_factory.mktemp("restarts") / "lab", HOSTS)
    yield made
    made.down()


def run_of(lab: Lab, host: str) -> str:
    """Return when the run began of which the server has heard last."""
    return str(lab.api.find("hosts", host)["started_at"])


def heard_again(lab: Lab, host: str, before: str) -> bool:
    """Tell whether a run that began later is known, and in sync."""
    row = lab.api.find("hosts", host)
    return bool(row["started_at"] != before and row["alive"] and row["in_sync"])


def releasing(lab: Lab, network: LabNetwork) -> list[str]:
    rows = lab.api.list("addresses", {"network_id": network.id, "state": "releasing"})
    return [row["address"] for row in rows]


def delete(lab: Lab, ports: list[str]) -> None:
    for port in ports:
        lab.api.delete("ports", port)


def test_a_dhcp_host_that_was_killed_and_is_back_holds_no_address(lab: Lab) -> None:
    network = lab.network("red", "10.60.0.0/24", kind="vxlan")
    body = {"network_id": network.id, "binding:host_id": "cmp1"}
    ports = [lab.api.create("ports", body)["id"] for _ in range(20)]
    lab.wait_for(lambda: dhcp_hosts(lab, network), LIMIT_S, "a DHCP host")
    (dead,) = dhcp_hosts(lab, network)
    wired = {"network_id": network.id, "binding:host_id": dead, "status": "ACTIVE"}
    lab.wait_for(lambda: lab.api.list("ports", wired), LIMIT_S, "it serves")

    vm = lab.boot("r1", "cmp1", network)
    lab.wait_active(vm, LIMIT_S)
    vm.dhcp(LIMIT_S)
    before = run_of(lab, dead)

    lab.kill(dead, AGENT)
    delete(lab, ports[:5])
    lab.wait_for(lambda: dead not in dhcp_hosts(lab, network), LIMIT_S, "a successor")
    delete(lab, ports[5:10])
    lab.start(dead, AGENT)
    lab.wait_for(lambda: heard_again(lab, dead, before), LIMIT_S, "it is back")
    delete(lab, ports[10:15])

    lab.wait_for(lambda: not releasing(lab, network), LIMIT_S, "every address is free again")


def test_an_agent_started_often_while_the_server_is_away_is_taken(lab: Lab) -> None:
    before = run_of(lab, "net2")
    lab.kill(SERVER, SERVER)
    try:
        for _ in range(RESTARTS):
            lab.kill("net2", AGENT)
            restart(lab, "net2")
    finally:
        lab.start(SERVER, SERVER)
    lab.wait_for(lambda: heard_again(lab, "net2", before), LIMIT_S, "it is taken")
    assert lab.is_running("net2", AGENT)


def test_a_plan_and_a_tour_go_by_the_settings_that_the_agent_runs_with(lab: Lab) -> None:
    network = lab.network("blue", "10.61.0.0/24", kind="vxlan")
    vm = lab.boot("b1", "cmp1", network)
    lab.wait_active(vm, LIMIT_S)
    file = lab.node("cmp1").etc_dir / "lessor.conf"
    before = file.read_text()
    file.write_text(f"{before}\nintegration_bridge = br-later\n")  # the agent wasn't started again
    try:
        shown = [look(lab, *words) for words in (("plan",), ("tour", "blue"))]
        later = look(lab, "plan", "--config-file", "/etc/lessor/lessor.conf")
    finally:
        file.write_text(before)
    assert not any("br-later" in one for one in shown), shown
    assert "br-int" in shown[1]
    assert "br-later" in later


def look(lab: Lab, *words: str) -> str:
    """Return what `lessor agent` says on cmp1, whatever its exit status."""
    return lab.exec("cmp1", "sh", "-c", '"$@" || true', "sh", LESSOR, "agent", *words)


def restart(lab: Lab, host: str) -> None:
    """Start an agent that no server answers, and wait until it has said so."""
    node = lab.node(host)
    log = node.log(AGENT)
    before = log.read_text().count("server away")
    lab._record(host, AGENT, start_agent(node))
    lab.wait_for(lambda: log.read_text().count("server away") > before, LIMIT_S, "it runs")
