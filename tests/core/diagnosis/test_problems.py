"""Since when problems stand, whom they concern, and how many a report has."""

from __future__ import annotations

from lessor.core.diagnosis.problems import MAXIMUM, MAXIMUM_TEXT, Concerned, Since
from lessor.core.plan.desired import Desired
from lessor.core.plan.network import NetworkPlan
from lessor.core.state import HostState, Tap
from lessor.model import Network, Problem

PORT = "0974aaaa-1111-4111-8111-00000000137c"
NETWORK = "22aaaaaa-1111-4111-8111-000000000000"


def drops(many: int) -> Problem:
    return Problem(text=f"{many} packets dropped")


def test_a_problem_with_another_number_keeps_its_beginning() -> None:
    since = Since()
    assert [one.since for one in since.stamped([drops(86)], 100)] == [100]
    (again,) = since.stamped([drops(97)], 130)
    assert (again.text, again.since, again.seen) == ("97 packets dropped", 100, 130)


def test_a_problem_that_was_mended_and_returns_begins_again() -> None:
    since = Since()
    since.stamped([drops(1)], 100)
    assert since.stamped([], 110) == ()
    assert since.stamped([drops(1)], 120)[0].since == 120


def test_two_problems_that_differ_in_a_number_are_two() -> None:
    since = Since()
    first = Problem(text="10.0.0.1 is missing", ports=("a",))
    second = Problem(text="10.0.0.2 is missing", ports=("b",))
    since.stamped([first], 100)
    found = since.stamped([second, first], 110)
    assert {one.ports[0]: one.since for one in found} == {"a": 100, "b": 110}


def test_a_look_of_some_time_ago_keeps_its_time() -> None:
    (found,) = Since().stamped([Problem(text="x", seen=95)], 100)
    assert (found.since, found.seen) == (95, 95)


def test_failures_come_before_what_waits_and_the_rest_is_counted() -> None:
    many = [Problem(text=f"waits for {n}", waits=True) for n in range(MAXIMUM + 5)]
    found = Since().stamped([*many, Problem(text="failed")], 1)
    assert len(found) == MAXIMUM
    assert found[0].text == "failed"
    assert found[-1].text.startswith("7 more problems")


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    (found,) = Since().stamped([Problem(text=f"start {'x' * 2000} Address already in use")], 1)
    assert len(found.text) <= MAXIMUM_TEXT
    assert found.text.startswith("start ")
    assert found.text.endswith("Address already in use")


def test_a_problem_is_of_the_port_whose_tap_or_id_it_names() -> None:
    tap = Tap(name="tap0974aaaa-11", port_id=PORT, bridge="", mtu=1450, managed=False)
    plan = NetworkPlan(network=Network(id=NETWORK), state=HostState(taps={tap.name: tap}))
    concerned = Concerned(Desired(HostState(), plans=(plan,)))
    by_tap = concerned.named(Problem(text="it is not ready"), tap.name)
    by_text = concerned.named(Problem(text=f"port {PORT} answers DHCP"))
    assert [(one.networks, one.ports) for one in (by_tap, by_text)] == [((NETWORK,), (PORT,))] * 2
    assert concerned.named(Problem(text="the disk is full")).networks == ()
