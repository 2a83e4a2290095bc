"""Whose problems are shown with a port and a network, and to whom."""

from __future__ import annotations

from typing import Any, cast

from lessor.cli.concerning import of_network, of_port
from lessor.client import Client

ADMIN = {"provider:network_type": "flat", "lessor:multi_host": False, "lessor:host": "net1"}
PORT = {"id": "o1", "network_id": "office", "binding:host_id": "cmp1"}


def host(name: str, text: str) -> dict[str, Any]:
    times = {"since": "2026-11-22T03:34:10Z", "seen": "2026-11-22T03:34:50Z"}
    said = {"text": text, "networks": [], "ports": [], "waits": False, **times}
    at = {"heartbeat_at": "2026-11-22T03:34:50Z", "silent_s": 5}
    return {"name": name, "state": "up", "problems": [said], **at}


class Api:
    def __init__(self, network: dict[str, Any]) -> None:
        self.network = {"id": "office", **network}

    def show(self, _plural: str, _key: str) -> dict[str, Any]:
        return self.network

    def list(self, plural: str) -> list[dict[str, Any]]:
        assert self.network.keys() > {"id"}, f"{plural} are not this user's to see"
        return [host("net1", "no dnsmasq"), host("cmp1", "no OVS"), host("cmp2", "no disk")]


def test_those_of_the_taps_host_and_of_the_dhcp_host_are_shown() -> None:
    api = cast(Client, Api(ADMIN))
    times = "(since 03:34:10Z, seen 5 s ago)"
    assert of_port(api, PORT) == [f"host net1: no dnsmasq {times}", f"host cmp1: no OVS {times}"]
    assert of_network(api, {"id": "office", **ADMIN}) == [f"host net1: no dnsmasq {times}"]


def test_who_may_not_see_hosts_sees_the_port_without_them() -> None:
    api = cast(Client, Api({}))
    assert of_port(api, PORT) == []
    assert of_network(api, {"id": "office"}) == []
