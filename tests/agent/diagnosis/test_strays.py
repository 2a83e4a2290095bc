"""Taps of ports that this host doesn't have."""

from __future__ import annotations

from lessor.agent.diagnosis.strays import LASTING_S, MAXIMUM, Strays, device_names
from lessor.core.plan.desired import Desired
from lessor.core.state import HostState, Tap

TAP = "tapd184cb86-16"


def test_a_tap_that_stays_without_a_port_here_is_said_until_it_has_one() -> None:
    names, now = {"lo", "eth0", "tap0", TAP}, [100.0]
    strays = Strays(lambda: names, lambda: now[0])
    nothing = Desired(HostState())
    assert not list(strays.problems(nothing))
    now[0] += LASTING_S
    [found] = strays.problems(nothing)
    assert (found.key, found.waits) == (f"stray {TAP}", True)
    tap = Tap(name=TAP, port_id="p", bridge="br100", mtu=1500, managed=False)
    assert not list(strays.problems(Desired(HostState(taps={TAP: tap}))))
    assert not list(strays.problems(nothing))


def test_many_are_a_bounded_number_of_problems() -> None:
    now = [100.0]
    strays = Strays(lambda: {f"tap{n:08x}-00" for n in range(90)}, lambda: now[0])
    list(strays.problems(Desired(HostState())))
    now[0] += LASTING_S
    assert len(list(strays.problems(Desired(HostState())))) == MAXIMUM


def test_devices_are_those_of_the_namespace() -> None:
    assert "lo" in device_names()
