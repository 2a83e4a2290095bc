"""Subnets that would take over what hosts have and reach; asked by an administrator even."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from lessor.errors import LessorError
from lessor.lab.cabling import SERVER
from tests.lab.attacks.attack import Attack, Tally
from tests.lab.attacks.scene import HOSTS, LIMIT_S, Scene

PROMISE = "no subnet takes over an address, a route or a VTEP of a host, or the way to its server"
SPECIAL = ("0.0.0.0/1", "128.0.0.0/1", "127.0.0.0/24", "169.254.169.0/24", "224.0.0.0/24")
OF_HOSTS = (  # the network of the API, that of the tunnels, and parts of both
    ("192.0.2.0/24", None), ("192.0.2.0/28", "192.0.2.14"), ("192.0.2.2/31", None),
    ("192.0.0.0/16", None), ("203.0.113.0/28", None), ("203.0.113.0/24", "203.0.113.77"),
)  # fmt: skip
CONTROL = "10.79.0.0/24"


def attacks(scene: Scene) -> Iterator[Attack[Scene]]:
    yield Attack("subnets of blocks that are nobody's", "1", PROMISE, _special)
    if scene.mode == "flat":
        yield Attack("subnets with addresses of hosts and the server", "1", PROMISE, _of_hosts)


def _special(scene: Scene) -> Tally:
    return _tried(scene, [(cidr, None) for cidr in SPECIAL])


def _of_hosts(scene: Scene) -> Tally:
    return _tried(scene, OF_HOSTS)


def _tried(scene: Scene, blocks: Sequence[tuple[str, str | None]]) -> Tally:
    api = scene.lab.api
    before = _ways(scene)
    made, taken = [], []
    for cidr, gateway in [*blocks, (CONTROL, None)]:
        body = {"network_id": scene.own.id, "cidr": cidr, "ip_version": 4}
        with suppress(LessorError):
            made.append(api.create("subnets", body | ({"gateway_ip": gateway} if gateway else {})))
            taken.append(cidr)
    good = CONTROL in taken
    if good and scene.mode == "flat" and not scene.multi_host:
        scene.lab.wait_for(
            lambda: "10.79.0." in scene.lab.exec("net1", "ip", "-4", "addr"),
            LIMIT_S,
            "the allowed subnet is served",
        )
    changed = sum(one != other for one, other in zip(before, _ways(scene), strict=True))
    for subnet in made:
        api.delete("subnets", subnet["id"])
    passed = [cidr for cidr in taken if cidr != CONTROL]
    return Tally(
        len(blocks), len(passed) + changed, 1, int(good), detail=", ".join(passed)
    )  # fmt: skip


def _ways(scene: Scene) -> list[str]:
    """Return how each host reaches the server."""
    return [scene.lab.exec(host, "ip", "route", "get", str(SERVER)) for host in HOSTS]
