"""Which subnets a host does not serve."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from lessor.core.around import Around
from lessor.core.plan.desired import Planner
from lessor.model import HostBlock
from tests.core.plan.test_desired import BLUE, RED, SETTINGS, view

SERVER = HostBlock(cidr=IPv4Network("10.0.1.200/32"), what="server")
TUNNEL = Around((SERVER,))


def test_a_subnet_that_takes_over_what_the_host_needs_gets_no_address_and_no_server() -> None:
    desired = Planner(SETTINGS).desired(view(BLUE, RED), TUNNEL)
    assert sorted(desired.state.addresses) == ["br100 10.0.2.1/24", "lo 169.254.169.254/32"]
    [server] = desired.state.dhcp_servers.values()
    assert [str(one.cidr) for one in server.ranges] == ["10.0.2.0/24"]
    assert not any("10.0.1.0/24" in rules.text for rules in desired.state.rulesets.values())
    [problem] = desired.problems
    assert "10.0.1.0/24 of network blue is not served here" in problem.text
    assert "the server 10.0.1.200" in problem.text
    assert problem.networks == ("blue",)


def test_a_subnet_that_is_served_goes_on_and_the_problem_is_said() -> None:
    around = replace(TUNNEL, ours=frozenset({IPv4Network("10.0.1.0/24")}))
    desired = Planner(SETTINGS).desired(view(BLUE), around)
    assert "br100 10.0.1.1/24" in desired.state.addresses
    assert "is served, and should not be" in desired.problems[0].text


def test_a_subnet_is_served_as_soon_as_nothing_stands_in_its_way() -> None:
    planner = Planner(SETTINGS)
    planner.desired(view(BLUE), TUNNEL)
    desired = planner.desired(view(BLUE), Around())
    assert "br100 10.0.1.1/24" in desired.state.addresses
    assert desired.problems == ()


def test_the_plan_of_a_network_is_kept_while_a_subnet_is_refused() -> None:
    planner = Planner(SETTINGS)
    first, second = (planner.desired(view(BLUE), TUNNEL).plans[0] for _ in range(2))
    assert first is second


@pytest.mark.parametrize(
    "settings",
    [
        {"reserved_cidrs": (IPv4Network("10.0.0.0/23"),)},
        {"min_subnet_prefixlen": 25},
    ],
)
def test_reserved_and_oversized_subnets_are_not_served(settings: dict[str, object]) -> None:
    limited = replace(SETTINGS, **settings)  # type: ignore[arg-type]
    desired = Planner(limited).desired(view(BLUE))
    assert not desired.state.addresses.keys() & {"br100 10.0.1.1/24"}
    assert "not served here" in desired.problems[0].text


def test_a_lan_on_the_bridge_and_allowed_blocks_are_served() -> None:
    lan = HostBlock(cidr=IPv4Network("10.0.0.0/16"), what="network", physical_network="physnet1")
    on_the_wire = Around((SERVER, lan))
    assert not Planner(SETTINGS).desired(view(BLUE), on_the_wire).problems
    allowed = replace(SETTINGS, allowed_host_cidrs=(IPv4Network("10.0.1.0/24"),))
    assert not Planner(allowed).desired(view(BLUE), TUNNEL).problems
