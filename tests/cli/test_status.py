from __future__ import annotations

import re
from typing import Any

import pytest

from lessor.cli import hosts
from lessor.cli.ages import age, clock, seconds_of
from lessor.cli.concerning import concerns
from lessor.cli.status import Fleet, network_rows, pending, print_fitted, report


def host(name: str, **values: Any) -> dict[str, Any]:
    return {
        "name": name,
        "alive": True,
        "in_sync": True,
        "heartbeat_at": "2026-11-22T03:35:00Z",
        "version": "0.1.0",
        "physical_networks": ["physnet1"],
        "state": "up",
        "silent_s": 2,
        "problems": [],
        "local_ip": "192.0.2.1",
        "counts": {"ports": 2, "dhcp_servers": 1},
        **values,
    }


def problem(text: str, **values: Any) -> dict[str, Any]:
    return {
        "text": text,
        "since": "2026-11-22T03:34:10Z",
        "seen": "2026-11-22T03:34:50Z",
        "networks": [],
        "ports": [],
        "waits": False,
        **values,
    }


def network(name: str, **values: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "provider:network_type": "flat",
        "lessor:multi_host": False,
        "lessor:host": "net1",
        "lessor:pending": "",
        "lessor:dhcp_moves": [],
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
            "  NAME  STATE  LAST SEEN  VERSION  ZONE  PHYSICAL NETWORKS  LOCAL IP  "
            " PORTS  DHCP SERVERS  SERVER"
        ),
        (
            "  net1  up     2 s ago    0.1.0    west  physnet1           192.0.2.1  2  "
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
            host("new", heartbeat_at=None, alive=False, state="new", silent_s=None),
            host("gone", alive=False, state="down", silent_s=80),
            host("hung", state="silent", silent_s=47, problems=[problem("eth1 is not there")]),
            host("h1", problems=[problem("no eth1"), problem("waits for tapvm1")]),
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
        "  host gone: its agent is silent for 80 s",
        "  host hung: its agent is silent for 47 s",
        "  host hung: eth1 is not there (since 03:34:10Z, reported before it went silent)",
        "  host h1: no eth1 (since 03:34:10Z, seen 12 s ago)",
        "  network blue: no host is its gateway and DHCP server yet",
        "  port vm1 on h1: not yet; waits for tapvm1",
        "  port vm2 on h1: its agent has given no reason",
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


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "up"),
        ({"in_sync": False, "problems": [problem("no eth1")]}, "up"),
        ({"state": "silent", "silent_s": 47}, "silent for 47 s"),
        ({"state": "down", "silent_s": 4000}, "down"),
        ({"state": "new", "silent_s": None}, "never seen"),
        ({"admin_state_up": False}, "up, taken down"),
    ],
)
def test_a_hosts_state_is_how_its_agent_reports(values: dict[str, Any], words: str) -> None:
    assert hosts.state(host("net1", **values)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119.9, "119 s"), (120, "2 min"), (3900, "1 h 5 min"), (180000, "2 d 2 h")],
)
def test_an_age_has_two_units_at_most(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_a_time_of_another_day_has_its_date() -> None:
    now = seconds_of("2026-11-22T00:00:05Z")
    assert clock("2026-11-22T00:00:01Z", now) == "00:00:01Z"
    assert clock("2026-11-21T23:59:59Z", now) == "2026-11-21 23:59:59Z"


def test_a_network_without_dhcp_is_said_once_and_moves_with_time_and_reason() -> None:
    why = "its DHCP server and gateway net1 is silent for 47 s"
    move = {"source": "net1", "target": "net2", "moved_at": "2026-11-22T03:35:00Z"}
    moves = [move | {"reason": "silent"}, move | {"reason": "no OVS"}]
    shown = fleet(
        hosts=[host("net2")],
        networks=[
            network("office", **{"lessor:pending": why}),
            network("red", **{"lessor:dhcp_moves": moves}),
        ],
        ports=[
            port("o1", "office", **{"lessor:pending": f"its network: {why}"}),
            port("o2", "office", status="DOWN", **{"lessor:pending": f"its network: {why}"}),
            port(
                "o3", "office", status="DOWN", **{"lessor:pending": f"no tap; its network: {why}"}
            ),
        ],
    )
    assert list(pending(shown)) == [
        f"network office: {why}",
        "network red: its DHCP server moved from net1 to net2 at 03:35:00Z: net1 was silent",
        "network red: its DHCP server moved from net1 to net2 at 03:35:00Z: net1 reported: no OVS",
        "port o2 on h1: see its network",
        "port o3 on h1: no tap",
    ]


def test_a_problem_concerns_its_port_its_network_or_the_whole_host() -> None:
    whole, red = problem("disk full"), problem("x", networks=["red"])
    r1 = problem("y", networks=["red"], ports=["r1"])
    assert [concerns(one, "red") for one in (whole, red, r1)] == [True, True, True]
    assert [concerns(one, "red", "r2") for one in (whole, red, r1)] == [True, True, False]
    assert [concerns(one, "blue", "b1") for one in (whole, red, r1)] == [True, False, False]


def test_a_problem_that_a_port_waits_for_is_said_with_the_port_alone() -> None:
    words = "the hypervisor has not made tap1 of port 0974-137c yet"
    problems = [
        problem(words.replace("0974-137c", "o2"), ports=["0974-137c"]),
        problem("port o2: tap1 is busy", ports=["0974-137c"]),
    ]
    values = {"id": "0974-137c", "status": "DOWN"}
    for pending_, said in ((words, problems[1]), ("tap1 is busy", problems[0])):
        waits = port("o2", "blue", **values, **{"lessor:pending": pending_})
        shown = fleet(hosts=[host("h1", problems=problems)], ports=[waits])
        lines = list(pending(shown))
        assert [line.partition(" (since")[0] for line in lines] == [
            f"host h1: {said['text']}",
            f"port o2 on h1: {pending_}",
        ]
