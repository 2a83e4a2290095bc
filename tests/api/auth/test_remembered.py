"""Guessers of passwords wait for themselves, and for nobody else's sake."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import pytest

from lessor.api.auth.caller import Caller
from lessor.api.auth.remembered import MAXIMUM_OF_ONE, MAXIMUM_WAITING, Remembered
from lessor.errors import Unauthorized, Unavailable

ALICE = Caller("alice")


class Verifier:
    """Verifies when it is let; counts how many wait for it."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.running = 0

    async def refuse(self) -> tuple[Caller, float]:
        self.running += 1
        await self.go.wait()
        raise Unauthorized("wrong")

    async def accept(self) -> tuple[Caller, float]:
        return ALICE, 60.0


async def started(tasks: list[asyncio.Task[Caller]]) -> None:
    for _ in range(10 * len(tasks)):
        await asyncio.sleep(0)


def guess(
    remembered: Remembered, verifier: Verifier, line: Hashable, number: int, *, is_known: bool
) -> asyncio.Task[Caller]:
    credential = f"{line}:{number}".encode()
    call = remembered.caller(credential, verifier.refuse, line, is_known=is_known)
    return asyncio.create_task(call)


def test_guesses_of_many_unknown_names_do_not_hold_up_a_login() -> None:
    async def tried() -> Caller:
        remembered, verifier = Remembered(60), Verifier()
        guesses = [
            guess(remembered, verifier, ("evil", n), n, is_known=False)
            for n in range(MAXIMUM_WAITING - 1)
        ]
        await started(guesses)
        assert verifier.running == 1
        found = await remembered.caller(b"alice:right", verifier.accept, ("home", "alice"))
        verifier.go.set()
        results = await asyncio.gather(*guesses, return_exceptions=True)
        assert {type(one) for one in results} == {Unauthorized}
        return found

    assert asyncio.run(asyncio.wait_for(tried(), 10)) == ALICE


def test_guesses_at_one_name_are_verified_one_by_one_and_hold_up_nobody_else() -> None:
    async def tried() -> Caller:
        remembered, verifier = Remembered(60), Verifier()
        line = ("evil", "alice")
        guesses = [guess(remembered, verifier, line, n, is_known=True) for n in range(40)]
        await started(guesses)
        assert verifier.running == 1
        found = await remembered.caller(b"alice:right", verifier.accept, ("home", "alice"))
        verifier.go.set()
        results = await asyncio.gather(*guesses, return_exceptions=True)
        refused = [one for one in results if isinstance(one, Unavailable)]
        assert len(refused) == 40 - MAXIMUM_OF_ONE
        return found

    assert asyncio.run(asyncio.wait_for(tried(), 10)) == ALICE


def test_who_was_verified_does_not_wait_at_all() -> None:
    async def tried() -> Caller:
        remembered, verifier = Remembered(60), Verifier()
        await remembered.caller(b"alice:right", verifier.accept, ("home", "alice"))
        guesses = [guess(remembered, verifier, n, n, is_known=True) for n in range(20)]
        await started(guesses)
        found = await remembered.caller(b"alice:right", verifier.refuse, ("home", "alice"))
        verifier.go.set()
        await asyncio.gather(*guesses, return_exceptions=True)
        return found

    assert asyncio.run(asyncio.wait_for(tried(), 10)) == ALICE


def test_nothing_is_left_of_lines_that_are_over() -> None:
    async def tried() -> Remembered:
        remembered, verifier = Remembered(60), Verifier()
        verifier.go.set()
        for n in range(5):
            with pytest.raises(Unauthorized):
                await guess(remembered, verifier, n, n, is_known=False)
        return remembered

    remembered = asyncio.run(tried())
    assert (remembered._lines, remembered._waiting) == ({}, 0)
