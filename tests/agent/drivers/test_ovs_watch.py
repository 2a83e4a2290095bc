import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from lessor.agent.host.ovs import Ovsdb
from lessor.agent.host.ovs_watch import OvsWatch
from lessor.core.openflow.flow_bundle import COOKIE
from tests.agent.drivers.ovs_daemons import Ovs

pytestmark = pytest.mark.lab

LIMIT_S = 10


class Calls:
    """Counts calls; `after(act)` waits for one that comes after `act` was done."""

    def __init__(self) -> None:
        self.count = self.flows = 0
        self._some = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._some.set()

    def flows_changed(self) -> None:
        self.flows += 1

    async def after(self, act: Callable[[], object]) -> None:
        self._some.clear()
        await asyncio.to_thread(act)
        await asyncio.wait_for(self._some.wait(), LIMIT_S)

    async def quiet(self, seconds: float) -> None:
        """Wait until no call has come for so long."""
        seen = -1
        while seen != self.count:
            seen = self.count
            await asyncio.sleep(seconds)


def watched(ovs: Ovs, db: Ovsdb, story: Callable[[Calls], Awaitable[None]]) -> None:
    async def play() -> None:
        calls = Calls()
        watch = OvsWatch(db, [ovs.folder / "br-int.mgmt"], calls.flows_changed, retry_s=0.05)
        running = asyncio.create_task(watch.run(calls))
        while not db._listeners:
            await asyncio.sleep(0)
        try:
            await story(calls)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    db.bridges()
    asyncio.run(play())


def test_it_tells_of_changes_of_the_database_and_of_nothing_else(ovs: Ovs, db: Ovsdb) -> None:
    async def story(calls: Calls) -> None:
        await calls.after(lambda: ovs("ovs-vsctl", "add-br", "br-x"))
        await calls.quiet(0.2)
        before = calls.count
        interval = ("other_config:stats-update-interval=100000",)
        await asyncio.to_thread(ovs, "ovs-vsctl", "set", "Open_vSwitch", ".", *interval)
        await calls.after(lambda: ovs("ovs-vsctl", "del-br", "br-x"))
        assert before < calls.count < before + 10

    watched(ovs, db, story)


def test_it_tells_when_the_switch_ends_and_when_it_is_back(ovs: Ovs, db: Ovsdb) -> None:
    def make_bridge() -> None:
        ovs(
            "ovs-vsctl", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev"
        )

    async def story(calls: Calls) -> None:
        await calls.after(make_bridge)
        await calls.quiet(0.2)
        await calls.after(lambda: ovs.kill("ovs-vswitchd"))
        await calls.quiet(0.2)
        await calls.after(ovs.start_switch)

    watched(ovs, db, story)


def test_it_tells_when_the_database_goes_and_when_it_is_back(ovs: Ovs, db: Ovsdb) -> None:
    async def story(calls: Calls) -> None:
        await calls.after(lambda: ovs.kill("ovsdb-server"))
        await calls.quiet(0.2)
        await calls.after(ovs.start_database)

    watched(ovs, db, story)


def test_it_tells_when_a_flow_of_ours_is_removed_or_modified_and_of_no_other(
    ovs: Ovs, db: Ovsdb
) -> None:
    def ofctl(order: str, *words: str) -> None:
        ovs("ovs-ofctl", "-O", "OpenFlow14", order, "br-int", *words)

    async def story(calls: Calls) -> None:
        ovs("ovs-vsctl", "add-br", "br-int", "--", "set", "Bridge", "br-int",
            "datapath_type=netdev", "fail_mode=secure", "protocols=OpenFlow10,OpenFlow14")  # fmt: skip
        await calls.after(lambda: ofctl("add-flow", f"cookie={COOKIE},table=5,actions=drop"))
        await calls.quiet(0.2)
        ofctl("add-flow", "cookie=0x7,table=6,actions=drop")
        before = calls.flows
        ofctl("del-flows", "table=6")
        await calls.quiet(0.2)
        assert calls.flows == before
        await calls.after(lambda: ofctl("mod-flows", "table=5,actions=NORMAL"))
        await calls.quiet(0.2)
        assert calls.flows == before + 1
        await calls.after(lambda: ofctl("del-flows"))
        assert calls.flows == before + 2

    watched(ovs, db, story)
