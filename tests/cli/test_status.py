from __future__ import annotations

import re
from typing import Any

import pytest

from lessor.cli.status import Fleet, network_rows, pending, print_fitted, report


def host(name: str, **values: Any) -> dict[str, Any]:
    return {
        "name": name,
        "alive": True,
        "in_sync": True,
        "heartbeat_at": "2026-11-22T03:35:00Z",
        "version": "0.1.0",
        "physical_networks": ["physnet1"],
        "problems": [],
        "local_ip": "192.0.2.1",
        "counts": {"ports": 2, "dhcp_servers": 1},
        **values,
    }


def network(name: str, **values: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "provider:network_type": "flat",
        "lessor:multi_host": False,
        "lessor:host": "net1",
        **values,
    }


def port(name: str, network: str, **values: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "network_id": network,
        "device_owner": "",
        "status": "ACTIVE",
        "binding:host_id": "h1",
        "lessor:pending": "",
        **values,
    }


def fleet(**values: Any) -> Fleet:
    empty: dict[str, Any] = {"hosts": [], "networks": [], "subnets": [], "ports": [], "leases": []}
    return Fleet(**(empty | values))


def test_a_fleet_that_is_as_it_should_be() -> None:
    shown = fleet(
        hosts=[host("net1", availability_zone="west", server="http://192.0.2.5:9697")],
        networks=[network("blue"), network("red", **{"lessor:multi_host": True})],
        subnets=[{"network_id": "blue", "cidr": "10.0.0.0/24"}],
        ports=[
            port("vm1", "blue"),
            port("vm2", "red"),
            port("dhcp", "red", device_owner="network:dhcp", **{"binding:host_id": "h9"}),
        ],
        leases=[{"network_id": "blue"}],
    )
    assert report(shown).splitlines() == [
        "hosts:",
        (
            "  NAME  STATE  LAST SEEN             VERSION  ZONE  PHYSICAL NETWORKS  LOCAL IP  "
            " PORTS  DHCP SERVERS  SERVER"
        ),
        (
            "  net1  up     2026-11-22T03:35:00Z  0.1.0    west  physnet1           192.0.2.1  2  "
            "    1             http://192.0.2.5:9697"
        ),
        "",
        "networks:",
        "  NAME  CIDR         GATEWAY AND DHCP  PORTS  ACTIVE  LEASES",
        "  blue  10.0.0.0/24  net1              1      1       1",
        "  red   -            h1                1      1       0",
        "",
        "pending:",
        "  nothing",
    ]


def test_on_a_terminal_the_same_is_said_fitted_to_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    print_fitted(fleet(hosts=[host("net1", physical_networks=["physnet1", "p" * 80])]))
    out = re.sub(r"\x1b\[1m|\x1b\[0m", "", capsys.readouterr().out)
    assert max(len(line) for line in out.splitlines()) <= 60
    assert out.endswith("pending:\n  nothing\n")


def test_what_is_pending_is_said_with_the_reason() -> None:
    shown = fleet(
        hosts=[
            host("new", heartbeat_at=None, alive=False),
            host("gone", alive=False),
            host("h1", problems=["flat_interface eth1 is not there", "waits for tapvm1"]),
        ],
        networks=[network("blue", **{"lessor:host": None})],
        ports=[
            port("vm1", "blue", status="DOWN", **{"lessor:pending": "not yet; waits for tapvm1"}),
            port("vm2", "blue", status="DOWN"),
            port("vm3", "blue", status="DOWN", **{"binding:host_id": ""}),
        ],
    )
    assert report(shown).partition("pending:\n")[2].splitlines() == [
        "  host new: its agent was never seen; start `lessor agent` there",
        "  host gone: its agent is silent since 2026-11-22T03:35:00Z",
        "  host h1: flat_interface eth1 is not there",
        "  network blue: no host is its gateway and DHCP server yet",
        "  port vm1 on h1: not yet; waits for tapvm1",
        "  port vm2 on h1: its agent has not said why",
    ]


def test_a_vxlan_network_is_served_by_its_dhcp_ports() -> None:
    overlay = {"provider:network_type": "vxlan", "lessor:host": None}
    dhcp = {"device_owner": "network:dhcp", "binding:host_id": "n1"}
    shown = fleet(
        networks=[network(name, **overlay) for name in ("blue", "red", "still")],
        subnets=[
            {"network_id": "blue", "cidr": "10.0.0.0/24", "enable_dhcp": True},
            {"network_id": "red", "cidr": "10.0.0.0/24", "enable_dhcp": True},
            {"network_id": "still", "cidr": "10.0.0.0/24", "enable_dhcp": False},
        ],
        ports=[port("p", "blue", **dhcp), port("q", "red", **dhcp | {"binding:host_id": ""})],
    )
    served = {row["name"]: row["served_by"] for row in network_rows(shown)}
    assert served == {"blue": ["n1"], "red": ["no host yet"], "still": []}
    assert list(pending(shown)) == [
        "network red: no host serves DHCP on it; none is alive with a local_ip"
    ]
