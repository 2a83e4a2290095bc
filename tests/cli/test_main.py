"""The program as a shell sees it: exit status, standard error, help, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOWHERE = "http://127.0.0.1:9"  # discard: nobody listens


def lessor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lessor.cli.main", *arguments],
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_names_all_commands() -> None:
    done = lessor("--help")
    assert done.returncode == 0
    for command in ("up", "server", "agent", "status", "host", "network", "subnet", "port"):
        assert f" {command} " in done.stdout
    for command in ("lease", "address", "instance", "config"):
        assert f" {command} " in done.stdout


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
def test_a_noun_has_its_verbs(words: str) -> None:
    noun, *verbs = words.split()
    shown = lessor(noun, "--help").stdout
    assert [verb for verb in verbs if f" {verb} " not in shown] == []


def test_a_server_that_does_not_answer_is_exit_1_and_one_line() -> None:
    done = lessor("network", "list", "--server", NOWHERE)
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"lessor: no server answers at {NOWHERE}")


def test_the_server_may_be_said_by_the_environment() -> None:
    assert NOWHERE in lessor("status", LESSOR_SERVER=NOWHERE).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["network", "create"], id="no-name"),
        pytest.param(["network", "create", "n", "--cidr", "10.0.0.1/24"], id="host-bits"),
        pytest.param(["network", "create", "n", "--multi_host", "maybe"], id="neither-T-nor-F"),
        pytest.param(["port", "create", "--network", "n", "--count", "0"], id="count"),
        pytest.param(["port", "set", "p"], id="nothing-to-change"),
        pytest.param(["frobnicate"], id="no-such-command"),
        pytest.param(["server", "--set", "listen=x"], id="wrong-setting"),
        pytest.param(["agent", "--config-file", "/nonexistent"], id="no-such-file"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str]) -> None:
    done = lessor(*arguments, LESSOR_SERVER=NOWHERE)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_names_of_options_may_be_written_as_nova_manage_does() -> None:
    words = "n --fixed_range_v4 10.0.0.0/24 --bridge br100 --bridge_interface eth1 --multi_host T"
    more = "--network_size 256 --num_networks 1 --dns1 192.0.2.1 --project_id p"
    done = lessor("network", "create", *words.split(), *more.split(), "--server", NOWHERE)
    assert "no server answers" in done.stderr  # it got as far as asking


def test_a_wrong_settings_file_is_said_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "lessor.conf"
    file.write_text("[DEFAULT]\ndhcp_lease_time = 0\nlisten = x\n")
    done = lessor("server", "--config-file", str(file))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert done.stderr.startswith("lessor: ")


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
