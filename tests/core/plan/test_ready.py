from dataclasses import replace

import pytest

from lessor.core.diff import Observed, Unsound
from lessor.core.plan.network import NetworkPlan
from lessor.core.plan.ready import Found, PortReports, flows_in_force, news
from lessor.core.state import Bridge, Flows, HostState, OvsPort, Reservation, Tap
from lessor.model import DHCP_OWNER, Network, Port, PortReport
from tests.core.plan.test_flat import HERE, MULTI, OWN, THERE, plan

PART = plan("net", replace(HERE, revision=7), THERE)
(TAP,) = PART.state.taps.values()
RESERVED = PART.reserved.by_address
BRIDGE = "br100"


def reports(
    taps: Observed[Tap],
    reservations: dict[str, Reservation],
    why: dict[str, str] | None = None,
    *,
    guarded: bool = True,
    interface: str | None = "eth1",
    apart: str = "",
) -> dict[str, PortReport]:
    servers = {BRIDGE: replace(PART.state.dhcp_servers[BRIDGE], reservations=reservations)}
    found = Found(
        bridges={BRIDGE: Bridge(BRIDGE, interface)},
        taps=taps,
        servers=servers,
        guarded=guarded,
        problems=why or {},
        bridge_problems={BRIDGE: apart} if apart else {},
    )
    return PortReports().of((PART,), found)


def test_a_port_is_wired_and_served_when_tap_and_reservation_are_as_wanted() -> None:
    found = reports({TAP.name: TAP}, RESERVED)
    assert found[HERE.id] == PortReport(revision=7, wired=True, served=True)
    assert found[THERE.id] == PortReport(wired=None, served=True)


@pytest.mark.parametrize("taps", [{}, {TAP.name: replace(TAP, up=False)}])
def test_a_tap_that_is_not_as_wanted_is_said(taps: dict[str, Tap]) -> None:
    found = reports(taps, RESERVED, {TAP.name: "the hypervisor has not made it"})[HERE.id]
    assert (found.wired, found.served, found.pending) == (
        False,
        True,
        "the hypervisor has not made it",
    )


def test_what_is_wrong_with_a_broken_tap_is_said() -> None:
    broken = {TAP.name: Unsound(TAP, "the host takes part in IPv6 on it")}
    found = reports(broken, RESERVED)[HERE.id]
    assert (found.wired, found.pending) == (False, "the host takes part in IPv6 on it")


def test_an_unguarded_tap_is_not_wired() -> None:
    assert not reports({TAP.name: TAP}, RESERVED, guarded=False)[HERE.id].wired


@pytest.mark.parametrize("why", ["", "flat_interface eth1 is not on this host"])
def test_a_port_of_a_bridge_that_is_not_on_its_wire_is_not_wired(why: str) -> None:
    found = reports({TAP.name: TAP}, RESERVED, {BRIDGE: "reloads"}, interface=None, apart=why)
    assert (found[HERE.id].wired, found[HERE.id].served) == (False, True)
    assert found[HERE.id].pending == (why or "eth1 is not in bridge br100 yet")


def test_a_bridge_that_stays_on_its_host_needs_no_wire() -> None:
    state = replace(
        PART.state, bridges={BRIDGE: replace(PART.state.bridges[BRIDGE], interface=None)}
    )
    alone = replace(PART, state=state)
    found = PortReports().of((alone,), Found(taps={TAP.name: TAP}, guarded=True))
    assert found[HERE.id].wired


def test_a_reservation_that_is_not_loaded_is_said() -> None:
    stale = RESERVED | {"10.0.0.5": replace(RESERVED["10.0.0.5"], mac="fa:16:3e:00:00:ff")}
    found = reports({TAP.name: TAP}, stale, {BRIDGE: "reloads in 0.9 s"})[HERE.id]
    assert (found.wired, found.served, found.pending) == (True, False, "reloads in 0.9 s")


@pytest.mark.parametrize("there", [True, False])
def test_a_gateway_port_of_ours_is_there_when_its_address_is(there: bool) -> None:
    part = plan("compute", THERE, OWN, network=MULTI)
    keys = {"br100 10.0.0.9/24"} if there else set()
    found = PortReports().of((part,), Found(own=keys))[OWN.id]
    assert (OWN.device_owner, found.wired, found.served) == (DHCP_OWNER, there, there)


