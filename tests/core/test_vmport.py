"""What is asked of a VM's port on its host, whatever the kind of its network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lessor.core.vmport import hosts_of, tap_of
from lessor.model import DHCP_OWNER, Network, Port


@pytest.mark.parametrize(("mtu", "tap"), [(1500, 1500), (68, 68), (67, 68), (1, 68)])
def test_a_tap_has_its_network_s_mtu_as_far_as_taps_go(mtu: int, tap: int) -> None:
    port = Port(id="p" * 36, network_id="n", mac_address="fa:16:3e:00:00:01")
    assert tap_of(port, Network(id="n", mtu=mtu), "br100", "h1").mtu == tap


def test_a_port_is_wired_where_it_is_bound_and_where_its_vm_is_to_come() -> None:
    port = Port(id="p" * 36, network_id="n", mac_address="fa:16:3e:00:00:01")
    assert hosts_of(port) == ()
    assert hosts_of(replace(port, binding_host="h1")) == ("h1",)
    moving = replace(port, binding_host="h1", prepared_for={"h2": False, "h3": True})
    assert hosts_of(moving) == ("h1", "h2", "h3")
    server = replace(moving, device_owner=DHCP_OWNER)
    assert hosts_of(server) == ("h1",), "a DHCP server is on one host"


def test_each_host_of_a_port_that_moves_has_its_own_maker_of_the_tap() -> None:
    port = Port(
        id="p" * 36,
        network_id="n",
        mac_address="fa:16:3e:00:00:01",
        binding_host="h1",
        binding_profile={"tap": "managed"},
        prepared_for={"h2": False, "h3": True},
    )
    made = {name: tap_of(port, Network(id="n"), "br100", name) for name in ("h1", "h2", "h3")}
    assert {name: tap.managed for name, tap in made.items()} == {
        "h1": True,
        "h2": False,
        "h3": True,
    }
    assert all(tap.up for tap in made.values())
