"""The systemd units: what must hold of them, and that systemd can read them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lessor.agent.leases.inbox import USER as HOOK_USER
from lessor.dhcpd.__main__ import USERS as DHCPD_USERS
from lessor.dnsd.__main__ import USERS as DNSD_USERS
from lessor.metadata.run import USERS

UNITS = Path(__file__).parents[1] / "packaging/systemd"


def settings(unit: str) -> list[str]:
    lines = (UNITS / unit).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "["))]


def test_the_end_of_the_agent_ends_only_itself() -> None:
    assert "KillMode=process" in settings("lessor-agent.service")


def test_the_server_is_started_when_it_answers() -> None:
    assert "Type=notify" in settings("lessor-server.service")


@pytest.mark.parametrize("unit", ["lessor-server.service", "lessor-agent.service"])
def test_a_process_that_fails_is_started_again_however_often(unit: str) -> None:
    assert {"Restart=on-failure", "StartLimitIntervalSec=0"}.issubset(settings(unit))


def test_the_users_are_those_that_processes_become() -> None:
    lines = (UNITS.parent / "sysusers.d/lessor.conf").read_text().splitlines()
    users = {line.split()[1] for line in lines if line.startswith("u ")}
    assert users == {USERS[0], DHCPD_USERS[0], DNSD_USERS[0], HOOK_USER}
    setup = (UNITS.parents[1] / "scripts/setup").read_text()
    assert f"USERS=({' '.join(sorted(users))})" in setup


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="needs systemd-sysusers")
def test_systemd_makes_the_users(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    file = UNITS.parent / "sysusers.d/lessor.conf"
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    users = (tmp_path / "etc/passwd").read_text()
    assert "lessor-metadata" in users
    assert HOOK_USER in users
    assert DHCPD_USERS[0] in users
    assert DNSD_USERS[0] in users


RIGHTS = {
    "CAP_SETUID": "a process without rights is started",
    "CAP_SETGID": "the same",
    "CAP_SETPCAP": "the same",
    "CAP_KILL": "and ended",
    "CAP_SYS_CHROOT": "lessor-dhcpd and lessor-dnsd see one folder each",
    "CAP_SYS_ADMIN": "namespaces are made and entered",
    "CAP_SYS_PTRACE": "the environment of a process of nobody's is read",
}


@pytest.mark.parametrize("right", RIGHTS)
def test_the_agent_has_the_rights_that_it_takes(right: str) -> None:
    (line,) = (one for one in settings("lessor-agent.service") if "CapabilityBoundingSet" in one)
    assert right in line.split("=")[1].split()


# Each gives a unit its own mounts; systemd.exec(5).
OWN_MOUNTS = (
    *("ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts"),
    *("ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups"),
    *(
        "ReadWritePaths",
        "ReadOnlyPaths",
        "InaccessiblePaths",
        "BindPaths",
        "ProtectProc",
        "RootDirectory",
    ),
)


def test_namespaces_that_the_agent_names_are_the_hosts() -> None:
    """Record 34; tests/docs/test_services.py sees it where there is systemd."""
    names = {line.partition("=")[0] for line in settings("lessor-agent.service")}
    assert not names.intersection(OWN_MOUNTS)
    assert "RestrictNamespaces=net mnt" in settings("lessor-agent.service")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", ["lessor-server.service", "lessor-agent.service"])
def test_systemd_finds_nothing_wrong(unit: str, tmp_path: Path) -> None:
    text = (UNITS / unit).read_text().replace("/usr/bin/lessor ", "/bin/true ")
    (tmp_path / unit).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
