"""D3.1: what a new network reserves, and that it needs a bridge."""

from __future__ import annotations

import pytest

from lessor.client import Client
from lessor.errors import Conflict, Invalid
from lessor.lab.cloud import answers
from lessor.lab.netns import NetnsTransport
from lessor.lab.services import LESSOR, SERVER
from tests.lab.stage import Stage

pytestmark = pytest.mark.lab

CIDR = "10.0.0.0/24"
BRIDGE = {"lessor:bridge": "br100"}


def test_d3_01_network_gateway_and_broadcast_are_reserved_and_dhcp_starts_at_2(
    stage: Stage,
) -> None:
    network = stage.network(CIDR, network=BRIDGE)

    assert stage.addresses(network) == {
        "10.0.0.0": "reserved",
        "10.0.0.1": "reserved",
        "10.0.0.255": "reserved",
    }
    shown = stage.lab.api.show("networks", network.id)
    assert (shown["lessor:bridge"], shown["provider:network_type"]) == ("br100", "flat")
    subnet = stage.lab.api.show("subnets", network.subnet_id)
    assert subnet["allocation_pools"] == [{"start": "10.0.0.2", "end": "10.0.0.254"}]
    assert stage.make_port(network)["fixed_ips"][0]["ip_address"] == "10.0.0.2"
    told = f"--dhcp-range=set:subnet-{network.subnet_id},10.0.0.2,static,255.255.255.0,86400s"
    stage.wait(lambda: told in stage.dnsmasq_arguments("net1"), f"dnsmasq is told {told}")


@pytest.mark.parametrize("reserved", ["10.0.0.0", "10.0.0.1", "10.0.0.255"])
def test_d3_01_a_reserved_address_is_given_to_nobody(stage: Stage, reserved: str) -> None:
    network = stage.network(CIDR)
    with pytest.raises((Invalid, Conflict), match=reserved):
        stage.make_port(network, reserved)


def test_d3_01_without_a_bridge_a_network_is_refused(stage: Stage) -> None:
    """A server that was not told flat_network_bridge, beside the lab's own."""
    node = stage.lab.node(SERVER)
    endpoint = "http://127.0.0.1:9796"
    program = (LESSOR, "server", "--state-dir", "/run/bare", "--config-file", "/dev/null")
    listen = ("--listen", "127.0.0.1:9796", "--agent-listen", "127.0.0.1:9797")
    bare = node.spawn("bare", *program, *listen)
    try:
        with Client(endpoint, transport=NetnsTransport(node.netns)) as api:
            stage.wait(lambda: answers(api), "the server answers")
            for wanted in ({}, {"provider:physical_network": "physnet1"}):
                with pytest.raises(Invalid, match="flat_network_bridge"):
                    api.create("networks", {"name": "x"} | wanted)
            assert api.list("networks") == []
    finally:
        node.kill(bare)
