"""Faults that a lab can make: partitions of its wires, full disks, clocks that are wrong."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessor.errors import CommandError
from lessor.lab import clock, partitions
from lessor.lab.clock import SteppedClock
from lessor.lab.disks import SmallDisk
from lessor.lab.lab import Lab
from lessor.lab.state import HostSpec

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Hosts and cables, no server and no agents; h2 has a small disk."""
    folder = tmp_path_factory.mktemp("bare") / "lab"
    disk = SmallDisk(folder / "nodes" / "h2" / "state" / "agent", 1)
    disk.mount()
    lab = Lab.up(folder, [HostSpec(name="h1"), HostSpec(name="h2")], services=False)
    yield lab
    lab.down()
    disk.unmount()


def test_a_partition_stops_one_pair_in_one_direction(bare: Lab) -> None:
    def pings(source: str, destination: str) -> bool:
        address = str(bare.host_state(destination).address)
        try:
            bare.exec(source, "busybox", "ping", "-c", "1", "-W", "1", address)
        except CommandError:
            return False
        return True

    def dropped() -> int:
        words = bare.node("fabric").exec("nft", "list", "table", *partitions.TABLE.split()).split()
        return int(words[words.index("packets") + 1])

    assert pings("h1", "h2")
    partitions.block(bare, "h1", "h2")
    assert not pings("h1", "h2")
    assert dropped() > 0
    assert pings("h1", "server")
    partitions.unblock(bare, "h1", "h2")
    assert pings("h1", "h2")
    before = dropped()
    partitions.block(bare, "h2", "h1")
    assert not pings("h1", "h2"), "the answer is lost"
    assert dropped() > before
    partitions.unblock(bare, "h2", "h1")


def test_a_small_disk_is_full_until_it_is_freed_and_outlives_the_power(bare: Lab) -> None:
    node = bare.node("h2")
    disk = SmallDisk(node.state_dir / "agent", 1)
    bare.exec("h2", "sh", "-c", "echo kept >/var/lib/lessor/agent/note")
    disk.fill()
    with pytest.raises(CommandError, match=os.strerror(errno.ENOSPC)):
        bare.exec("h2", "sh", "-c", "cp /bin/true /var/lib/lessor/agent/other")
    bare.power_off("h2")
    bare.power_on("h2")
    assert "kept" in bare.exec("h2", "cat", "/var/lib/lessor/agent/note")
    disk.free()
    bare.exec("h2", "sh", "-c", "cp /bin/true /var/lib/lessor/agent/other")


def test_programs_of_a_node_follow_its_clock(bare: Lab) -> None:
    node = bare.node("h1")
    assert clock.program(node, "lessor") == ("lessor",)
    clock.step(node, 3600)
    words = clock.program(node, "lessor")
    assert words[:3] == (sys.executable, "-m", "lessor.lab.clock")
    assert bare.exec("h1", *words, "--version").startswith("lessor ")


def test_a_stepped_clock_follows_its_file(tmp_path: Path) -> None:
    file, now = tmp_path / "clock", [100.0]
    stepped = SteppedClock(file, now=lambda: now[0], tick=lambda: now[0])
    assert stepped() == 100.0
    file.write_text("-30\n")
    now[0] += clock.LOOK_S
    assert stepped() == pytest.approx(70 + clock.LOOK_S)
    assert time.time() > 1_000_000_000, "the true one is as it was"
