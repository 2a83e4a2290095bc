"""A host's token is valid for that host only, and no report of an agent breaks other answers."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from lessor.api import agent_bodies
from lessor.store.engine import database
from lessor.store.tables import hosts, leases
from tests.api.conftest import served
from tests.api.people import Cloud, password_files

Server = Any  # tests/api/conftest.py
Json = dict[str, Any]
LISTS = ("leases", "hosts", "agents", "availability_zones", "networks", "ports", "addresses")


class Two:
    """Two hosts: h1 is network a's, whose port and instance are alice's; h2 has no network."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.tokens = {name: self._header(name) for name in ("h1", "h2")}
        flat = {"provider:network_type": "flat", "lessor:host": "h1", "project_id": "p1"}
        self.network = str(cloud.make("network", **flat)["id"])
        cloud.make("subnet", network_id=self.network, cidr="10.0.0.0/24")
        self.instance = str(cloud.make("instance", project_id="p1")["id"])
        self.port = cloud.make(
            "port", network_id=self.network, device_id=self.instance, project_id="p1"
        )
        self.seq = 0

    def _header(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.cloud.make('host', name=name)['token']}"}

    def say(self, host: str, what: str, body: Json) -> httpx.Response:
        agents: httpx.Client = self.cloud.server.agents
        return agents.post(f"/agent/v1/{what}", content=json.dumps(body), headers=self.tokens[host])

    def report(self, host: str, **said: Any) -> httpx.Response:
        return self.say(host, "report", {"run_id": host} | said)

    def event(self, **said: Any) -> Json:
        self.seq += 1
        address = self.port["fixed_ips"][0]["ip_address"]
        mac = self.port["mac_address"]
        known = {"action": "add", "network_id": self.network, "address": address}
        return known | {"seq": self.seq, "mac_address": mac, "at": time.time()} | said

    def lease(self, host: str, *events: Json) -> httpx.Response:
        return self.say(host, "leases", {"epoch": "e", "events": events})

    def lists(self) -> dict[str, Json]:
        """Return every list that an administrator and a tenant see, all of which must be there."""
        found = {}
        for who in ("alice", "root"):
            for noun in LISTS:
                answer = self.cloud.ask(who, "GET", f"/v2.0/{noun}")
                assert answer.status_code == 200, (who, answer.text)
                found[noun] = answer.json()
        return found


@pytest.fixture
def two(serve: Callable[..., Server], tmp_path: Path) -> Two:
    return Two(Cloud(serve(**password_files(tmp_path))))


