"""What is kept from plan to plan must never differ from what is made anew."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.core.plan.desired import Desired, Planner
from lessor.core.plan.network import NetworkPlan
from lessor.core.plan.ready import Found, PortReports
from lessor.core.plan.rows import follow, replaced, row_changes
from lessor.core.state import HostState
from lessor.model import (
    DHCP_OWNER,
    FixedIp,
    Network,
    Pool,
    Port,
    PortReport,
    Scope,
    Subnet,
    View,
)
from lessor.net.address import Address
from tests.core.plan.test_desired import SETTINGS
from tests.core.plan.test_flat import SUBNET, port

HOSTS = ("net", "far", None)
NETWORKS = (
    Network(id="blue", physical_network="physnet1", host="net"),
    Network(id="blue", physical_network="physnet1", host="net", mtu=1400),
    Network(id="blue", physical_network="physnet1", host="far"),
    Network(id="blue", physical_network="physnet1", multi_host=True),
    Network(id="blue", physical_network="physnet1", multi_host=True, share_address=True),
)
SUBNETS = (
    SUBNET,
    replace(SUBNET, pools=(Pool(IPv4Address("10.0.0.10"), IPv4Address("10.0.0.20")),)),
    replace(SUBNET, enable_dhcp=False),
)


@cache
def _row(number: int, host: str | None, address: int, owner: str, revision: int) -> Port:
    """Return a row of one of four ports; each has addresses that no other has, as in the store."""
    ips = (FixedIp("s", IPv4Address(f"10.0.0.{number + address}")),) if address else ()
    return port(number, host, fixed_ips=ips, device_owner=owner, revision=revision)


PORTS = st.builds(
    _row,
    st.integers(2, 5),
    st.sampled_from(HOSTS),
    st.sampled_from([0, 10, 20]),
    st.sampled_from(["compute:nova", "compute:nova", DHCP_OWNER]),
    st.integers(1, 2),
)
ENDS: dict[str, Address] = {
    "net": IPv4Address("203.0.113.10"),
    "far": IPv4Address("203.0.113.11"),
}
OVERLAYS = (
    Network(id="blue", network_type="vxlan", segmentation_id=7),
    Network(id="blue", network_type="vxlan", segmentation_id=7, dns_domain="blue.example."),
    Network(id="blue", network_type="vxlan", segmentation_id=7, admin_state_up=False),
)


def scopes(networks: tuple[Network, ...], *peers: dict[str, Address]) -> st.SearchStrategy[Scope]:
    return st.builds(
        lambda network, subnet, rows, ends: Scope(
            revision=1,
            network=network,
            subnets={"s": subnet},
            ports={p.id: p for p in rows},
            peers=ends,
        ),
        st.sampled_from(networks),
        st.sampled_from(SUBNETS),
        st.lists(PORTS, max_size=5),
        st.sampled_from(peers or ({},)),
    )


KINDS = {
    "flat": scopes(NETWORKS),
    "overlay": scopes(OVERLAYS, ENDS, {"net": ENDS["net"]}),
    "both": st.one_of(scopes(NETWORKS), scopes(OVERLAYS, ENDS)),
}


def sets(value: Any) -> Any:
    """Leave order out where none is meant."""
    return frozenset(value) if isinstance(value, tuple) else value


def same(one: Desired, other: Desired) -> None:
    assert one.state == other.state
    for mine, theirs in zip(one.plans, other.plans, strict=True):
        for name in ("guards", "gateways", "vm_ranges", "own_ports"):
            assert sets(getattr(mine, name)) == sets(getattr(theirs, name)), name
        for name in ("network", "rows", "state", "reserved", "facts", "problems"):
            assert getattr(mine, name) == getattr(theirs, name), name


def as_found(state: HostState, *, loaded: int) -> Found:
    """What a host has that is as wanted, but for what its DHCP server hasn't loaded yet."""
    servers = {
        name: replace(server, reservations=dict(list(server.reservations.items())[:loaded]))
        for name, server in state.dhcp_servers.items()
    }
    return Found(
        bridges=state.bridges,
        taps=state.taps,
        own={*state.addresses, *state.dhcp_devices},
        ovs_ports=state.ovs_ports,
        flows=True,
        servers=servers,
        guarded=True,
    )


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), single=st.booleans())
def test_a_plan_made_from_the_one_before_is_the_plan_made_anew(
    kind: str, data: st.DataObject, single: bool
) -> None:
    settings = replace(SETTINGS, local_ip=ENDS["net"], use_single_default_gateway=single)
    planner, reports = Planner(settings), PortReports()
    steps = st.lists(st.tuples(KINDS[kind], st.integers(0, 9)), min_size=2, max_size=5)
    for scope, loaded in data.draw(steps):
        view = View(epoch="e", scopes={"blue": scope})
        followed, anew = planner.desired(view), Planner(settings).desired(view)
        same(followed, anew)
        found = as_found(anew.state, loaded=loaded)
        said = reports.of(followed.plans, found)
        assert said == PortReports().of(anew.plans, found)


