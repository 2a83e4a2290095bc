from __future__ import annotations

import pytest

from tests.sharing import group_of, next_group

LEFT = {
    "tests/core/test_mtu.py": 100,
    "tests/store/ports/test_rules.py": 300,
    "tests/lab/test_closed.py": 3,
    "tests/lab/test_osvif.py": 9,
}


@pytest.mark.parametrize(
    ("test", "group"),
    [
        ("tests/core/test_mtu.py::test_it[a::b]", "tests/core/test_mtu.py"),
        ("tests/lab/test_acceptance_09_nat.py::test_it[iptables-1]", "tests/lab/iptables"),
        ("tests/lab/test_acceptance_09_nat.py::test_it[nftables]", "tests/lab/nftables"),
        ("tests/lab/test_acceptance_02_lease.py::test_it", "tests/lab/nftables"),
    ],
)
def test_what_shares_a_lab_is_one_group(test: str, group: str) -> None:
    assert group_of(test) == group


@pytest.mark.parametrize(
    ("process", "order"),
    [
        (0, ["lab/test_osvif", "lab/test_closed", "store/ports/test_rules", "core/test_mtu"]),
        (1, ["store/ports/test_rules", "core/test_mtu", "lab/test_osvif", "lab/test_closed"]),
    ],
)
def test_every_other_process_begins_with_what_waits_and_the_longest_comes_first(
    process: int, order: list[str]
) -> None:
    left, taken = dict(LEFT), []
    while left:
        taken.append(next_group(left, process))
        del left[taken[-1]]
    assert taken == [f"tests/{name}.py" for name in order]
