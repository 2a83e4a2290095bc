"""What a compute API hears of its VMs' ports, told by a running server to a stand-in that checks it."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lessor.api.novanotifier import MOST_AGE_S, NovaNotifier
from lessor.settings import NovaSettings
from lessor.store.novaevents import SENDER_S
from lessor.store.store import Store
from tests.api.compute_api import PASSWORD, USER, ComputeApi, compute_api
from tests.store.store_cloud import Cloud, open_cloud

Server = Any  # tests/api/conftest.py
LIMIT_S = 20


def wait(condition: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit, f"not within {LIMIT_S} s: {what}"
        time.sleep(0.02)


def settings_for(api: ComputeApi) -> NovaSettings:
    if api.auth == "keystone":
        return NovaSettings(
            auth_type="password",
            auth_url=f"{api.url}/v3",
            username=USER,
            password=PASSWORD,
            user_domain_name="Default",
            project_name="service",
            project_domain_name="Default",
            region_name="RegionOne",
            endpoint_type="internal",
        )
    return NovaSettings(
        auth_type=api.auth,
        endpoint_override=f"{api.url}/v2.1",
        username=USER if api.auth == "http_basic" else "",
        password=PASSWORD if api.auth == "http_basic" else "",
    )


def bound(server: Server, vm: str, host: str = "h1") -> dict[str, Any]:
    """Make a VM's port on a host."""
    number = len(server.api.get("/v2.0/networks").json()["networks"])
    fields = {"lessor:host": host, "lessor:bridge": "br100"}
    network, _ = server.network(f"10.0.{number}.0/24", **fields)
    port: dict[str, Any] = server.make(
        "port",
        network_id=network["id"],
        device_id=vm,
        device_owner="compute:nova",
        **{"binding:host_id": host},
    )
    return port


def ready(server: Server, headers: dict[str, str], port: dict[str, Any]) -> None:
    said = {"run_id": "r", "ports": {port["id"]: {"wired": True, "served": True}}}
    answer = server.agents.post("/agent/v1/report", json=said, headers=headers)
    assert answer.is_success, answer.text


@pytest.mark.parametrize("auth", ["none", "http_basic", "keystone"])
def test_a_vm_is_told_of_from_plugged_to_deleted(serve: Callable[..., Server], auth: str) -> None:
    with compute_api(auth) as compute:
        server = serve(nova=settings_for(compute))
        headers, vm = server.token("h1"), str(uuid.uuid4())
        port = bound(server, vm)
        ready(server, headers, port)
        wait(lambda: len(compute.events) == 1, "the VM is told of")
        assert compute.events == [
            {
                "server_uuid": vm,
                "name": "network-vif-plugged",
                "status": "completed",
                "tag": port["id"],
            }
        ]
        path = f"/v2.0/ports/{port['id']}"
        fixed = {"port": {"fixed_ips": [{"ip_address": "10.0.0.77"}]}}
        assert server.api.put(path, json=fixed).status_code == 200
        down = {"port": {"admin_state_up": False}}
        assert server.api.put(path, json=down).status_code == 200
        assert server.api.delete(path).status_code == 204
        wait(lambda: len(compute.events) == 4, "all is told")
        assert compute.names(port["id"]) == [
            "network-vif-plugged",
            "network-changed",
            "network-vif-unplugged",
            "network-vif-deleted",
        ]
        assert compute.tokens == (auth == "keystone")


def test_an_api_that_fails_is_told_again_and_holds_nobody_up(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lessor.api.novanotifier.LEAST_RETRY_S", 0.05)
    with compute_api() as compute:
        compute.failures = 2
        server = serve(nova=settings_for(compute))
        ports = [bound(server, str(uuid.uuid4()), server_host) for server_host in hosts(server, 3)]
        for port in ports:
            assert server.api.delete(f"/v2.0/ports/{port['id']}").status_code == 204
        wait(lambda: len(compute.events) >= 3, "all is told in the end")
        assert [event["tag"] for event in compute.events] == [port["id"] for port in ports]
        wait(lambda: not server.store.nova_events_wait(), "nothing is left")


def hosts(server: Server, count: int) -> list[str]:
    names = [f"h{number}" for number in range(count)]
    for name in names:
        server.token(name)
    return names


def test_vms_that_nova_does_not_know_stop_nothing(serve: Callable[..., Server]) -> None:
    with compute_api() as compute:
        known = str(uuid.uuid4())
        compute.servers = {known}
        server = serve(nova=settings_for(compute))
        names = hosts(server, 3)
        vms = [str(uuid.uuid4()), known, str(uuid.uuid4())]
        for vm, name in zip(vms, names, strict=True):
            port = bound(server, vm, name)
            assert server.api.delete(f"/v2.0/ports/{port['id']}").status_code == 204
        wait(lambda: not server.store.nova_events_wait(), "nothing is left")
        assert [event["server_uuid"] for event in compute.events] == vms


@pytest.fixture
def cloud(migrated: Path, tmp_path: Path) -> Cloud:
    """Return a store with five deleted ports of VMs to tell of, and nobody who tells."""
    folder = tmp_path / "state"
    shutil.copytree(migrated, folder)
    cloud = open_cloud(folder, nova=NovaSettings(endpoint_override="http://127.0.0.1:1"))
    network = cloud.network()
    for _ in range(5):
        vm = {"device_id": str(uuid.uuid4()), "device_owner": "compute:nova"}
        cloud.store.delete_port(cloud.port(network, **vm).id)
    return cloud


def test_several_servers_tell_each_event_once(cloud: Cloud) -> None:
    with compute_api() as compute:
        senders = [NovaNotifier(cloud.store, settings_for(compute), cloud.clock) for _ in range(3)]
        for sender in senders * 2:
            sender.look()
        assert compute.batches == [5]
    cloud.store.close()


def test_what_was_not_sent_is_sent_after_a_restart(cloud: Cloud) -> None:
    with compute_api() as compute:
        compute.failures = 1
        assert NovaNotifier(cloud.store, settings_for(compute), cloud.clock).look() >= 1
        cloud.store.close()
        cloud.clock.now += SENDER_S + 1
        again = Store.open(cloud.settings, cloud.clock)
        NovaNotifier(again, settings_for(compute), cloud.clock).look()
        assert compute.batches == [5]
        again.close()


def test_what_nobody_waits_for_any_more_is_not_told(cloud: Cloud) -> None:
    with compute_api() as compute:
        cloud.clock.now += MOST_AGE_S + 1
        NovaNotifier(cloud.store, settings_for(compute), cloud.clock).look()
        assert compute.events == []
    assert not cloud.store.nova_events_wait()
    cloud.store.close()
