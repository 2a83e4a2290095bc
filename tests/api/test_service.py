"""What the server says of itself: versions, extensions, OpenAPI, health, metrics, the process."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from lessor.api.server import _allow_connections

Server = Any  # tests/api/conftest.py
PROCESS = """
import sys
from pathlib import Path
from lessor import logs
from lessor.api.server import serve
from lessor.settings import ServerSettings
logs.setup(False)
serve(ServerSettings(state_dir=Path(sys.argv[1]), listen=("127.0.0.1", 0),
                     agent_listen=("127.0.0.1", 0)))
"""


def test_the_version_documents_lead_to_the_resources(shared: Server) -> None:
    (version,) = shared.api.get("/").json()["versions"]
    assert (version["id"], version["status"]) == ("v2.0", "CURRENT")
    (link,) = version["links"]
    document = shared.api.get(link["href"]).json()
    for noun in document["resources"]:
        assert shared.api.get(noun["links"][0]["href"]).status_code == 200, noun


def test_each_extension_has_its_page(shared: Server) -> None:
    listed = shared.api.get("/v2.0/extensions").json()["extensions"]
    for extension in listed:
        assert set(extension) == {"alias", "name", "description", "updated", "links"}
        shown = shared.api.get(f"/v2.0/extensions/{extension['alias']}").json()["extension"]
        assert shown == extension
    assert shared.api.get("/v2.0/extensions/router").status_code == 404


def test_the_openapi_page_knows_each_field_and_filter(shared: Server) -> None:
    page = shared.api.get("/schema/openapi.json").json()
    schemas = page["components"]["schemas"]
    network = shared.make("network", **{"lessor:bridge": "br100"})
    assert set(schemas["Network"]["properties"]) == set(network)
    assert "cidr" in schemas["SubnetCreate"]["properties"]
    assert "cidr" not in schemas["SubnetUpdate"]["properties"]
    names = {p["name"] for p in page["paths"]["/v2.0/ports"]["get"]["parameters"]}
    assert {"fixed_ips", "binding:host_id", "limit", "sort_key"} <= names
    assert shared.api.get("/schema").status_code == 200


def test_the_openapi_page_knows_what_answers_a_bulk(shared: Server) -> None:
    page = shared.api.get("/schema/openapi.json").json()
    answers = page["paths"]["/v2.0/instances"]["post"]["responses"]["201"]["content"]
    schema = answers["application/json"]["schema"]
    names = [one["$ref"].rpartition("/")[2] for one in schema["oneOf"]]
    assert [list(page["components"]["schemas"][name]["required"]) for name in names] == [
        ["instance"],
        ["instances"],
    ]


def test_the_server_takes_all_the_connections_that_it_may_have() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        _allow_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_metrics_count_requests_by_route(server: Server) -> None:
    for path in ("/v2.0/networks/x", "/v2.0/networks/y", "/nowhere/1", "/nowhere/2"):
        server.api.get(path)
    text = server.api.get("/metrics").text
    shown = re.findall(r'requests_total\{method="GET",route="(.+?)",status="404"\} (\S+)', text)
    assert dict(shown) == {"/v2.0/networks/{key}": "2.0", "unknown": "2.0"}
    assert "lessor_hosts_alive 0.0" in text


def test_health_fails_when_the_store_does(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.api.get("/healthz").json() == {"status": "ok"}

    def fail(*_: object) -> None:
        raise OSError("disk")

    monkeypatch.setattr(type(server.store), "networks", fail)
    assert server.api.get("/healthz").status_code == 500


class Process:
    """A server process of its own."""

    def __init__(self, folder: Path) -> None:
        argv = [sys.executable, "-c", PROCESS, str(folder)]
        self.popen = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        assert self.popen.stderr is not None
        line = next(line for line in self.popen.stderr if "listening" in line)
        found = dict(re.findall(r"(api|agents)=(\S+)", line))
        self.api, self.agents = f"http://{found['api']}", f"http://{found['agents']}"

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit status."""
        self.popen.send_signal(number)
        return self.popen.wait(5)

    def close(self) -> None:
        self.popen.kill()
        self.popen.wait()
        assert self.popen.stderr is not None
        self.popen.stderr.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Process]]:
    with ExitStack() as started:
        yield lambda: started.enter_context(closing(Process(tmp_path)))


def test_an_empty_folder_answers_within_2_s_and_sigterm_ends_well(
    start: Callable[[], Process],
) -> None:
    begin = time.monotonic()
    process = start()
    answer = httpx.get(f"{process.api}/v2.0/networks", trust_env=False)
    took = time.monotonic() - begin
    assert answer.json() == {"networks": []}
    assert process.end(signal.SIGTERM) == 0
    assert took < 2 * slowness()


def slowness() -> float:
    """Return how much slower than by itself anything runs here now: others use the machine too."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def test_a_server_killed_in_a_long_poll_loses_nothing_it_acknowledged(
    start: Callable[[], Process],
) -> None:
    process = start()
    with httpx.Client(trust_env=False, timeout=30) as client:
        made = client.post(f"{process.api}/v2.0/hosts", json={"host": {"name": "h1"}}).json()
        token = {"Authorization": f"Bearer {made['host']['token']}"}
        first = client.post(f"{process.agents}/agent/v1/view", content=b"{}", headers=token).json()
        waiting = {"epoch": first["epoch"], "wait_s": 30}
        killer = threading.Timer(0.3, process.popen.kill)
        killer.start()
        with pytest.raises(httpx.TransportError):
            client.post(f"{process.agents}/agent/v1/view", json=waiting, headers=token)
        killer.join()

        again = start()
        second = client.post(f"{again.agents}/agent/v1/view", content=b"{}", headers=token)
    assert second.status_code == 200
    assert second.json()["epoch"] == first["epoch"]
