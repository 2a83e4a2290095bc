"""No flat network takes over an address of a host or the server (the chain of the review)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from lessor.errors import Conflict
from lessor.lab.cabling import SERVER
from lessor.lab.lab import Lab
from lessor.lab.state import HostSpec
from tests.lab.stage import LIMIT_S

pytestmark = pytest.mark.lab

HOST, LATE = "net1", "10.77.0.200"
OFTEN = {"resync_interval": "2"}  # an address of eth0 that is gone is noticed by a full look


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    hosts = [HostSpec(name=HOST, network_host=True, flags=OFTEN)]
    lab = Lab.up(tmp_path_factory.mktemp("blocks") / "lab", hosts)
    yield lab
    lab.down()


def way(lab: Lab, address: object) -> str:
    return lab.exec(HOST, "ip", "route", "get", str(address))


def problems(lab: Lab) -> str:
    shown = json.loads(lab.exec("server", "lessor", "host", "show", HOST, "--json"))
    return " ".join(one["text"] if isinstance(one, dict) else one for one in shown["problems"])


def soon(lab: Lab, condition: Callable[[], object], what: str) -> None:
    lab.wait_for(condition, 3 * LIMIT_S, what)


def test_a_network_with_the_servers_address_is_refused_and_the_way_to_it_stays(lab: Lab) -> None:
    before = way(lab, SERVER)
    with pytest.raises(Conflict, match="host"):
        lab.network("evil", "192.0.2.0/28", subnet={"gateway_ip": "192.0.2.14"})
    assert way(lab, SERVER) == before
    assert "192.0.2.14" not in lab.exec(HOST, "ip", "-4", "addr")


def test_a_host_that_got_such_an_address_does_not_serve_the_subnet(lab: Lab) -> None:
    lab.kill(HOST, "agent", "TERM")
    network = lab.network("late", "10.77.0.0/24")
    lab.exec(HOST, "ip", "addr", "add", f"{LATE}/32", "dev", "eth0")
    lab.start(HOST)
    soon(lab, lambda: f"takes over {LATE}/32 of eth0" in problems(lab), "the host says why")
    assert "10.77.0.1" not in lab.exec(HOST, "ip", "-4", "addr")
    assert "br100" not in way(lab, "10.77.0.9")
    assert "10.77.0" not in lab.exec(HOST, "nft", "list", "ruleset")
    lab.exec(HOST, "ip", "addr", "del", f"{LATE}/32", "dev", "eth0")
    soon(lab, lambda: "br100" in way(lab, "10.77.0.9"), "it is served when the address is gone")
    assert LATE not in problems(lab)
    for subnet in lab.api.list("subnets", {"network_id": network.id}):
        lab.api.delete("subnets", subnet["id"])
    lab.api.delete("networks", network.id)
    soon(lab, lambda: "10.77.0" not in lab.exec(HOST, "ip", "-4", "addr"), "nothing is left")
    assert "br100" not in way(lab, "10.77.0.9")
