"""Readers of plans need nothing of the kind of a network, also of one that they have never met."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest

from lessor.core.diagnosis.problems import Concerned
from lessor.core.diagnosis.tour import Seen
from lessor.core.diagnosis.tour_plan import plan_pieces
from lessor.core.plan.desired import Desired
from lessor.core.plan.done import networks_done
from lessor.core.plan.join import united
from lessor.core.plan.network import NetworkPlan, OwnPort
from lessor.core.plan.ready import Found, PortReports
from lessor.core.plan.serving import Failure, unserved
from lessor.core.state import (
    Bridge,
    DeviceAddress,
    DhcpDevice,
    DhcpServer,
    HostState,
    MetadataListener,
    Namespace,
    Tap,
)
from lessor.model import Network, Port, PortReport, Problem, Scope, View
from tests.core.plan.test_flat import SETTINGS
from tests.test_layers import imports, modules

PLANNERS = {"lessor.core.plan.flat", "lessor.core.plan.overlay"}
SPACE = "qrouter-r"
ROW = Port(id="p", network_id="r", mac_address="fa:16:3e:00:00:01", revision=3)
OWN = Port(id="own", network_id="r", mac_address="fa:16:3e:00:00:02", revision=4)
TAP = Tap("tap-p", "p", "br-r", 1500, managed=False)
ADDRESS = DeviceAddress("br-r", IPv4Interface("10.0.0.1/24"))
# On a bridge as flat networks are, with its server in a namespace as overlay networks have it.
STATE = HostState(
    bridges={"br-r": Bridge("br-r", None)},
    namespaces={SPACE: Namespace(SPACE)},
    dhcp_devices={"own": DhcpDevice("own", "oown", SPACE, OWN.mac_address, 1500, ())},
    addresses={ADDRESS.key: ADDRESS},
    dhcp_servers={"r": DhcpServer("r", "own", (), {}, namespace=SPACE)},
    metadata={"own": MetadataListener("own", 80, ("r",), SPACE)},
    taps={TAP.name: TAP},
)
PLAN = NetworkPlan(
    network=Network(id="r", network_type="made-up"),
    rows={"p": ROW, "own": OWN},
    state=STATE,
    own_ports=(OwnPort("own", "own"),),
)
DESIRED = Desired(united([STATE]), plans=(PLAN,))
VIEW = View(epoch="e", scopes={"r": Scope(revision=7, network=PLAN.network)})


def test_planners_are_known_where_they_are_chosen_and_nowhere_else() -> None:
    users = {name for name, path in modules() if any(m in PLANNERS for m, _ in imports(path))}
    assert users == {"lessor.core.plan.desired"}


def test_its_ports_are_reported() -> None:
    whole = Found(taps=STATE.taps, bridges=STATE.bridges, own={"own"}, guarded=True)
    assert PortReports().of([PLAN], whole) == {
        "p": PortReport(revision=3, wired=True),
        "own": PortReport(revision=4, wired=True, served=True),
    }
    nothing = PortReports().of([PLAN], Found())
    assert [one.wired for one in nothing.values()] == [False, False]


@pytest.mark.parametrize(
    "failure",
    [
        Failure("namespaces", SPACE, "why"),
        Failure("addresses", ADDRESS.key, "why"),
        Failure("dhcp_devices", "own", "why"),
        Failure("dhcp_servers", "r", "why"),
    ],
)
def test_what_its_dhcp_server_needs_keeps_it_from_serving(failure: Failure) -> None:
    assert unserved(DESIRED, [failure]) == {"r": "why"}
    assert networks_done(VIEW, DESIRED, [failure]) == {}
    assert unserved(DESIRED, [Failure("flows", "br-int", "why")], "br-int") == {}


def test_its_problems_name_it_and_its_ports() -> None:
    concerned = Concerned(DESIRED)
    assert concerned.named(Problem(text="x"), SPACE).networks == ("r",)
    assert concerned.named(Problem(text="x"), TAP.name).ports == ("p",)


def test_its_pieces_are_looked_for() -> None:
    found = plan_pieces(PLAN, None, Seen(), SETTINGS)
    assert [piece.what for piece in found] == [
        *("bridge", "tap", "addresses", "rules"),
        *("namespace", "DHCP tap", "addresses"),
        "metadata",
    ]


def test_a_plan_says_which_dhcp_server_is_its_own() -> None:
    assert PLAN.server == "r"
    assert NetworkPlan(network=PLAN.network).server == ""
