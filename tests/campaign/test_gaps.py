from __future__ import annotations

from collections.abc import Sequence

from tests.campaign import gaps
from tests.campaign.history import ACKED, RELEASE, RENEW, SENT, SILENT, Exchange, FaultRun, VmSpan

MAC = "fa:16:3e:00:00:0a"


def span(kind: str = "flat") -> VmSpan:
    return VmSpan("vm", MAC, "net", kind, ("cmp1", "net1"), 0.0, 100.0)


def asked(*times: float, silent: Sequence[float] = ()) -> list[Exchange]:
    outcomes = dict.fromkeys(times, ACKED) | dict.fromkeys(silent, SILENT)
    return [
        Exchange("vm", "net", MAC, RENEW, at, at + 0.1, outcomes[at]) for at in sorted(outcomes)
    ]


def fault(kind: str, began: float, ended: float, *hosts: str) -> FaultRun:
    return FaultRun(kind, "", hosts, began, ended)


def longest(kind: str, *faults: FaultRun) -> float:
    """Answered at 10 and 60, in vain at 20."""
    found = gaps.unexplained([span(kind)], asked(10.0, 60.0, silent=[20.0]), faults)
    return round(gaps.length(found.get("vm", (0, 0))), 1)


def test_a_gap_is_the_time_between_two_answers_with_a_question_in_vain_between() -> None:
    assert [*gaps.gaps(span(), asked(10.0, 60.0))] == []
    assert [*gaps.gaps(span(), asked(10.0, 60.0, silent=[20.0]))] == [(10.1, 60.1)]
    assert [*gaps.gaps(span(), asked(10.0, silent=[90.0]))] == [(10.1, 100.0)]


def test_what_a_vm_tells_without_an_answer_is_no_gap() -> None:
    told = Exchange("vm", "net", MAC, RELEASE, 20.0, 20.0, SENT)
    assert [*gaps.gaps(span(), [*asked(10.0), told, *asked(60.0)])] == []


def test_a_gap_without_a_fault_is_not_explained() -> None:
    assert longest("flat") == 50.0
    broken = gaps.short_enough([span()], asked(10.0, 60.0, silent=[20.0]), [])
    assert "in vain for 50.0 s" in broken.violations[0]


def test_a_fault_explains_a_gap_until_its_grace_is_over() -> None:
    assert longest("flat", fault("power off", 10.0, 45.0, "net1")) == 0.0
    assert longest("flat", fault("power off", 15.0, 20.0, "net1")) == 20.1
    assert longest("flat", fault("power off", 10.0, 45.0, "cmp2")) == 50.0, "of another host"


def test_a_fault_explains_only_what_it_can_cause() -> None:
    assert longest("vxlan", fault("underlay cut", 10.0, 45.0, "net1", "cmp1")) == 0.0
    assert longest("flat", fault("underlay cut", 10.0, 45.0, "net1", "cmp1")) == 50.0
    assert longest("flat", fault("agent killed", 10.0, 45.0, "net1")) == 50.0
    assert longest("flat", fault("server killed", 10.0, 45.0)) == 50.0


def test_a_dead_agent_explains_a_gap_with_what_it_could_not_mend() -> None:
    agent = fault("agent killed", 9.0, 45.0, "net1")
    assert longest("flat", agent, fault("dnsmasq killed", 11.0, 11.0, "net1")) == 0.0
