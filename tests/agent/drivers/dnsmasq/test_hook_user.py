from __future__ import annotations

import os
import pwd
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

import lessor.agent.drivers.dnsmasq.hook as hook_module
from lessor.agent.drivers.dnsmasq.hook import HOOK, hook
from lessor.agent.leases.inbox import writer
from lessor.agent.leases.spool import Spool
from lessor.core.leases import LiveLease
from tests.agent.unprivileged import NOBODY, as_nobody

MAC = "fa:16:3e:00:00:05"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runs programs as nobody")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A state folder as those of services are: it can be passed."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def users(monkeypatch: pytest.MonkeyPatch, **known: tuple[int, int]) -> None:
    """Have these users besides nobody, with their uid and gid."""

    def found(name: str) -> pwd.struct_passwd:
        uid, gid = {"nobody": (NOBODY.pw_uid, NOBODY.pw_gid), **known}[name]
        return pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/false"))

    monkeypatch.setattr(pwd, "getpwnam", found)


def test_the_hook_has_a_user_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users(monkeypatch, **{"lessor-hook": (4321, 4322)})
    shipped = folder / HOOK.name  # this checkout may be where the user can't read
    shipped.write_bytes(HOOK.read_bytes())
    shipped.chmod(0o755)
    monkeypatch.setattr(hook_module, "HOOK", shipped)
    made = hook(folder / "hook", folder / "spool")
    assert (made.user, made.group, made.program, made.problem) == ("lessor-hook", 4322, shipped, "")
    assert made.inbox.current.stat().st_gid == 4322


@pytest.mark.parametrize("known", [{}, {"lessor-hook": (0, 0)}, {"lessor-hook": (4321, 0)}])
def test_without_such_a_user_it_is_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch, known: dict[str, tuple[int, int]]
) -> None:
    users(monkeypatch, **known)
    made = hook(folder / "hook", folder / "spool")
    assert (made.user, made.group, made.problem) == ("nobody", NOBODY.pw_gid, "")


def test_a_folder_that_nobody_can_pass_leaves_it_root_which_is_said(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    made = hook(folder / "closed/state/hook", folder / "spool")
    assert made.user == "root"
    assert made.problem == (
        f"dnsmasq calls the lease hook as root: {made_by()} can't enter {folder}/closed; "
        f"chmod o+x {folder}/closed; then restart the agent"
    )
    assert made.inbox.current.is_file()


def made_by() -> str:
    return writer().pw_name


def test_a_folder_that_can_not_be_made_leaves_it_root_which_is_said(folder: Path) -> None:
    (folder / "hook").write_text("a file of somebody's")
    made = hook(folder / "hook", folder / "spool")
    assert made.user == "root"
    assert "File exists" in made.problem


def test_a_spool_on_another_disk_takes_events_as_before_which_is_said(folder: Path) -> None:
    spool = folder / "spool"
    spool.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", spool], check=True)
    try:
        made = hook(folder / "hook", spool)
        assert (made.user, made.inbox.current) == ("root", spool / "current")
        assert f"{spool} is on another file system than {folder}/hook" in made.problem
        Spool(spool, made.inbox).add("br100", "add", LiveLease(IPv4Address("10.0.0.5"), MAC, None))
        assert [one.mac_address for one in Spool(spool, made.inbox).read()] == [MAC]
    finally:
        subprocess.run(["umount", "--lazy", spool], check=True)


def test_a_program_out_of_reach_is_copied_and_kept_up_to_date(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    program = home / "lessor-dhcpbridge"
    program.write_text("#!/bin/sh\necho first")
    monkeypatch.setattr(hook_module, "HOOK", program)
    for said in ("first", "second"):
        program.write_text(f"#!/bin/sh\necho {said}")
        made = hook(folder / "hook", folder / "spool")
        assert (made.program, made.problem) == (folder / "hook/lessor-dhcpbridge", "")
        assert stat.S_IMODE(made.program.stat().st_mode) == 0o755
        assert as_nobody('"$1"', made.program, group=made.group) == f"{said}\n"
    before = made.program.stat().st_ino
    assert hook(folder / "hook", folder / "spool").program.stat().st_ino == before


def test_an_operators_program_out_of_reach_is_called_as_root_which_is_said(folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    program = home / "mine"
    program.write_text("#!/bin/sh")
    program.chmod(0o755)
    made = hook(folder / "hook", folder / "spool", str(program))
    assert (made.program, made.user) == (program, "root")
    assert f"can't enter {home}; chmod o+x {home}" in made.problem
    home.chmod(0o755)
    program.chmod(0o700)
    assert f"can't run {program}" in hook(folder / "hook", folder / "spool", str(program)).problem
    program.chmod(0o755)
    assert hook(folder / "hook", folder / "spool", str(program)).problem == ""
