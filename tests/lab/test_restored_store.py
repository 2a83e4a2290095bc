"""A back-up is put in the database's place while VMs run that it doesn't know."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lessor.errors import CommandError, LessorError
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.services import AGENT, LESSOR, SERVER
from lessor.lab.state import HostSpec
from lessor.lab.vm import NetnsVm, tap_name

pytestmark = pytest.mark.lab

LIMIT_S = 30
SETTINGS = ("--config-file", "/etc/lessor/lessor.conf")
STATE = "/var/lib/lessor"


# a full look takes the digest of a changed ruleset; until then an agent has something to do
OFTEN = {"resync_interval": "3"}
HOSTS = [
    HostSpec(name=name, network_host=name == "net1", flags=OFTEN)
    for name in ("net1", "cmp1", "cmp2")
]


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab.up(tmp_path_factory.mktemp("restored") / "lab", HOSTS)
    yield made
    made.down()


@pytest.fixture
def hasty_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose server waits for silent hosts only a short while."""
    hasty = {"agent_down_time": "7", "report_interval": "1"}  # a heartbeat may be six seconds late
    made = Lab.up(tmp_path_factory.mktemp("hasty") / "lab", HOSTS, hasty)
    yield made
    made.down()


def served(lab: Lab, name: str, on: str, network: LabNetwork, within_s: float = LIMIT_S) -> NetnsVm:
    """Boot a VM as a person does who tries again when told to; it has its lease then."""
    vm = lab.wait_for(lambda: booted(lab, name, on, network), within_s, f"{name} is made")
    assert vm is not None
    lab.wait_active(vm, LIMIT_S)
    assert vm.dhcp(LIMIT_S).address == vm.state.assigned
    return vm


def booted(lab: Lab, name: str, on: str, network: LabNetwork) -> NetnsVm | None:
    try:
        vm = lab.boot(name, on, network)
    except LessorError as error:
        if "the database was restored" not in str(error):
            raise
        return None
    assert isinstance(vm, NetnsVm)
    return vm


def file_of(lab: Lab) -> Path:
    return lab.node(SERVER).root / STATE.lstrip("/") / "lessor.sqlite"


COPY = """
import sqlite3, sys
old, new = (sqlite3.connect(name) for name in sys.argv[1:])
old.backup(new)
"""


def copied(lab: Lab) -> Path:
    """Copy the store as `sqlite3 FILE .backup` does: nothing tells the copy from the database."""
    lab.exec(SERVER, sys.executable, "-c", COPY, f"{STATE}/lessor.sqlite", "/run/backup")
    return lab.node(SERVER).root / "run/backup"


