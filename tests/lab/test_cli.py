from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessor.lab.lab import Lab
from lessor.lab.state import HostSpec, VmState

pytestmark = pytest.mark.lab

LESSOR = str(Path(sys.executable).with_name("lessor"))
PORT_ID = "7f2a9c1e-5b00-4000-8000-000000000001"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.up(
        tmp_path_factory.mktemp("cli") / "lab",
        [HostSpec(name="h1", network_host=True)],
        services=False,
    )
    lab.plug(VmState(name="vm1", host="h1", port_id=PORT_ID, mac="fa:16:3e:00:00:01"))
    yield lab
    lab.down()


def lessor_lab(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (LESSOR, "lab", *words),
        env={"LESSOR_LAB": str(lab.folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_on_a_host_passes_its_output_and_exit_status_on(bare: Lab) -> None:
    done = lessor_lab(bare, "exec", "h1", "--", "sh", "-c", "hostname; exit 7")
    assert (done.stdout, done.returncode) == ("h1\n", 7)


def test_status_shows_nodes_and_what_has_ended(bare: Lab) -> None:
    bare.spawn("h1", "sleeper", "sleep", "1000")
    assert lessor_lab(bare, "kill", "h1", "sleeper").returncode == 0

    nodes = {row["name"]: row for row in json.loads(lessor_lab(bare, "status", "--json").stdout)}

    assert set(nodes) == {"fabric", "outside", "server", "h1"}
    assert nodes["h1"]["processes"] == {"sleeper": False}
    assert (nodes["h1"]["running"], nodes["h1"]["address"]) == (True, "192.0.2.11")
    assert nodes["outside"]["processes"] == {"outside": True}


def test_a_vm_is_listed_and_entered(bare: Lab) -> None:
    (row,) = json.loads(lessor_lab(bare, "vm", "list", "--json").stdout)
    assert (row["name"], row["host"], row["leased"]) == ("vm1", "h1", None)
    assert "fa:16:3e:00:00:01" in lessor_lab(bare, "vm", "exec", "vm1", "--", "ip", "link").stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(["exec", "h9", "--", "true"], "no host h9", id="host"),
        pytest.param(["vm", "exec", "vm9", "--", "true"], "no VM vm9", id="vm"),
        pytest.param(["kill", "h1", "agent"], "no agent runs on h1", id="process"),
        pytest.param(["vm", "console", "vm1"], "has no console", id="console"),
        pytest.param(["start", "h1", "dnsmasq"], "only agents on hosts", id="start"),
        pytest.param(["up"], "a lab runs in", id="up"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(bare: Lab, words: list[str], why: str) -> None:
    done = lessor_lab(bare, *words)
    assert done.returncode == 1
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_lab_it_says_how_to_make_one(tmp_path: Path) -> None:
    done = lessor_lab(Lab(tmp_path / "none"), "status")
    assert (done.returncode, "lessor lab up" in done.stderr) == (1, True)
