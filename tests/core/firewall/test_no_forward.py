"""Which destinations nothing of VMs is forwarded to."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from lessor.core.around import Connected
from lessor.core.firewall.no_forward import lans, less, no_forward
from lessor.settings import FlatMapping
from tests.core.plan.test_desired import SETTINGS


def blocks(*texts: str) -> tuple[IPv4Network, ...]:
    return tuple(map(IPv4Network, texts))


def connected(**devices: str) -> tuple[Connected, ...]:
    return tuple(Connected(name, IPv4Network(cidr)) for name, cidr in devices.items())


PUBLIC, MANAGEMENT = "203.0.113.0/24", "192.0.2.0/24"
HOST = connected(eth0=PUBLIC, eth2=MANAGEMENT, eth1="10.9.0.0/24", br100="10.8.0.0/24")


def test_usually_it_is_what_other_interfaces_than_the_public_one_are_in() -> None:
    assert no_forward(SETTINGS, HOST) == blocks(MANAGEMENT)


def test_another_public_interface_makes_another_choice() -> None:
    settings = replace(SETTINGS, public_interface="eth2")
    assert no_forward(settings, HOST) == blocks(PUBLIC)


def test_the_networks_of_a_host_count_only_where_they_are_asked_for() -> None:
    listed = replace(SETTINGS, no_forward_cidr=blocks("10.99.0.0/16"))
    assert no_forward(listed, HOST) == blocks("10.99.0.0/16", MANAGEMENT)
    assert no_forward(replace(listed, no_forward_connected=False), HOST) == blocks("10.99.0.0/16")
    assert no_forward(replace(SETTINGS, no_forward_connected=False), HOST) == ()


def test_a_network_that_the_public_interface_is_in_too_is_public() -> None:
    assert no_forward(SETTINGS, connected(eth0=PUBLIC, eth2=PUBLIC)) == ()
    within = connected(eth0="203.0.113.0/25", eth2=PUBLIC)
    assert no_forward(SETTINGS, within) == blocks("203.0.113.128/25")


@pytest.mark.parametrize(
    ("dmz", "left"),
    [
        pytest.param(MANAGEMENT, (), id="the-same"),
        pytest.param("192.0.2.128/25", ("192.0.2.0/25",), id="narrower"),
        pytest.param("192.0.0.0/16", (MANAGEMENT,), id="wider"),
        pytest.param("0.0.0.0/0", (MANAGEMENT,), id="all"),
    ],
)
def test_a_dmz_is_reached_where_it_is_the_narrower_block(dmz: str, left: tuple[str, ...]) -> None:
    assert no_forward(replace(SETTINGS, dmz_cidr=blocks(dmz)), HOST) == blocks(*left)


def test_blocks_with_holes_leave_out_those_that_lie_within() -> None:
    assert less(blocks("10.0.0.0/24"), blocks("10.0.0.0/26", "10.0.0.128/25", "9.0.0.0/8")) == (
        IPv4Network("10.0.0.64/26"),
    )


def test_lans_are_those_of_vm_bridges_before_and_after_an_address_moves_there() -> None:
    found = lans(SETTINGS, (*HOST, *connected(br100="10.9.0.0/24")))
    assert found == connected(br100="10.8.0.0/24") + connected(br100="10.9.0.0/24")
    alone = FlatMapping(physical_network="p", bridge="br9", interface=None)
    assert lans(replace(SETTINGS, flat_mappings=(alone,)), HOST) == ()
