from __future__ import annotations

from itertools import islice

from tests.campaign.schedule import DATABASE, Fleet, Step, kinds, rounds

FLEET = Fleet(
    ("net1", "net2"), ("cmp1", "cmp2"), ("server", "other-server"), ("net2",), ("cmp2", "server"),
    postgresql=True,
)  # fmt: skip


def steps(seed: int, count: int = 200) -> list[Step]:
    return [step for one in islice(rounds(seed, FLEET), count) for step in one.steps]


def test_a_seed_says_all() -> None:
    assert steps(7) == steps(7)
    assert steps(7) != steps(8)


def test_every_kind_comes_before_any_comes_again() -> None:
    known = kinds(FLEET)
    first = [step.kind for step in steps(1)][: len(known)]
    assert sorted(first) == sorted(known)


def test_faults_overlap_but_no_two_touch_the_same_thing() -> None:
    many = [one for one in islice(rounds(3, FLEET), 300) if len(one.steps) > 1]
    assert len(many) > 100
    for one in many:
        keys = [key for step in one.steps for key in step.keys]
        assert len(keys) == len(set(keys))


def test_a_fault_lasts_1_to_15_seconds_and_less_at_another_pace() -> None:
    assert {1 <= step.lasts_s <= 15 for step in steps(1)} == {True}
    fast = [step for one in islice(rounds(1, FLEET, pace=5), 200) for step in one.steps]
    assert max(step.lasts_s for step in fast) <= 3


def test_a_database_in_a_file_is_not_restarted() -> None:
    file = Fleet(("net1",), ("cmp1",), ("server",), (), (), postgresql=False)
    assert not {step.target for one in islice(rounds(1, file), 200) for step in one.steps} & {
        DATABASE
    }