def put_back(lab: Lab, backup: Path) -> None:
    lab.kill(SERVER, SERVER)
    file = file_of(lab)
    for end in ("-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)
    file.write_bytes(backup.read_bytes())
    lab.start(SERVER, SERVER)


def is_on_bridge(lab: Lab, host: str, vm: NetnsVm) -> bool:
    links: list[dict[str, Any]] = json.loads(lab.exec(host, "ip", "-j", "link"))
    found = {link["ifname"]: link.get("master") for link in links}
    return bool(found.get(tap_name(vm.state.port_id)))


def leaves_the_wire(lab: Lab, host: str, vm: NetnsVm) -> None:
    lab.wait_for(lambda: not is_on_bridge(lab, host, vm), LIMIT_S, "it is off the wire")


def renews(lab: Lab, vm: NetnsVm) -> None:
    done = len(vm.events())
    vm.renew()
    lab.wait_for(lambda: "renew" in vm.events()[done:], LIMIT_S, "a renewal")


def state_of(lab: Lab, network: LabNetwork, vm: NetnsVm) -> str:
    rows = lab.api.list("addresses", {"network_id": network.id, "address": str(vm.state.assigned)})
    return str(rows[0]["state"]) if rows else "free"


def plan_of(lab: Lab, host: str) -> list[str]:
    """Return what an agent would still do on its host, as `lessor agent plan` says."""
    try:
        lab.exec(host, LESSOR, "agent", "plan", *SETTINGS)
    except CommandError as error:  # exit status 1: it has something to do
        return str(error).splitlines()[1:] or [str(error)]
    return []


def settled(lab: Lab, host: str) -> None:
    """Wait for a full look: the first one takes the digest of a changed ruleset."""
    lab.wait_for(lambda: plan_of(lab, host) == [], 2 * LIMIT_S, f"{host} has nothing to do")


def test_a_vm_that_a_young_back_up_does_not_know_keeps_its_address_from_others(
    lab: Lab,
) -> None:
    networks = [
        lab.network("office", "10.61.0.0/24"),
        lab.network("web", "10.62.0.0/24", multi_host=True),
    ]
    known = [served(lab, f"known-{n.name}", "cmp1", n) for n in networks]
    for network in networks:
        served(lab, f"other-{network.name}", "cmp2", network)
    backup = copied(lab)
    before = lab.exec(SERVER, LESSOR, "lease", "list", "--json")
    lost = [served(lab, f"lost-{n.name}", "cmp1", n) for n in networks]
    assert lab.exec(SERVER, LESSOR, "lease", "list", "--json") != before

    put_back(lab, backup)
    new = [served(lab, f"new-{n.name}", "cmp2", n) for n in networks]

    assert "the database is a copy" in lab.node(SERVER).log(SERVER).read_text()
    for network, one, other in zip(networks, lost, new, strict=True):
        assert other.state.assigned != one.state.assigned
        assert state_of(lab, network, one) == "releasing"
        leaves_the_wire(lab, "cmp1", one)
        again = served(lab, f"again-{network.name}", "cmp1", network)
        assert again.state.assigned not in {one.state.assigned, other.state.assigned}
    for vm in known:
        renews(lab, vm)
        assert is_on_bridge(lab, "cmp1", vm)
    assert "nothing is wrong" in lab.exec(SERVER, LESSOR, "db", "check", *SETTINGS)
    for host in ("net1", "cmp1", "cmp2"):
        assert lab.is_running(host, AGENT)
        settled(lab, host)


def test_a_host_that_was_silent_takes_the_vm_off_the_wire_whose_address_was_given_on(
    hasty_lab: Lab,
) -> None:
    lab = hasty_lab
    network = lab.network("web", "10.64.0.0/24", multi_host=True)
    for host in ("cmp1", "cmp2"):
        served(lab, f"known-{host}", host, network)
    backup = copied(lab)
    lost = served(lab, "lost", "cmp1", network)
    lab.kill("cmp1", AGENT)

    put_back(lab, backup)
    new = served(lab, "new", "cmp2", network, 3 * LIMIT_S)
    assert new.state.assigned == lost.state.assigned
    assert is_on_bridge(lab, "cmp1", lost)

    lab.start("cmp1", AGENT)
    leaves_the_wire(lab, "cmp1", lost)
    log = lab.node(SERVER).log(SERVER)
    lab.wait_for(lambda: "an address is in use by two" in log.read_text(), LIMIT_S, "it is said")
    renews(lab, new)
    assert is_on_bridge(lab, "cmp2", new)
    assert "nothing is wrong" in lab.exec(SERVER, LESSOR, "db", "check", *SETTINGS)


def test_a_back_up_made_by_the_command_is_restored_as_the_page_says(lab: Lab) -> None:
    network = lab.network("office", "10.63.0.0/24")
    vm = served(lab, "vm", "cmp1", network)
    said = json.loads(lab.exec(SERVER, LESSOR, "db", "backup", "/run/backup", "--json", *SETTINGS))
    assert said["file"] == "/run/backup"
    put_back(lab, lab.node(SERVER).root / "run/backup")
    other = served(lab, "other", "cmp2", network)
    assert other.state.assigned != vm.state.assigned
    assert vm.dhcp(LIMIT_S).address == vm.state.assigned


def test_a_start_on_a_full_disk_says_which(lab: Lab) -> None:
    full = "mount -t tmpfs -o size=64k tmpfs /run/full"
    lab.exec(SERVER, "sh", "-ec", f"mkdir /run/full; {full}")
    start = (LESSOR, "server", *SETTINGS, "--state-dir", "/run/full", "--listen", "127.0.0.1:9")
    with pytest.raises(CommandError, match="make room on the disk of /run/full"):
        lab.exec(SERVER, *start, "--agent-listen", "127.0.0.1:10")
    lab.exec(SERVER, "sh", "-ec", "mount -o remount,size=8m /run/full")
    lab.exec(SERVER, LESSOR, "db", "upgrade", *SETTINGS, "--state-dir", "/run/full")
    lab.exec(SERVER, "sh", "-c", "dd if=/dev/zero of=/run/full/fill bs=4k 2>/dev/null; true")
    with pytest.raises(CommandError, match="make room on the disk of /run/full"):
        lab.exec(SERVER, *start, "--agent-listen", "127.0.0.1:10")
