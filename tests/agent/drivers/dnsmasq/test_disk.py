"""The disk of `networks_path` is full: servers go on; a dead one is started with its old files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lessor.agent.host.run import run
from lessor.errors import CommandError
from tests.agent.drivers.dnsmasq_host import Host, host_in_namespace, mac, reserve, server

pytestmark = pytest.mark.lab


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        made.root.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "lessor-test", str(made.root))
        try:
            yield made
            made.stop_all()
        finally:
            with suppress(CommandError):
                run("umount", "-l", str(made.root))


def fill(folder: Path) -> Callable[[], None]:
    """Leave no byte on the disk; return what makes room again."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\n" * 4096):
            pass
    assert os.statvfs(folder).f_bavail == 0
    return filler.unlink


def test_a_running_server_goes_on_when_its_files_can_not_be_written(host: Host) -> None:
    before = server(reserve(5), reserve(6))
    host.bring(before)
    pid = host.pid()
    host.clock = lambda: time.monotonic() + 1000  # a reload is due
    free = fill(host.root)
    for want in (server(reserve(5), reserve(6), reserve(7)), server(reserve(6))):
        problems = host.once(want)
        assert any(f"can't write {host.root}" in str(one) for one in problems), problems
        assert not host.differs(before)
        assert host.pid() == pid
        assert host.client(5).discover()
    free()
    host.bring(server(reserve(6), reserve(7)))
    assert str(host.lease(7).address) == "10.0.0.7"


def test_a_dead_server_is_started_with_its_files_of_before(host: Host) -> None:
    before, want = server(reserve(5)), server(reserve(5), reserve(6))
    host.bring(before)
    free = fill(host.root)
    host.kill()
    host.wait_for(lambda: host.differs(before))
    problems = [str(one) for one in host.once(want)]
    assert any("serves with its reservations of before" in one for one in problems), problems
    assert any("free some space" in one for one in problems), problems
    assert str(host.lease(5).address) == "10.0.0.5"
    assert not host.differs(before)
    free()
    host.bring(want)
    assert str(host.lease(6).address) == "10.0.0.6"


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Have a full disk there."""
    run("mount", "-t", "tmpfs", "-o", "size=64k", "lessor-test", str(folder))
    try:
        fill(folder)
        yield
    finally:
        run("umount", "-l", str(folder))


def test_a_server_is_started_with_its_leases_when_the_book_can_not_be_written(host: Host) -> None:
    want = server(reserve(5))
    host.bring(want)
    host.lease(5)
    host.wait_for(host.held)
    before = len(host.events())
    with full(host.folder / "leases"):
        host.kill()
        host.wait_for(lambda: host.differs(want))
        assert host.once(want) == []
        host.wait_for(lambda: ("old", mac(5), "10.0.0.5") in host.events()[before:])


def test_a_start_table_that_can_not_be_written_keeps_no_server_down(host: Host) -> None:
    want = server(reserve(5))
    host.bring(want)
    host.lease(5)
    host.wait_for(host.held)
    with full(host.folder / "run/leases"):
        host.kill()
        host.wait_for(lambda: host.differs(want))
        (problem,) = host.once(want)
        assert "started without its leases" in str(problem)
        renewed = host.client(5).renew()
        assert renewed
        assert str(renewed.address) == "10.0.0.5"


def test_an_agent_of_a_full_disk_finds_the_server_that_it_started(host: Host) -> None:
    want = server(reserve(5))
    host.bring(want)
    fill(host.root)
    host.kill()
    host.wait_for(lambda: host.differs(want))
    host.once(want)
    pid = host.pid()
    host.start_agent()
    host.once(want)
    assert str(host.lease(5).address) == "10.0.0.5"
    assert len(host.pids()) == 1
    assert pid


def test_names_that_can_not_be_written_are_said_until_they_are(host: Host) -> None:
    want = server(reserve(5), reserve(6))
    host.names = False
    host.bring(server(reserve(5)))
    host.bring(want)
    pid, free = host.pid(), fill(host.root)
    assert host.driver.write_names() is True, "there is something to see"
    assert host.driver.write_names() is False, "no more than before"
    (problem,) = host.once(want)
    assert "lacks names of new ports" in str(problem)
    assert host.lease(6), "it serves"
    free()
    assert host.driver.write_names() is True
    host.bring(want)
    assert host.pid() == pid
