"""The lease hook has no rights: what it is told has names that VMs choose."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lessor.agent.drivers.dnsmasq.process import find
from lessor.agent.leases import spool
from lessor.agent.leases.inbox import Inbox
from tests.agent.drivers.dnsmasq_host import Host, host_in_namespace, mac, reserve, server

pytestmark = pytest.mark.lab
SPY = """#!/bin/sh
case $1 in add | old | del) cat /proc/self/status >"{seen}" ;; esac
exec "{program}" "$@"
"""


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        yield made


def rights(status: str) -> dict[str, list[str]]:
    """Return the fields of a process's status (proc(5)), by name."""
    return {name: rest.split() for name, rest in re.findall(r"(?m)^(\w+):(.*)$", status)}


def test_no_event_is_told_to_a_process_with_rights(host: Host) -> None:
    seen = host.folder / "seen"
    seen.touch()
    seen.chmod(0o666)
    spy = host.folder / "spy"
    spy.write_text(SPY.format(seen=seen, program=host.hook.program))
    spy.chmod(0o755)
    host.chosen = str(spy)
    host.start_agent()
    host.bring(server(reserve(5)))
    host.lease(5, hostname="$(id)")
    host.wait_for(lambda: host.events() == [("add", mac(5), "10.0.0.5")])

    user = pwd.getpwnam(host.hook.user)
    (process,) = find(host.paths)
    helper = Path(f"/proc/{process.helper}/status").read_text()
    process.close()
    for has in map(rights, (seen.read_text(), helper)):
        assert user.pw_uid > 0
        assert has["Uid"] == [str(user.pw_uid)] * 4
        assert has["Gid"] == [str(user.pw_gid)] * 4
        assert has["Groups"] == []
        assert [has[one] for one in ("CapPrm", "CapEff", "CapAmb")] == [["0" * 16]] * 3


def test_a_server_that_an_agent_of_before_started_loses_no_event(host: Host) -> None:
    """It calls the hook as root, with a file of the spool's own folder."""
    want = server(reserve(5), reserve(6))
    former = replace(host.hook, user="root", inbox=Inbox(host.spool.folder))
    host.start_agent(former)
    host.bring(want)
    host.lease(5)
    host.wait_for(lambda: (host.spool.folder / "current").stat().st_size)
    was = host.pid()
    host.start_agent()
    host.lease(6)
    host.bring(want)
    assert host.pid() != was
    assert host.held() == {"10.0.0.5": mac(5), "10.0.0.6": mac(6)}


def test_of_a_file_that_is_too_large_the_rest_is_told_anew(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = server(reserve(5), reserve(6))
    host.bring(want)
    host.lease(5)
    host.wait_for(host.held)
    monkeypatch.setattr(spool, "LARGEST", 4096)
    with host.spool.current.open("ab", buffering=0) as file:
        file.write(b"\nnothing" * 1000)
    host.lease(6)
    host.wait_for(lambda: b"10.0.0.6" in host.spool.current.read_bytes())
    host.bring(want)
    host.wait_for(lambda: host.held() == {"10.0.0.5": mac(5), "10.0.0.6": mac(6)})
