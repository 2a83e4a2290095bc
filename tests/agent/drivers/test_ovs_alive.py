"""A daemon of Open vSwitch that hangs or is dead is known, and nobody waits for it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from lessor.agent.host.ovs import Ovsdb
from lessor.agent.host.ovs_alive import OvsAlive, database_obstacle, switch_obstacle
from lessor.errors import Unavailable
from tests.agent.drivers.ovs_daemons import Ovs

pytestmark = pytest.mark.lab

NAMED_S = 8  # so long until an operator may read it, less what a report takes
DAEMONS = ["ovs-vswitchd", "ovsdb-server"]
Story = Callable[[OvsAlive], Awaitable[None]]


def watched(ovs: Ovs, story: Story) -> list[tuple[str, ...]]:
    """Play a story while both are asked; return what was said, in order."""
    ready(ovs)
    alive = OvsAlive(ovs.folder / "db.sock", ovs.folder, ["br-int"])
    said: list[tuple[str, ...]] = []

    async def play() -> None:
        asking = asyncio.create_task(alive.run(lambda: said.append(alive.obstacles())))
        try:
            await story(alive)
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking

    asyncio.run(play())
    return said


def ready(ovs: Ovs) -> None:
    """Wait until ovs-vswitchd, which has just been started, answers."""
    ovs.wait(lambda: not switch_obstacle(ovs.folder))


async def until(condition: Callable[[], object], limit_s: float = NAMED_S) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_one_that_hangs_is_named_with_its_process_until_it_goes_on(ovs: Ovs, daemon: str) -> None:
    async def story(alive: OvsAlive) -> None:
        await asyncio.sleep(0.5)
        assert alive.obstacles() == ()
        ovs.send(daemon, signal.SIGSTOP)
        await until(alive.obstacles)
        assert alive.obstacles()[0].startswith(
            f"{daemon} hangs (pid {ovs.pid(daemon)}, state T (stopped));"
        )
        ovs.send(daemon, signal.SIGCONT)
        await until(lambda: not alive.obstacles(), limit_s=2)

    assert len(watched(ovs, story)) == 2


@pytest.mark.parametrize("daemon", DAEMONS)
def test_one_that_was_killed_is_named_until_it_is_started_again(ovs: Ovs, daemon: str) -> None:
    async def story(alive: OvsAlive) -> None:
        await asyncio.sleep(0.5)
        ovs.kill(daemon)
        await until(lambda: any(f"{daemon} is not running" in one for one in alive.obstacles()))
        start = ovs.start_switch if daemon == "ovs-vswitchd" else ovs.start_database
        await asyncio.to_thread(start)
        await until(lambda: not alive.obstacles())

    watched(ovs, story)


def test_while_both_answer_nothing_is_said(ovs: Ovs) -> None:
    async def story(_: OvsAlive) -> None:
        await asyncio.sleep(5)

    assert watched(ovs, story) == []


def test_what_was_suspected_of_one_that_answers_is_taken_back(ovs: Ovs) -> None:
    async def story(alive: OvsAlive) -> None:
        await asyncio.sleep(0.5)
        alive.switch.suspect("ovs-ofctl: still running after 3 s")
        assert alive.obstacles() == ("ovs-ofctl: still running after 3 s",)
        await until(lambda: not alive.obstacles())

    watched(ovs, story)


def test_asked_once_it_is_the_same(ovs: Ovs) -> None:
    ready(ovs)
    assert switch_obstacle(ovs.folder) == database_obstacle(ovs.folder / "db.sock") == ""
    for daemon in DAEMONS:
        ovs.send(daemon, signal.SIGSTOP)
    assert "ovs-vswitchd hangs (pid" in switch_obstacle(ovs.folder)
    assert "ovsdb-server hangs (pid" in database_obstacle(ovs.folder / "db.sock")
    for daemon in DAEMONS:
        ovs.kill(daemon)
    assert "ovs-vswitchd is not running" in switch_obstacle(ovs.folder)
    assert "ovsdb-server is not running" in database_obstacle(ovs.folder / "db.sock")


def soon(ask: Callable[[], object]) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable):
        ask()
    assert time.monotonic() - started < 5


def test_nobody_waits_for_a_database_that_hangs(ovs: Ovs) -> None:
    known, fresh = Ovsdb(ovs.connection, timeout_s=1), Ovsdb(ovs.connection)
    known.transact([lambda api: api.add_br("br-x")])
    ovs.send("ovsdb-server", signal.SIGSTOP)
    soon(fresh.bridges)
    soon(lambda: known.transact([lambda api: api.add_br("br-y")]))
    soon(known.bridges)  # ovsdbapp's thread waits for the answer, and has the lock
    ovs.send("ovsdb-server", signal.SIGCONT)
    ovs.wait(lambda: "br-y" in ovs("ovs-vsctl", "list-br"))
    ovs.wait(lambda: {"br-x", "br-y"} <= set(known.bridges()))
    known.close()


def test_a_connection_to_a_database_that_hangs_is_closed_at_once(ovs: Ovs) -> None:
    known = Ovsdb(ovs.connection, timeout_s=1)
    known.bridges()
    ovs.send("ovsdb-server", signal.SIGSTOP)
    for _ in range(3):
        soon(lambda: known.transact([lambda api: api.add_br("br-y")]))
    started = time.monotonic()
    known.close()
    assert time.monotonic() - started < 5


def test_nobody_waits_for_a_switch_that_is_known_to_hang(ovs: Ovs) -> None:
    why: list[str] = []
    db = Ovsdb(ovs.connection, switch_s=30, obstacle=lambda: "".join(why))
    db.bridges()
    ovs.send("ovs-vswitchd", signal.SIGSTOP)

    async def meanwhile() -> float:
        waiting = asyncio.create_task(
            asyncio.to_thread(db.transact, [lambda api: api.add_br("br-x")])
        )
        await asyncio.sleep(0.5)
        why.append("ovs-vswitchd hangs")
        started = time.monotonic()
        await waiting
        return time.monotonic() - started

    assert asyncio.run(meanwhile()) < 5
    soon(db.bridges)
    db.close()


def test_a_database_that_is_away_is_no_noise_in_the_log(
    ovs: Ovs, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    away = Ovsdb(f"unix:{tmp_path}/nobody.sock")
    for _ in range(3):
        with pytest.raises(Unavailable, match="is not running"):
            away.bridges()
    assert (caplog.text, capfd.readouterr().err) == ("", "")
    assert ovs.folder.exists()
