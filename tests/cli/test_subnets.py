"""Where `lessor subnet list` says that DHCP servers answer."""

from __future__ import annotations

from typing import Any

import pytest

from lessor.cli.subnets import with_servers

Row = dict[str, Any]
SUBNET: Row = {
    "id": "s",
    "network_id": "n",
    "enable_dhcp": True,
    "gateway_ip": "10.0.0.1",
    "lessor:dhcp_server": None,
}


def network(kind: str, **more: object) -> Row:
    flags = {"lessor:multi_host": False, "lessor:share_address": False}
    return {"id": "n", "provider:network_type": kind, **flags, **more}


def servers(*addresses: str) -> list[Row]:
    return [{"fixed_ips": [{"subnet_id": "s", "ip_address": one}]} for one in addresses]


@pytest.mark.parametrize(
    ("of", "ports", "said"),
    [
        pytest.param(network("flat"), [], "10.0.0.1", id="single-host"),
        pytest.param(
            network("flat", **{"lessor:multi_host": True}),
            servers("10.0.0.10", "10.0.0.9"),
            "10.0.0.9, 10.0.0.10",
            id="multi-host",
        ),
        pytest.param(
            network("flat", **{"lessor:multi_host": True, "lessor:share_address": True}),
            [],
            "10.0.0.1",
            id="multi-host-shared",
        ),
        pytest.param(network("vxlan"), servers("10.0.0.2"), "10.0.0.2", id="vxlan"),
        pytest.param(network("vxlan"), [], None, id="no-server-yet"),
        pytest.param(
            network("flat", **{"lessor:multi_host": True}),
            servers(*(f"10.0.0.{n}" for n in range(2, 9))),
            "7 hosts' own",
            id="many",
        ),
    ],
)
def test_dhcp_servers_are_where_they_answer(of: Row, ports: list[Row], said: str | None) -> None:
    [shown] = with_servers([SUBNET], [of], ports)
    assert shown["served_at"] == said


def test_without_dhcp_nobody_answers() -> None:
    [shown] = with_servers([{**SUBNET, "enable_dhcp": False}], [network("flat")], [])
    assert shown["served_at"] is None
