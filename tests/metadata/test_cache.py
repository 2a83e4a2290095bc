import asyncio
from dataclasses import replace
from ipaddress import IPv4Address

from lessor.metadata.cache import ROW, FactsCache
from tests.metadata.metadata_fakes import Clock, FakeServer, vm

ADDRESSES = [IPv4Address(f"10.0.0.{n}") for n in range(2, 12)]


def test_what_was_used_longest_ago_goes_first() -> None:
    server = FakeServer([vm(f"v{n}", address=a) for n, a in enumerate(ADDRESSES)])
    cache = FactsCache(server.facts, 15, Clock(), budget=3 * ROW)

    async def use(*indices: int) -> int:
        before = server.asked
        for index in indices:
            await cache.get(("blue",), ADDRESSES[index])
        return server.asked - before

    async def story() -> None:
        assert await use(0, 1, 2) == 3
        assert await use(0) == 0
        assert await use(3) == 1
        assert await use(0, 2, 3) == 0
        assert await use(1) == 1

    asyncio.run(story())


def test_user_data_count_and_the_size_comes_back_to_nothing() -> None:
    facts = vm("big")
    assert facts.instance is not None
    big = replace(facts, instance=replace(facts.instance, user_data="x" * ROW * 9))
    server = FakeServer([big])
    cache = FactsCache(server.facts, 15, Clock(), budget=8 * ROW)

    async def story() -> None:
        for _ in range(3):
            assert await cache.get(("blue",), IPv4Address("10.0.0.5")) == big

    asyncio.run(story())
    assert server.asked == 3
    assert cache._size == 0


def test_clock_that_jumps_back_makes_no_answer_live_forever() -> None:
    server, clock = FakeServer([vm("a")]), Clock()
    cache = FactsCache(server.facts, 15, clock)

    async def story() -> None:
        await cache.get(("blue",), IPv4Address("10.0.0.5"))
        clock.now -= 86400
        await cache.get(("blue",), IPv4Address("10.0.0.5"))

    asyncio.run(story())
    assert server.asked == 2