def test_news_are_what_differs() -> None:
    old, new = PortReport(revision=1, wired=True), PortReport(revision=2, wired=True)
    assert news({"a": old, "b": old}, {"a": old, "b": new, "c": old}) == {"b": new, "c": old}


VIF, DHCP = OvsPort("tap1", "br-int", "vif"), OvsPort("otap1", "br-int", "dhcp")
OF_VIF, OF_BOTH, OF_DHCP = (
    "table=0,in_port=tap1,actions=resubmit(,25)",
    "table=60,in_port=tap2,actions=output:otap1,output:tap1",
    "table=60,in_port=otap1,actions=output:tap2",
)
LEFT = "table=60,in_port=tap2,actions=output:otap1"  # of OF_BOTH without tap1


@pytest.mark.parametrize(
    ("lines", "there", "answer"),
    [
        pytest.param((OF_VIF, OF_BOTH, OF_DHCP), ("tap1", "otap1", "tap2"), True, id="all"),
        pytest.param((LEFT, OF_DHCP), ("otap1", "tap2"), True, id="a VM's port waits"),
        pytest.param((OF_DHCP,), ("otap1", "tap2"), False, id="another's flow is missing"),
        pytest.param(
            (LEFT, OF_DHCP), ("tap1", "otap1", "tap2"), False, id="it came, its flows not"
        ),
        pytest.param((), ("tap1", "tap2"), False, id="a DHCP server's port waits"),
    ],
)
def test_a_port_that_waits_for_its_tap_keeps_no_other_from_its_flows(
    lines: tuple[str, ...], there: tuple[str, ...], answer: bool
) -> None:
    ports = {one.name: one for one in (VIF, DHCP, replace(VIF, name="tap2"))}
    wanted = {"br-int": Flows("br-int", (OF_VIF, OF_BOTH, OF_DHCP))}
    actual = {"br-int": Flows("br-int", lines)}
    here = {name: ports[name] for name in there}
    assert flows_in_force(wanted, actual, ports, here) is answer
    if "tap1" not in there:  # in the database, but without a device
        gone = Unsound(VIF, "device tap1 of its port is gone")
        dead: dict[str, OvsPort | Unsound[OvsPort]] = {**here, "tap1": gone}
        assert flows_in_force(wanted, actual, ports, dead) is answer


@pytest.mark.parametrize(("lines", "answer"), [((LEFT, OF_DHCP), True), ((OF_DHCP,), False)])
def test_a_port_that_went_while_flows_were_applied_keeps_no_other_from_its_flows(
    lines: tuple[str, ...], answer: bool
) -> None:
    """It is believed to be there until the next look."""
    ports = {one.name: one for one in (VIF, DHCP, replace(VIF, name="tap2"))}
    wanted = {"br-int": Flows("br-int", (OF_VIF, OF_BOTH, OF_DHCP))}
    actual = {"br-int": Flows("br-int", lines)}
    assert flows_in_force(wanted, actual, ports, ports, ["tap1"]) is answer


def test_a_port_whose_flows_wait_is_not_wired_and_its_neighbour_is() -> None:
    taps = tuple(Tap(f"tap{n}", f"p{n}", "", 1450, managed=False) for n in (1, 2))
    vifs = tuple(OvsPort(tap.name, "br-int", "vif", tap.port_id) for tap in taps)
    rows = {tap.port_id: Port(id=tap.port_id, network_id="n", mac_address="") for tap in taps}
    state = HostState(
        taps={tap.name: tap for tap in taps}, ovs_ports={vif.name: vif for vif in vifs}
    )
    made = NetworkPlan(network=Network(id="n"), rows=rows, state=state)
    found = Found(
        taps=state.taps,
        ovs_ports=state.ovs_ports,
        flows=True,
        problems={"tap1": "2 flows of br-int wait for port tap1, which is not there"},
    )
    said = PortReports().of((made,), found)
    assert (said["p1"].wired, said["p2"].wired) == (False, True)
    assert said["p1"].pending.startswith("2 flows of br-int wait")
