"""What the server says of itself: versions, extensions, OpenAPI, health, metrics, the process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

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
    for resource in document["resources"]:
        assert shared.api.get(resource["links"][0]["href"]).status_code == 200, resource


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


def test_an_empty_folder_answers_within_2_s_and_sigterm_ends_well(tmp_path: Path) -> None:
    start = time.monotonic()
    argv = [sys.executable, "-c", PROCESS, str(tmp_path)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "listening" in line)
        api = re.search(r"api=(\S+)", line)
        assert api
        answer = httpx.get(f"http://{api[1]}/v2.0/networks", trust_env=False)
        took = time.monotonic() - start
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert answer.json() == {"networks": []}
    assert took < 2
    assert json.loads(answer.text) == {"networks": []}
