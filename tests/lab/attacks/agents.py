"""What whoever has one host's token says to the server of what is another host's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from tests.lab.attacks.attack import Attack, Tally
from tests.lab.attacks.world import World, address

TOKEN = "a host's token is worth that host alone"
BOUNDED = "nothing that an agent says makes an answer for others fail"
LISTS = ("leases", "hosts", "agents", "ports", "networks", "availability_zones", "addresses")
THIEF, OWNER = "h3", "h1"


def attacks() -> Iterator[Attack[World]]:
    yield Attack("calls without a token, or with a false one", "", TOKEN, _no_token)
    yield Attack("views, metadata and leases of another host", "", TOKEN, _reads)
    yield Attack("lease events of another host's network", "6", TOKEN, _leases)
    yield Attack("the password of another host's instance", "6", TOKEN, _password)
    yield Attack("a port of another host reported", "6", TOKEN, _port)
    yield Attack("times, texts and numbers out of bounds", "6", BOUNDED, _bounds)


def _control(world: World) -> tuple[int, int]:
    """The same token does what its host may do."""
    answer = world.agent(THIEF, "ping")
    return 1, int(answer.is_success and answer.json()["host"] == THIEF)


def _no_token(world: World) -> Tally:
    calls: list[tuple[str, Any]] = [
        ("ping", None),
        ("view", {}),
        ("report", {"run_id": "r"}),
        ("leases", {"epoch": "e", "events": []}),
        ("holdings", {}),
        ("password", {"instance_id": world.id("alices instance"), "password": "x"}),
        (f"metadata?address=10.81.0.2&network={world.id('alices network')}", None),
    ]
    answers = [world.agent(token, *call) for call in calls for token in ("", "wrong", "x" * 5000)]
    passed = sum(answer.status_code != 401 for answer in answers)
    return Tally(len(answers), passed, *_control(world))


def _reads(world: World) -> Tally:
    network, port = world.id("alices network"), world.things["alices port"]
    secrets = {port["id"], port["mac_address"], world.id("alices instance"), "VE9QLVNFQ1JFVA"}
    answers = [
        world.agent(THIEF, f"metadata?address={address(port)}&network={network}"),
        world.agent(THIEF, f"leases?network={network}"),
        world.agent(THIEF, f"leases?network={network}'%20OR%201=1--"),
        world.agent(THIEF, "view", {"wait_s": 0}),
    ]
    told = [one.text[:80] for one in answers if any(secret in one.text for secret in secrets)]
    own = world.agent(OWNER, f"metadata?address={address(port)}&network={network}")
    return Tally(len(answers), len(told), 1, int("VE9QLVNFQ1JFVA" in own.text), detail=str(told))


def _event(world: World, number: int, **more: Any) -> dict[str, Any]:
    return {
        "seq": number, "action": "add", "network_id": world.id("alices network"),
        "mac_address": f"fa:16:3e:66:00:{number % 256:02x}", "address": f"10.81.0.{number % 256}",
        "expires_at": time.time() + 3600, "at": time.time(), "hostname": "", "client_id": "",
    } | more  # fmt: skip


def _leases(world: World) -> Tally:
    """All addresses of a network that the host has no part in; its owner must get one still."""
    events = [_event(world, number, expires_at=None) for number in range(10, 255)]
    world.agent(THIEF, "leases", {"epoch": "x", "events": events, "snapshot": False})
    listed = world.ask("root", "GET", f"/v2.0/leases?network_id={world.id('alices network')}")
    rows = [row for row in listed.json()["leases"] if row["mac_address"].startswith("fa:16:3e:66")]
    port = {"port": {"network_id": world.id("alices network")}}
    made = world.ask("alice", "POST", "/v2.0/ports", port).is_success
    own = [_event(world, 9, mac_address=world.things["alices port"]["mac_address"],
                  address=address(world.things["alices port"]))]  # fmt: skip
    world.agent(OWNER, "leases", {"epoch": "own", "events": own, "snapshot": False})
    listed = world.ask("alice", "GET", f"/v2.0/leases?network_id={world.id('alices network')}")
    kept = [row for row in listed.json()["leases"] if row["address"] == own[0]["address"]]
    passed = len(rows) + (not made)
    return Tally(len(events), passed, 1, len(kept), detail="" if made else "no address is left")


def _password(world: World) -> Tally:
    """A guest's password is taken once: a false one would keep the guest's own out."""
    instance = world.id("alices instance")
    world.agent(THIEF, "password", {"instance_id": instance, "password": "false"})
    shown = world.ask("alice", "GET", f"/v2.0/instances/{instance}").json()["instance"]
    passed = shown["password"] == "false"
    port = world.id("alices port")
    world.ask("root", "PUT", f"/v2.0/ports/{port}", {"port": {"binding:host_id": OWNER}})
    world.agent(OWNER, "password", {"instance_id": instance, "password": "own"})
    shown = world.ask("alice", "GET", f"/v2.0/instances/{instance}").json()["instance"]
    return Tally(1, int(passed), 1, int(shown["password"] == "own" or passed))


def _port(world: World) -> Tally:
    port = world.id("alices port")
    before = world.ask("alice", "GET", f"/v2.0/ports/{port}").json()["port"]["status"]
    told = {port: {"wired": True, "served": True, "revision": 10**6}}
    world.agent(THIEF, "report", {"run_id": "thief", "ports": told})
    after = world.ask("alice", "GET", f"/v2.0/ports/{port}").json()["port"]["status"]
    return Tally(1, int(before != after), *_control(world), detail="" if before == after else after)


def _bounds(world: World) -> Tally:
    """After each, all lists must be answered, to everybody, and stay small."""
    now = time.time()
    events: list[dict[str, Any]] = [
        {"at": 1e300}, {"at": -1e12}, {"expires_at": 1e300}, {"expires_at": -1e300},
        {"mac_address": "x" * 5000}, {"mac_address": "\n<script>"}, {"hostname": "h" * 100_000},
        {"hostname": "a\0b"}, {"client_id": "c" * 100_000}, {"network_id": "nope"},
        {"network_id": "n" * 100_000}, {"address": "255.255.255.255"}, {"seq": 2**63 - 1},
        {"seq": 2**70}, {"action": "x" * 10_000},
    ]  # fmt: skip
    reports: list[dict[str, Any]] = [
        {"started_at": 1e300}, {"started_at": -1e300}, {"availability_zone": "z" * 100_000},
        {"version": "v" * 100_000}, {"local_ip": "0.0.0.0"}, {"local_ip": "255.255.255.255"},
        {"local_ip": "127.0.0.1"}, {"local_ip": "224.0.0.1"}, {"counts": {'a\n b{x="y"}': 2**62}},
        {"counts": {"z": 2**70}}, {"physical_networks": ["p" * 1000] * 1000},
        {"problems": [{"text": "p" * 100_000, "since": 1e300, "seen": 1e300}] * 20},
        {"report_interval": 1e300}, {"unserved": {"n": "w" * 100_000}}, {"datapath_type": "d" * 10_000},
    ]  # fmt: skip
    bodies: list[tuple[str, Any]] = [
        ("leases", {"epoch": "b", "snapshot": False, "events": [_event(world, 200, **one)]})
        for one in events
    ]
    bodies += [("report", {"run_id": "bounds", "started_at": now} | one) for one in reports]
    bodies += [("report", b"[" * 100_000), ("leases", b"{"), ("view", b"null")]
    broken: list[str] = []
    for what, body in bodies:
        answer = world.agent(THIEF, what, body)
        told = f"{what} {str(body)[-60:]!r}"
        if answer.status_code >= 500:
            broken.append(f"{told}: {answer.status_code}")
        broken += [f"{told}: {one}" for one in _wrong(world)]
    return Tally(len(bodies), len(broken), *_control(world), detail="; ".join(broken)[:500])


def _wrong(world: World) -> Iterator[str]:
    for who in ("root", "alice"):
        for path in LISTS:
            answer = world.ask(who, "GET", f"/v2.0/{path}")
            if answer.status_code >= 500:
                yield f"GET {path} by {who} is {answer.status_code}"
            elif len(answer.content) > 300_000:
                yield f"GET {path} by {who} has {len(answer.content)} bytes"
    for host in world.ask("root", "GET", "/v2.0/hosts").json().get("hosts", ()):
        if host.get("local_ip") in {"0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1"}:
            yield f"local_ip {host['local_ip']} is kept"
