"""How the pieces of a network are judged by what a host shows."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface

import pytest

from lessor.core.diagnosis.dhcp import DhcpStatus
from lessor.core.diagnosis.tour import (
    Device,
    Port,
    Seen,
    address_piece,
    dhcp_pieces,
    read_flows,
)
from lessor.core.diagnosis.tour_plan import plan_pieces
from lessor.core.openflow.flow_text import flow
from lessor.core.plan.desired import Planner
from lessor.core.plan.network import NetworkPlan
from lessor.core.state import DhcpServer
from lessor.model import View
from tests.core.plan import test_flat as flat
from tests.core.plan.test_overlay import DHCP, HERE, THERE, scope, settings

ALL = (DHCP, HERE, THERE)


def printed(lines: tuple[str, ...]) -> str:
    """Print flows as ovs-ofctl does, with counters."""
    made = []
    for line in lines:
        head, _, actions = line.partition("actions=")
        table, priority, *match = head.rstrip(",").split(",")
        made.append(
            f" cookie=0x1, duration=1s, {table}, n_packets=3, n_bytes=90, {','.join((priority, *match))}"
            f" actions={actions}"
        )
    return "\n".join(made)


def status(reservations: frozenset[tuple[str, str]] = frozenset()) -> DhcpStatus:
    """A server that runs."""
    return DhcpStatus(
        program="server",
        process="pid 7",
        serves=True,
        process_command="ps",
        reservations=reservations,
        store=("its files", "/n"),
        reservations_command="cat /n",
    )


def whole(host: str) -> tuple[NetworkPlan, Seen]:
    """Return what a host should have, and a host that has it."""
    desired = Planner(settings(host)).desired(View(epoch="e", scopes={"blue": scope(*ALL)}))
    [plan] = desired.plans
    state = desired.state
    taps = {tap.name: Device("", tap.mtu, up=True) for tap in state.taps.values()}
    inside = {
        device.namespace: {
            device.name: Device(
                device.mac, device.mtu, up=True, addresses=tuple(map(str, device.addresses))
            )
        }
        for device in state.dhcp_devices.values()
    }
    ports = {p.name: Port(p.bridge, p.vlan, **_ends(p.options)) for p in state.ovs_ports.values()}
    held = plan.reserved.by_port.values()
    return plan, Seen(
        namespaces=list(inside),
        devices={"": taps, **inside},
        routers={device.namespace: str(device.gateway) for device in state.dhcp_devices.values()},
        listening=dict.fromkeys(inside, (80,)),
        bridges=list(state.ovs_bridges),
        ports=ports,
        flows={name: read_flows(printed(flows.lines)) for name, flows in state.flows.items()},
        dhcp=status(frozenset((r.mac, str(r.address)) for r in held)),
    )


def server(plan: NetworkPlan) -> DhcpServer | None:
    return plan.state.dhcp_servers.get(plan.server)


def _ends(options: tuple[tuple[str, str], ...]) -> dict[str, str]:
    said = dict(options)
    return {"remote": said.get("remote_ip", ""), "peer": said.get("peer", "")}


def amiss(host: str, plan: NetworkPlan, seen: Seen) -> list[str]:
    found = plan_pieces(plan, server(plan), seen, settings(host))
    return [piece.what for piece in found if not piece.ok]


@pytest.mark.parametrize("host", ["a", "net"])
def test_of_a_whole_host_nothing_is_missing(host: str) -> None:
    assert amiss(host, *whole(host)) == []


def test_a_host_without_anything_misses_every_piece() -> None:
    plan, _ = whole("net")
    found = list(plan_pieces(plan, server(plan), Seen(), settings("net")))
    assert len(found) > 12
    assert {piece.ok for piece in found} == {False}
    assert {piece.found for piece in found} == {"nothing"}


def test_the_dhcp_taps_mac_is_looked_for_where_it_leads_elsewhere() -> None:
    plan, seen = whole("a")
    wrong = read_flows(
        printed((flow(20, 2, f"dl_vlan=1,dl_dst={DHCP.mac_address}", "output:vxlan-00000000"),))
    )
    rest = tuple(f for f in seen.flows["br-tun"] if f"dl_dst={DHCP.mac_address}" not in f.match)
    other = replace(seen, flows={**seen.flows, "br-tun": (*rest, *wrong)})
    assert amiss("a", plan, other) == ["DHCP tap's MAC flow"]


def test_counters_are_shown() -> None:
    plan, seen = whole("a")
    found = plan_pieces(plan, server(plan), seen, settings("a"))
    [mac] = [piece for piece in found if piece.what == "DHCP tap's MAC flow"]
    assert mac.found == "to vxlan-cb00710a; 3 packets, 90 bytes"
    assert mac.command == (
        "ovs-ofctl --names dump-flows br-tun table=20,dl_vlan=1,dl_dst=fa:16:3e:00:00:02"
    )


def test_a_reservation_that_the_server_lacks_is_counted() -> None:
    plan, _ = whole("net")
    made = server(plan)
    assert made is not None
    here = status(frozenset({("fa:16:3e:00:00:05", "10.0.0.5")}))
    process, files = dhcp_pieces(here, made)
    assert (process.ok, files.ok, files.found, files.should) == (
        True,
        False,
        "1 of 2",
        "2 reservations",
    )


def test_a_server_that_runs_elsewhere_does_not_serve() -> None:
    plan, _ = whole("net")
    made = server(plan)
    assert made is not None
    process, _ = dhcp_pieces(replace(status(), process="pid 7, elsewhere", serves=False), made)
    assert (process.ok, process.found) == (False, "pid 7, elsewhere")


def test_of_a_server_that_does_not_run_nothing_is_found() -> None:
    plan, _ = whole("net")
    made = server(plan)
    assert made is not None
    found = dhcp_pieces(replace(status(), process="", serves=False), made)
    assert [(piece.ok, piece.found) for piece in found] == [(False, "nothing")] * 2


def test_further_addresses_of_an_operator_do_no_harm() -> None:
    seen = Seen(
        devices={"": {"br100": Device("", 1500, True, addresses=("10.0.0.1/24", "192.0.2.9/24"))}}
    )
    assert address_piece(seen, "br100", [str(IPv4Interface("10.0.0.1/24"))]).ok
    assert not address_piece(seen, "br100", ["10.0.0.2/24"]).ok


BRIDGE = Device("", 1500, up=True, addresses=("10.0.0.1/24",))
WIRE = Device("", 1500, up=True, master="br100")
RULES = ("bridge lessor", "inet lessor")


def test_of_a_flat_network_its_bridge_taps_rules_and_server_are_looked_for() -> None:
    plan = flat.plan("net", flat.HERE, flat.THERE)
    held = frozenset((r.mac, str(r.address)) for r in plan.reserved.by_port.values())
    seen = Seen(
        devices={"": {"br100": BRIDGE, "eth1": WIRE, "tap00000005-5b": WIRE}},
        listening={"": (8775,)},
        dhcp=status(held),
        rulesets=RULES,
    )
    found = list(plan_pieces(plan, server(plan), seen, flat.SETTINGS))
    assert [piece.what for piece in found if not piece.ok] == []
    assert [piece.what for piece in found] == [
        *("bridge", "interface", "tap", "addresses", "rules", "rules"),
        *("server", "its files", "metadata"),
    ]
    astray = replace(WIRE, master="br200")
    other = replace(seen, devices={"": {"br100": BRIDGE, "eth1": astray, "tap00000005-5b": WIRE}})
    found = list(plan_pieces(plan, server(plan), other, flat.SETTINGS))
    assert [piece.what for piece in found if not piece.ok] == ["interface"]


def test_a_host_that_only_has_vms_of_a_flat_network_has_no_server_to_look_for() -> None:
    plan = flat.plan("compute", flat.THERE)
    found = [piece.what for piece in plan_pieces(plan, None, Seen(), flat.SETTINGS)]
    assert found == ["bridge", "interface", "tap", "rules"]
