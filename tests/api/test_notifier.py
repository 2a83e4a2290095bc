"""Who is woken by what."""

from __future__ import annotations

import asyncio
import threading

from lessor.api.notifier import Notifier


async def _woken_by(hosts: frozenset[str]) -> list[str]:
    notifier = Notifier(asyncio.get_running_loop())
    with notifier.waiting("a") as a, notifier.waiting("b") as b, notifier.waiting("b") as b2:
        teller = threading.Thread(target=notifier.tell, args=(hosts,))
        teller.start()
        await asyncio.to_thread(teller.join)
        await asyncio.sleep(0)
        events = {"a": a, "b": b, "b2": b2}
        return [name for name, event in events.items() if event.is_set()]


def test_only_the_hosts_told_of_are_woken() -> None:
    assert asyncio.run(_woken_by(frozenset({"b", "c"}))) == ["b", "b2"]
    assert asyncio.run(_woken_by(frozenset())) == []


def test_closing_wakes_all_and_stays() -> None:
    async def close() -> bool:
        notifier = Notifier(asyncio.get_running_loop())
        with notifier.waiting("a") as a:
            notifier.close()
            notifier.tell(frozenset({"a"}))
            return a.is_set() and notifier.closed

    assert asyncio.run(close())


def test_nobody_who_left_is_remembered() -> None:
    async def leave() -> int:
        notifier = Notifier(asyncio.get_running_loop())
        with notifier.waiting("a"):
            pass
        return len(notifier._waiting)

    assert asyncio.run(leave()) == 0