def test_what_is_said_of_ports_that_did_not_change_stays_the_same_object() -> None:
    planner, reports = Planner(SETTINGS), PortReports()

    def said(*rows: Port) -> dict[str, PortReport]:
        scope = Scope(
            revision=1, network=NETWORKS[0], subnets={"s": SUBNET}, ports={p.id: p for p in rows}
        )
        made = planner.desired(View(epoch="e", scopes={"blue": scope}))
        return reports.of(made.plans, as_found(made.state, loaded=9))

    here, there = port(5, "net"), port(6, "far")
    before = said(here, there)
    assert said(here, there) is before
    after = said(here, replace(there, revision=2))
    assert after[here.id] is before[here.id]
    assert after[there.id].revision == 2


def test_one_row_of_an_overlay_network_costs_nothing_of_the_others() -> None:
    planner = Planner(replace(SETTINGS, local_ip=ENDS["net"]))

    def made(*rows: Port) -> tuple[NetworkPlan, HostState]:
        scope = Scope(
            revision=1,
            network=OVERLAYS[0],
            subnets={"s": SUBNET},
            ports={p.id: p for p in rows},
            peers=ENDS,
        )
        desired = planner.desired(View(epoch="e", scopes={"blue": scope}))
        return desired.plans[0], desired.state

    own, here, there = port(2, "net", device_owner=DHCP_OWNER), port(5, "net"), port(6, "far")
    plan, state = made(own, here, there)
    renamed, after = made(own, here, replace(there, name="web"))
    assert after.flows is state.flows
    assert renamed.reserved.by_port[here.id] is plan.reserved.by_port[here.id]
    assert renamed.guards[0] is plan.guards[0]
    assert [r.hostname for r in renamed.reserved.by_port.values()] == ["host-10-0-0-5", "web"]
    moved, after = made(own, here, replace(there, mac_address="fa:16:3e:00:00:07"))
    assert after.flows is not state.flows
    assert moved.guards[0] is plan.guards[0]


KEYS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2))


@given(KEYS, KEYS, st.booleans())
def test_following_changes_comes_to_what_making_all_comes_to(
    before: dict[str, int], after: dict[str, int], anew: bool
) -> None:
    rows = {key: port(number, name=key) for number, key in enumerate("abcd", 2)}
    old = {rows[k].id: replace(rows[k], revision=r) for k, r in before.items()}
    new = {rows[k].id: replace(rows[k], revision=r) for k, r in after.items()}

    def odd(row: Port) -> str | None:
        return f"{row.name}{row.revision}" if row.revision else None

    known = follow({}, row_changes({}, old), odd)
    assert follow(known, row_changes(old, new, anew=anew), odd) == {
        key: odd(row) for key, row in new.items() if odd(row)
    }


@pytest.mark.parametrize(("drop", "put"), [((), {}), (("c",), {})])
def test_nothing_that_differs_is_no_new_dict(drop: tuple[str, ...], put: dict[str, int]) -> None:
    known = {"a": 1, "b": 2}
    assert replaced(known, [key for key in drop if key in known], put) is known
    assert replaced(known, ("a",), {"c": 3}) == {"b": 2, "c": 3}
    assert known == {"a": 1, "b": 2}


def test_subnets_of_the_view_are_told_by_identity() -> None:
    subnets: dict[str, Subnet] = {"s": SUBNET}
    assert row_changes(subnets, subnets).fresh == ()
    assert row_changes(subnets, {"s": replace(SUBNET)}).fresh == (SUBNET,)
