"""Ansible's modules of openstack.cloud against a real server process."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.clients.started import ANSIBLE, INSIDE, ON_BOTH, environment

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(not ANSIBLE.exists(), reason="scripts/setup makes .venv-ansible"),
]
RECAP = re.compile(r"^(\w+) +: ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0", re.MULTILINE)
HOSTS = ("first", "second", "third")


def play(book: str, endpoint: str, folder: Path) -> dict[str, tuple[int, int]]:
    """Run a playbook; return the numbers of successful and of changed tasks, by host."""
    facts = {"endpoint": endpoint, "ansible_python_interpreter": str(ANSIBLE / "python")}
    argv = [str(ANSIBLE / "ansible-playbook"), "-c", "local", "-i", ",".join(HOSTS)]
    argv += ["-e", json.dumps(facts), str(INSIDE / book)]
    env = environment(folder, ANSIBLE_PIPELINING="1", LC_ALL="C.UTF-8")
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: (int(ok), int(changed)) for host, ok, changed in RECAP.findall(done.stdout)}


@ON_BOTH
def test_a_playbook_makes_a_network_and_played_again_changes_nothing(
    endpoint: str, tmp_path: Path
) -> None:
    played = play("networks.yml", endpoint, tmp_path)
    assert played == {"first": (3, 3), "second": (3, 0), "third": (5, 3)}
    assert httpx.get(f"{endpoint}/v2.0/networks", trust_env=False).json() == {"networks": []}


@pytest.mark.long
def test_a_playbook_makes_pools_and_shares_and_played_again_changes_nothing(
    endpoint: str, tmp_path: Path
) -> None:
    played = play("pools.yml", endpoint, tmp_path)
    assert played == {"first": (5, 5), "second": (5, 0), "third": (6, 3)}
    for noun in ("networks", "subnetpools", "address-scopes"):
        rows = httpx.get(f"{endpoint}/v2.0/{noun}", trust_env=False).json()
        assert list(rows.values()) == [[]]
