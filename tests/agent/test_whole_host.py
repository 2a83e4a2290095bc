"""The whole host, with all real drivers: every operation of a pass may fail, or be the last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from lessor.model import FixedIp, Network, Pool, Port, Scope, Subnet, View
from tests.agent.whole_host import Host, Killed, Steps, inject, whole_host

pytestmark = pytest.mark.lab

CIDR = IPv4Network("10.0.0.0/24")
NETWORK = Network(id="blue", physical_network="physnet1", host="net")
SUBNET = Subnet(
    id="s",
    network_id="blue",
    cidr=CIDR,
    gateway_ip=CIDR[1],
    dhcp_server=CIDR[1],
    pools=(Pool(CIDR[2], CIDR[254]),),
)


def port(number: int, at: int | None = None, **more: object) -> Port:
    values: dict[str, object] = {
        "id": f"{number:08x}-5bb2-4d6c-8a6e-0123456789ab",
        "network_id": "blue",
        "mac_address": f"fa:16:3e:00:00:{number:02x}",
        "fixed_ips": (FixedIp("s", IPv4Address(CIDR[at or number])),),
        "binding_host": "net",
        "binding_profile": {"tap": "managed"},
    }
    return Port(**(values | more))  # type: ignore[arg-type]


def view(*ports: Port, subnet: Subnet = SUBNET) -> View:
    rows = {one.id: one for one in ports}
    scope = Scope(revision=1, network=NETWORK, subnets={"s": subnet}, ports=rows)
    return View(epoch="e", scopes={"blue": scope})


NOTHING = View(epoch="e")
HERE, THERE = port(5), port(6, binding_host="compute", binding_profile={})
BLUE = view(HERE, THERE)
OTHER = view(
    port(7, at=5),  # the address has another owner
    THERE,
    subnet=replace(SUBNET, dhcp_server=CIDR[9], gateway_ip=CIDR[254]),
)
WAYS = {
    "create": (NOTHING, BLUE),
    "change": (BLUE, OTHER),
    "delete": (BLUE, NOTHING),
}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps()


@pytest.fixture
def host(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with whole_host(monkeypatch) as made, monkeypatch.context() as patch:
        inject(steps, patch)
        yield made


def settle(host: Host, wanted: View, what: str) -> None:
    """The next pass makes it so, the one after finds nothing to do."""
    outcome = host.once(wanted)
    assert outcome.problems == [], what
    again = host.once(wanted)
    assert (again.done, again.problems) == ({}, []), what
    assert len(host.servers()) == bool(wanted.scopes), what


def fail_at(host: Host, steps: Steps, wanted: View, at: int, *, kill: bool) -> str:
    """Let one step of a pass go wrong; return which it was, "" if there are fewer."""
    steps.arm(at, kill=kill)
    try:
        host.once(wanted)
    except Killed:
        host.start_agent()
    there_was = steps.disarm() >= at
    return f"step {at}: {steps.done[at - 1]}" if there_was else ""


def go_wrong(host: Host, steps: Steps, way: str, *, kill: bool, first: int, stride: int) -> None:
    """Let every stride-th step of a way go wrong, each time from the beginning."""
    host.start_agent()
    settle(host, NOTHING, "nothing yet")
    operators = host.seen()  # and what keeps unknown ports from its bridges
    before, after = WAYS[way]
    settle(host, before, "before")
    at = first
    while step := fail_at(host, steps, after, at, kill=kill):
        settle(host, after, step)
        assert host.once(before).problems == [], f"back after {step}"
        at += stride
    assert at > first + stride
    settle(host, NOTHING, "nothing")
    assert host.seen() == operators


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "refused"])
@pytest.mark.parametrize("way", WAYS)
def test_steps_all_along_a_way_may_fail(host: Host, steps: Steps, way: str, kill: bool) -> None:
    go_wrong(host, steps, way, kill=kill, first=3 if kill else 9, stride=13)


@pytest.mark.long
@pytest.mark.parametrize("kill", [True, False], ids=["killed", "refused"])
@pytest.mark.parametrize("way", WAYS)
def test_every_step_may_fail(host: Host, steps: Steps, way: str, kill: bool) -> None:
    go_wrong(host, steps, way, kill=kill, first=1, stride=1)
