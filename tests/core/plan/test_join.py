"""What networks of a host have in common."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from lessor.core.plan.join import joined_bridge, joined_listener, joined_server, united
from lessor.core.state import Bridge, DhcpServer, HostState, MetadataListener, Tap
from tests.core.plan.test_flat import GATEWAY, HERE, SUBNET, THERE, plan, port

FIRST = plan("net", HERE, THERE).state
SERVER = FIRST.dhcp_servers["br100"]


def test_states_without_a_name_in_common_are_united() -> None:
    taps = {name: Tap(name, name, "br100", 1500, managed=False) for name in ("a", "b")}
    states = [HostState(taps={name: tap}) for name, tap in taps.items()]
    assert united([FIRST, *states]) == replace(FIRST, taps=FIRST.taps | taps)


def test_the_dhcp_server_of_one_network_alone_stays_the_same_object() -> None:
    assert united([FIRST, HostState()]).dhcp_servers["br100"] is SERVER


def test_a_bridge_has_one_dhcp_server_for_all_its_networks() -> None:
    name = (IPv4Address("10.0.0.9"), "web")
    second = replace(
        plan("net", port(9, "net"), subnet=SUBNET).state.dhcp_servers["br100"],
        names=(name,),
        upstream_dns=("1.1.1.1",),
    )
    joined = joined_server([SERVER, second])
    assert joined.ranges == SERVER.ranges + second.ranges
    assert sorted(joined.reservations) == ["10.0.0.5", "10.0.0.6", "10.0.0.9"]
    assert (joined.names, joined.upstream_dns) == ((name,), ("1.1.1.1",))
    assert [one.server for one in joined.ranges] == [GATEWAY, GATEWAY]


def test_names_and_name_servers_that_two_networks_have_are_there_once() -> None:
    names = ((IPv4Address("10.0.0.9"), "b"), (IPv4Address("10.0.0.8"), "a"))
    both: list[DhcpServer] = [
        replace(SERVER, names=names, upstream_dns=("9.9.9.9", "1.1.1.1")),
        replace(SERVER, names=names[:1], upstream_dns=("1.1.1.1", "8.8.8.8")),
    ]
    joined = joined_server(both)
    assert joined.names == names[::-1]
    assert joined.upstream_dns == ("9.9.9.9", "1.1.1.1", "8.8.8.8")


def test_where_one_network_has_its_gateway_checksums_are_made_for_all() -> None:
    bridges = [Bridge("br100", "eth1", tx_checksum=made) for made in (True, False)]
    assert joined_bridge(bridges) == Bridge("br100", "eth1", tx_checksum=False)


def test_a_listener_answers_clients_of_all_networks_of_its_bridge() -> None:
    listeners = [MetadataListener("br100", 8775, (name,)) for name in ("red", "blue")]
    assert joined_listener(listeners) == MetadataListener("br100", 8775, ("blue", "red"))
