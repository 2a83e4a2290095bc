"""Events about VMs' ports, sent by a running server to a fake compute API that checks them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from lessor.api.novanotifier import MOST_AGE_S, NovaNotifier
from lessor.settings import NovaSettings
from lessor.store.ports import compute_events
from lessor.store.store import Store
from tests.api.compute_api import PASSWORD, USER, ComputeApi, compute_api
from tests.store.store_cloud import Cloud, open_cloud

Server = Any  # tests/api/conftest.py
LIMIT_S = 20
PROCESS = """
import sys
from pathlib import Path
from lessor.api.server import serve
from lessor.settings import NovaSettings, ServerSettings
serve(ServerSettings(state_dir=Path(sys.argv[1]), listen=("127.0.0.1", 0),
                     agent_listen=("127.0.0.1", 0), nova=eval(sys.argv[2])))
"""


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
        wait(lambda: not compute_events.due(server.store), "nothing is left")


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
        wait(lambda: not compute_events.due(server.store), "nothing is left")
        assert [event["server_uuid"] for event in compute.events] == vms


@pytest.fixture
def cloud(migrated: Path, tmp_path: Path) -> Cloud:
    """Return a store with five deleted ports of VMs to tell of, and nobody who tells."""
    folder = tmp_path / "state"
    shutil.copytree(migrated, folder)
    cloud = open_cloud(folder, nova=NovaSettings(endpoint_override="http://127.0.0.1:1"))
    cloud.clock.now = time.time()
    network = cloud.network()
    for _ in range(5):
        vm = {"device_id": str(uuid.uuid4()), "device_owner": "compute:nova"}
        cloud.store.ports.delete(cloud.port(network, **vm).id)
    return cloud


def test_what_was_not_sent_is_sent_after_a_restart(cloud: Cloud) -> None:
    with compute_api() as compute:
        compute.failures = 1
        assert NovaNotifier(cloud.store, settings_for(compute), cloud.clock).look() >= 1
        cloud.store.close()
        again = Store.open(cloud.settings, cloud.clock)
        NovaNotifier(again, settings_for(compute), cloud.clock).look()
        assert compute.batches == [5]
        again.close()


@pytest.mark.parametrize("status", [406, 413])
def test_what_the_compute_api_will_never_take_stops_nothing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with compute_api() as compute:
        monkeypatch.setattr(compute, "take", lambda *_: (status, {}))
        with capture_logs() as said:
            NovaNotifier(cloud.store, settings_for(compute), cloud.clock).look()
    assert [(line["log_level"], line["code"]) for line in said] == [("warning", status)] * 5
    assert compute_events.due(cloud.store) == []
    cloud.store.close()


def test_the_log_says_what_was_told_and_no_secret(cloud: Cloud) -> None:
    with compute_api("http_basic") as compute:
        waiting = compute_events.due(cloud.store)
        compute.servers = {waiting[0].server_uuid}
        compute.failures = 1
        notifier = NovaNotifier(cloud.store, settings_for(compute), cloud.clock)
        with capture_logs() as said:
            notifier.look()
            notifier.look()
    assert [(line["event"], line.get("vm"), line.get("code")) for line in said[:3]] == [
        ("compute API not told", None, None),
        ("compute API told", waiting[0].server_uuid, 200),
        ("compute API took an event not", waiting[1].server_uuid, 404),
    ]
    assert said[1]["port"] == waiting[0].port_id
    assert PASSWORD not in str(said)
    cloud.store.close()


@pytest.mark.parametrize("auth", ["keystone", "http_basic"])
def test_of_a_vm_that_nova_does_not_find_it_is_said_once_which_role_may_be_missing(
    cloud: Cloud, auth: str
) -> None:
    cloud.host("h1", network_host=True)
    network = cloud.network("10.9.0.0/24", host="h1")
    for _ in range(2):
        vm = {"device_id": str(uuid.uuid4()), "device_owner": "compute:nova"}
        cloud.wire("h1", cloud.port(network, "h1", **vm), wired=True, served=True)
    with compute_api(auth) as compute:
        compute.servers = set()
        with capture_logs() as said:
            NovaNotifier(cloud.store, settings_for(compute), cloud.clock).look()
    assert [line["code"] for line in said if line.get("name") == "network-vif-plugged"] == [404] * 2
    told = [line["likely"] for line in said if "likely" in line]
    assert len(told) == (auth == "keystone")
    assert all(f"{USER} of [nova] lacks the role admin" in line for line in told)
    cloud.store.close()


def test_a_compute_api_that_hangs_does_not_hold_up_the_servers_end(cloud: Cloud) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v2.1"
        settings = NovaSettings(auth_type="none", endpoint_override=url, timeout=600)
        cloud.store.close()
        argv = [sys.executable, "-c", PROCESS, str(cloud.settings.state_dir), repr(settings)]
        with subprocess.Popen(argv) as process:
            try:
                silent.settimeout(LIMIT_S)
                with silent.accept()[0] as asked:
                    asked.recv(1)  # what waits is being sent
                    process.terminate()
                    assert process.wait(LIMIT_S) == 0
            finally:
                process.kill()
    again = Store.open(cloud.settings, cloud.clock)
    assert len(compute_events.due(again)) == 5
    again.close()


def test_what_nobody_waits_for_any_more_is_not_told(cloud: Cloud) -> None:
    with compute_api() as compute:
        cloud.clock.now += MOST_AGE_S + 1
        NovaNotifier(cloud.store, settings_for(compute), cloud.clock).look()
        assert compute.events == []
    assert compute_events.due(cloud.store) == []
    cloud.store.close()