@pytest.fixture(scope="module")
def same(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """For tables of examples."""
    folder = tmp_path_factory.mktemp("trust")
    with served(migrated, folder / "state", **password_files(folder)) as server:
        yield Two(Cloud(server))


def test_a_hosts_token_takes_no_address_of_anothers_network(two: Two) -> None:
    events = [
        two.event(mac_address=f"fa:16:3e:66:00:{n:02x}", address=f"10.0.0.{n}", expires_at=None)
        for n in range(2, 255)
    ]
    assert two.lease("h2", *events).json() == {"last_seq": 253}
    holdings = {"epoch": two.cloud.server.store.epoch, "ports": [], "leases": events}
    assert two.say("h2", "holdings", holdings).status_code == 200
    two.cloud.make("port", who="alice", network_id=two.network)
    assert two.lists()["leases"] == {"leases": []}


def test_a_hosts_token_sets_no_password_of_anothers_vm(two: Two) -> None:
    said = {"instance_id": two.instance, "password": "attacker's"}
    answer = two.say("h2", "password", said)
    assert answer.status_code == 404, answer.text
    shown = two.cloud.ask("alice", "GET", f"/v2.0/instances/{two.instance}").json()["instance"]
    assert shown["password"] == ""
    assert two.say("h1", "password", said | {"password": "sealed"}).status_code == 204


def test_a_port_with_the_id_of_an_instance_without_a_project_reads_nothing_of_it(two: Two) -> None:
    secret = base64.b64encode(b"of the administrator").decode()
    instance = two.cloud.make("instance", project_id="", user_data=secret)["id"]
    for project, told in (("p2", False), ("", True)):
        port = two.cloud.make(
            "port", network_id=two.network, device_id=instance, project_id=project
        )
        address = port["fixed_ips"][0]["ip_address"]
        answer = two.cloud.server.agents.get(
            "/agent/v1/metadata",
            params={"address": address, "network": two.network},
            headers=two.tokens["h1"],
        )
        assert (secret in answer.text) is told


ODD_EVENTS: dict[str, Json] = {
    "at-never": {"at": 1e300},
    "at-before-the-calendar": {"at": -1e18},
    "ends-never": {"expires_at": 1e300},
    "ended-before-the-calendar": {"expires_at": -1e18},
    "no-such-network": {"network_id": "nope"},
    "network-is-long": {"network_id": "n" * 100_000},
    "mac-is-none": {"mac_address": "x" * 5000 + "\n<script>"},
    "hostname-is-long": {"hostname": "h" * 1_000_000},
    "client-id-is-long": {"client_id": "f" * 1_000_000},
    "nul": {"hostname": "a\0b", "client_id": "\0", "network_id": "\0", "mac_address": "\0"},
    "action-is-none": {"action": "\x1b[2J" * 1000},
}


@pytest.mark.parametrize("odd", ODD_EVENTS.values(), ids=ODD_EVENTS)
def test_an_odd_event_is_taken_with_those_behind_it_and_shown(same: Two, odd: Json) -> None:
    last = same.event(address="10.0.0.200", mac_address="fa:16:3e:00:00:99")
    answer = same.lease("h1", same.event(seq=last["seq"] - 1) | odd, last)
    assert answer.json() == {"last_seq": last["seq"]}, answer.text
    found = same.lists()["leases"]["leases"]
    assert "10.0.0.200" in {lease["address"] for lease in found}
    assert len(json.dumps(found)) < 20_000


ODD_REPORTS: dict[str, Json] = {
    "started-never": {"started_at": 1e300},
    "started-before-the-calendar": {"started_at": -1e300},
    "interval": {"report_interval": 1e300},
    "zone": {"availability_zone": "z" * 100_000},
    "version": {"version": "v" * 1_000_000},
    "server": {"server": "s" * 1_000_000, "datapath_type": "d" * 1_000_000},
    "runs": {"unconfirmed_run_ids": ["u" * 1000] * 1000},
    "physical-networks": {"physical_networks": ["p" * 1000] * 1000},
    "nul": {"version": "\0", "availability_zone": "a\0b", "physical_networks": ["\0"]},
    "counts": {"counts": {f"n{n}": n for n in range(1000)} | {"a b{}": 1}},
    "count-is-large": {"counts": {"ports": (1 << 64) - 1, "networks": -(1 << 63)}},
    "count-hides-a-field": {"counts": {"dhcp_driver\n": 5}},
    "problems": {"problems": [{"text": "p" * 100_000, "key": "k" * 100_000}] * 50},
    "more-problems": {"problems": [{"text": "p"}] * 100_000},
    "problem-times": {"problems": [{"text": "t", "since": 1e300, "seen": -1e300}]},
    "problem-ids": {"problems": [{"text": "t", "networks": ["n" * 9999] * 999, "ports": ["p"]}]},
    "stray": {"problems": [{"text": "t", "key": "stray " + "a" * 400}]},
    "unserved": {"unserved": {f"{n}" * 1000: "w" * 10_000 for n in range(100)}},
    "applied": {"applied": {"n" * 10_000: 1 << 63, "\0": -1}, "settled": 1 << 63},
    "ports": {"ports": {"p" * 10_000: {"revision": 1 << 63, "pending": "w" * 10_000}, "\0": {}}},
    "blocks": {"blocks": [{"cidr": "10.99.0.0/24", "what": "route", "detail": "d" * 9999}] * 600},
}


@pytest.mark.parametrize("odd", ODD_REPORTS.values(), ids=ODD_REPORTS)
def test_an_odd_report_is_taken_and_shown(same: Two, odd: Json) -> None:
    answer = same.report("h2", **odd)
    assert answer.status_code == 200, answer.text
    same.lists()
    assert len(same.cloud.ask("root", "GET", "/v2.0/hosts/h2").text) < 200_000
    assert len(same.cloud.ask("alice", "GET", "/v2.0/availability_zones").text) < 1000


@pytest.mark.parametrize(
    "end",
    [
        *("0.0.0.0", "127.0.0.1", "255.255.255.255", "239.1.1.1"),
        *("::", "::1", "ff02::1", "fe80::1", "::ffff:c000:20b"),
    ],
)
def test_no_tunnel_ends_where_no_packet_can_be_sent(same: Two, end: str) -> None:
    answer = same.report("h2", local_ip=end)
    assert answer.status_code == 400
    assert f"local_ip {end} is no address" in answer.json()["NeutronError"]["message"]


@pytest.mark.parametrize(
    ("what", "most"),
    [
        ("view", agent_bodies.VIEW_BYTES),
        ("report", agent_bodies.REPORT_BYTES),
        ("leases", agent_bodies.LEASE_BYTES),
        ("holdings", agent_bodies.HOLDINGS_BYTES),
        ("password", agent_bodies.PASSWORD_BYTES),
        ("tours/x", agent_bodies.TOUR_BYTES),
    ],
)
def test_each_kind_of_body_has_its_size(same: Two, what: str, most: int) -> None:
    agents: httpx.Client = same.cloud.server.agents
    headers = same.tokens["h2"] | {"Content-Length": str(most + 1)}
    answer = agents.post(f"/agent/v1/{what}", content=b" " * (most + 1), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "event",
    [{"seq": 1 << 70}, {"seq": -1}, {"address": 5}, {"address": "10.0.0.256"}, {"at": "now"}],
)
def test_an_event_without_form_is_refused(same: Two, event: Json) -> None:
    assert same.lease("h1", same.event() | event).status_code == 400


def test_an_event_of_ipv6_where_there_is_only_ipv4_is_passed_over(two: Two) -> None:
    answer = two.lease("h1", two.event(address="::1"), two.event())
    assert answer.status_code == 200
    assert [row["address"] for row in two.lists()["leases"]["leases"]] == ["10.0.0.2"]


def test_more_events_than_an_agent_sends_are_refused(same: Two) -> None:
    answer = same.lease("h1", *[same.event()] * (agent_bodies.EVENTS + 1))
    assert answer.status_code == 400
    assert "5000 are taken at most" in answer.text


def test_what_was_stored_before_there_were_bounds_is_shown(two: Two) -> None:
    free = two.event(address="10.0.0.77", mac_address="fa:16:3e:00:00:77")
    two.lease("h1", two.event(), free)
    two.report("h1")
    odd = {"started_at": 1e300, "renewed_at": -1e300, "expires_at": 1e300}
    problem = json.dumps([{"text": "t", "since": 1e300, "seen": -1e300}])
    with database.writing(two.cloud.server.store._engine) as conn:
        conn.execute(update(leases).values(**odd))
        conn.execute(update(hosts).values(started_at=1e300, problems=problem))
    found = two.lists()
    assert {one["expires_at"] for one in found["leases"]["leases"]} == {"9999-12-31T23:59:59Z"}
    known = two.cloud.server.agents.get(
        "/agent/v1/leases", params={"network": two.network}, headers=two.tokens["h1"]
    )
    assert {one["expires_at"] for one in known.json()} == {253402300799.0}
    wanted = {"network_id": two.network, "fixed_ips": [{"ip_address": "10.0.0.77"}]}
    refused = two.cloud.ask("alice", "POST", "/v2.0/ports", {"port": wanted})
    assert refused.status_code == 409, refused.text
    assert "9999-12-31T23:59:59Z" in refused.text
