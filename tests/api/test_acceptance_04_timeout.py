"""D3.4, the part that takes hours: what time alone does to the address of a deleted VM.

With force_dhcp_release off an address is freed by the end of its lease, or else after
fixed_ip_disassociate_timeout (600 s), but never while its client may believe in its lease.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest

from lessor import wire
from lessor.model import LeaseBatch, LeaseEvent, Report, ViewAnswer, ViewRequest
from tests.store.store_cloud import Clock

ADDRESS = "10.4.0.2"
DAY = 86400


class Cloud:
    """A server on a clock of ours, the agent of its network host, and one VM."""

    def __init__(self, server: Any, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._token = server.token("net1")
        server.make("host", name="cmp1")
        self._network, _ = server.network("10.4.0.0/24", **{"lessor:host": "net1"})
        on = {"binding:host_id": "cmp1"}
        self._port = server.make("port", network_id=self._network["id"], **on)
        assert self._port["fixed_ips"][0]["ip_address"] == ADDRESS
        self._seq = 0

    def _ask(self, what: str, body: object) -> bytes:
        content = wire.encode(body)
        answer = self._server.agents.post(f"/agent/v1/{what}", content=content, headers=self._token)
        assert answer.status_code == 200, answer.text
        return bytes(answer.content)

    def lease(self, action: str, lasts_s: int = 0) -> None:
        """Let the DHCP server say something of the VM's lease."""
        self._seq += 1
        event = LeaseEvent(
            seq=self._seq,
            action=action,
            network_id=self._network["id"],
            address=IPv4Address(ADDRESS),
            mac_address=self._port["mac_address"],
            expires_at=self._clock.now + lasts_s,
            at=self._clock.now,
        )
        self._ask("leases", LeaseBatch(epoch="spool", events=(event,)))

    def delete_vm(self) -> None:
        gone = self._server.api.delete(f"/v2.0/ports/{self._port['id']}")
        assert gone.status_code == 204

    def no_longer_served(self) -> None:
        """Let the agent say that the DHCP server has no such reservation any more."""
        view = wire.decode(self._ask("view", ViewRequest()), ViewAnswer)
        applied = {self._network["id"]: view.revision}
        self._ask("report", Report(run_id="r1", in_sync=True, applied=applied))

    def after(self, seconds: float) -> str:
        """Let time pass and return the state of the address."""
        self._clock.now += seconds
        self._server.store.housekeep()
        wanted = {"network_id": self._network["id"], "address": ADDRESS}
        rows = self._server.api.get("/v2.0/addresses", params=wanted).json()["addresses"]
        return str(rows[0]["state"]) if rows else "free"


@pytest.fixture
def cloud(serve: Callable[..., Any]) -> Cloud:
    clock = Clock()
    return Cloud(serve(clock=clock, fixed_ip_disassociate_timeout=600), clock)


def test_d3_04_the_end_of_the_lease_frees_an_address_before_the_timeout(cloud: Cloud) -> None:
    cloud.lease("add", lasts_s=120)
    cloud.delete_vm()
    cloud.no_longer_served()
    assert cloud.after(120) == "releasing"
    cloud.lease("del")
    assert cloud.after(0) == "free"


def test_d3_04_the_timeout_frees_an_address_whose_lease_ended_unheard_of(cloud: Cloud) -> None:
    cloud.lease("add", lasts_s=120)
    cloud.delete_vm()
    cloud.no_longer_served()
    assert cloud.after(599) == "releasing"
    assert cloud.after(2) == "free"


def test_d3_04_the_timeout_frees_no_address_whose_lease_may_be_alive(cloud: Cloud) -> None:
    cloud.lease("add", lasts_s=3600)
    cloud.delete_vm()
    cloud.no_longer_served()
    assert cloud.after(3599) == "releasing"
    assert cloud.after(2) == "free"


def test_d3_04_a_silent_dhcp_host_may_have_renewed_the_lease(cloud: Cloud) -> None:
    """It has not said that it no longer serves the address: a renewal lasts another lease time."""
    cloud.lease("add", lasts_s=120)
    cloud.delete_vm()
    assert cloud.after(DAY - 1) == "releasing"
    assert cloud.after(2) == "free"


def test_d3_04_a_lease_time_shorter_than_dnsmasq_gives_is_not_counted_on(
    serve: Callable[..., Any],
) -> None:
    """dnsmasq makes 120 s of it."""
    clock = Clock()
    short = {"dhcp_lease_time": 10, "fixed_ip_disassociate_timeout": 20}
    cloud = Cloud(serve(clock=clock, **short), clock)
    cloud.lease("add", lasts_s=120)
    clock.now += 60
    cloud.delete_vm()  # at the same moment, the VM renews for 120 s, and nobody hears of it
    assert cloud.after(119) == "releasing"
    assert cloud.after(2) == "free"
