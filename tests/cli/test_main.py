"""The program as a shell sees it: exit status, standard error, help, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from lessor.cli.main import main
from lessor.cli.processes import has_own

NOWHERE = "http://127.0.0.1:9"  # discard: nobody listens


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command that only asks, in this process: quick."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LESSOR_SERVER", NOWHERE)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["lessor", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return call


def start(*arguments: str) -> Done:
    """Run a command in a process of its own: those that set up logs and signals."""
    done = subprocess.run(
        [sys.executable, "-m", "lessor.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_the_version_is_that_of_the_package(run: Run) -> None:
    done = run("--version")
    assert (done.status, done.out) == (0, f"lessor {version('lessor')}\n")


def test_help_names_all_commands(run: Run) -> None:
    done = run("--help")
    assert done.status == 0
    for command in ("up", "server", "agent", "status", "host", "network", "subnet", "port"):
        assert f" {command} " in done.out
    for command in ("lease", "address", "instance", "config", "lab"):
        assert f" {command} " in done.out


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("host add list show delete", id="host"),
        pytest.param("network create list show set delete", id="network"),
        pytest.param("subnet create list show set delete", id="subnet"),
        pytest.param("port create list show set delete plug unplug", id="port"),
        pytest.param("lease list show release history", id="lease"),
        pytest.param("address reserve unreserve list", id="address"),
        pytest.param("instance create list show set delete", id="instance"),
        pytest.param("agent plan", id="agent"),
        pytest.param("config sample reference", id="config"),
    ],
)
def test_a_noun_has_its_verbs(run: Run, words: str) -> None:
    noun, *verbs = words.split()
    shown = run(noun, "--help").out
    assert [verb for verb in verbs if f" {verb} " not in shown] == []


def test_a_server_that_does_not_answer_is_exit_1_and_one_line(run: Run) -> None:
    done = run("network", "list", "--server", "http://127.0.0.1:7")
    assert (done.status, done.out) == (1, "")
    [line] = done.err.splitlines()
    assert line.startswith("lessor: no server answers at http://127.0.0.1:7")


def test_the_server_may_be_said_by_the_environment(run: Run) -> None:
    assert NOWHERE in run("status").err


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["network", "create"], id="no-name"),
        pytest.param(["network", "create", "n", "--cidr", "10.0.0.1/24"], id="host-bits"),
        pytest.param(["network", "create", "n", "--multi_host", "maybe"], id="neither-T-nor-F"),
        pytest.param(["port", "create", "--network", "n", "--count", "0"], id="count"),
        pytest.param(["port", "set", "p"], id="nothing-to-change"),
        pytest.param(["frobnicate"], id="no-such-command"),
    ],
)
def test_wrong_usage_is_exit_2(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.status, done.out) == (2, "")


def test_names_of_options_may_be_written_as_nova_manage_does(run: Run) -> None:
    words = "n --fixed_range_v4 10.0.0.0/24 --bridge br100 --bridge_interface eth1 --multi_host T"
    more = "--network_size 256 --num_networks 1 --dns1 192.0.2.1 --project_id p"
    done = run("network", "create", *words.split(), *more.split())
    assert "no server answers" in done.err  # it got as far as asking


def test_wrong_settings_are_exit_2_and_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "lessor.conf"
    file.write_text("[DEFAULT]\ndhcp_lease_time = 0\nlisten = x\n")
    done = start("server", "--config-file", str(file), "--set", "nonsense=1")
    assert (done.status, len(done.err.splitlines())) == (2, 3)
    assert all(line.startswith("lessor: ") for line in done.err.splitlines())


@pytest.mark.parametrize(
    ("files", "said", "own"),
    [
        pytest.param([], {}, False, id="nothing"),
        pytest.param([], {"state_dir": "/s", "debug": True}, False, id="where-to-look"),
        pytest.param([], {"host": "h2"}, True, id="an-option"),
        pytest.param([Path("f")], {}, True, id="a-file"),
    ],
)
def test_settings_of_a_look_s_own_are_told_from_where_it_looks(
    files: list[Path], said: dict[str, object], *, own: bool
) -> None:
    assert has_own(files, said) is own


def test_a_settings_file_that_is_not_there_is_exit_2() -> None:
    done = start("agent", "--config-file", "/nonexistent", "plan")
    assert (done.status, done.err) == (2, "lessor: settings file /nonexistent does not exist\n")


def test_a_folder_that_may_not_be_written_is_exit_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = start("up", "--state-dir", str(tmp_path / "file" / "state"), "--host", "h1")
    assert (done.status, "Traceback" in done.err) == (1, False)
    assert str(tmp_path / "file") in done.err


def test_bash_completes_commands() -> None:
    program = Path(sys.executable).with_name("lessor")
    words = {"_LESSOR_COMPLETE": "complete_bash", "COMP_WORDS": "lessor port pl", "COMP_CWORD": "2"}
    done = subprocess.run(
        [program], env={**os.environ, **words}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["plug"]


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        pytest.param("lessor.cli.main", ["httpx", "oslo_config", "sqlalchemy"], id="help"),
        pytest.param("lessor.cli.processes", ["litestar", "uvicorn", "rich"], id="processes"),
    ],
)
def test_what_a_command_does_not_need_is_not_loaded(module: str, unwanted: list[str]) -> None:
    code = f"import {module}, sys, json; lessor.cli.main.program() if 'main' in '{module}' else 0; "
    code += "print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in unwanted if name in json.loads(done.stdout)] == []


def test_accepting_a_store_that_nobody_offered_is_exit_1(run: Run, tmp_path: Path) -> None:
    done = run("agent", "accept", "--state-dir", str(tmp_path), "--config-file", os.devnull)
    assert (done.status, done.out) == (1, "")
    assert "no other store was offered" in done.err


def test_the_epoch_of_an_accepted_store_is_printed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "offered-epoch").write_text("e2")
    done = run("agent", "accept", "--state-dir", str(tmp_path), "--config-file", os.devnull)
    assert (done.status, done.out) == (0, "e2\n"), done.err
    assert (tmp_path / "agent" / "accepted-epoch").read_text() == "e2"
