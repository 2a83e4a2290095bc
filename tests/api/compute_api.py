"""A fake of the compute API (and optionally of Keystone): accepts and checks external events.

What a request has that the real one would refuse, it refuses the same way, and notes in `wrong`.

    python compute_api.py PORT none|http_basic|keystone

does so until it is ended, and prints what it took, a line of JSON each, and what was wrong.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER, PASSWORD, TOKEN = "lessor", "s3cret", "token-of-lessor"
EVENTS = {
    "network-vif-plugged",
    "network-vif-unplugged",
    "network-changed",
    "network-vif-deleted",
}


@dataclass
class ComputeApi:
    """What it was told, and how it is to answer."""

    auth: str = "none"  # or http_basic, keystone
    url: str = ""
    events: list[dict[str, str]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    failures: int = 0  # how many requests more are answered with 503
    servers: set[str] | None = None  # known VMs; None: all
    tokens: int = 0  # how many Keystone gave

    def names(self, port_id: str) -> list[str]:
        """Return what was said of a port, in order."""
        return [event["name"] for event in self.events if event["tag"] == port_id]

    def take(self, headers: Any, body: Any) -> tuple[int, Any]:  # noqa: PLR0911 - one check each
        """Answer a request as Nova does."""
        if self.failures:
            self.failures -= 1
            return 503, {}
        if headers.get("OpenStack-API-Version") != "compute 2.1":
            return self._refuse(406, f"microversion {headers.get('OpenStack-API-Version')!r}")
        if not self._known(headers):
            return self._refuse(401, "who are you?")
        if list(body) != ["events"] or not body["events"]:
            return self._refuse(400, f"body {body!r}")
        for event in body["events"]:
            if problem := _problem(event):
                return self._refuse(400, problem)
        self.batches.append(len(body["events"]))
        self.events += body["events"]
        codes = [self._code(event) for event in body["events"]]
        if set(codes) == {404}:
            return 404, {"itemNotFound": {"code": 404, "message": "No instances found"}}
        found = [e | {"code": c} for e, c in zip(body["events"], codes, strict=True)]
        return (200 if set(codes) == {200} else 207), {"events": found}

    def _code(self, event: dict[str, str]) -> int:
        known = self.servers is None or event["server_uuid"] in self.servers
        return 200 if known else 404

    def _known(self, headers: Any) -> bool:
        if self.auth == "http_basic":
            said = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            return bool(headers.get("Authorization") == f"Basic {said}")
        if self.auth == "keystone":
            return bool(headers.get("X-Auth-Token") == TOKEN)
        return headers.get("Authorization") is None

    def _refuse(self, status: int, words: str) -> tuple[int, Any]:
        self.wrong.append(words)
        return status, {}

    def token(self, body: Any) -> tuple[int, Any]:
        """Give a token as Keystone does, with a catalogue that has this server."""
        user = body["auth"]["identity"]["password"]["user"]
        if (user["name"], user["password"]) != (USER, PASSWORD):
            return self._refuse(401, f"user {user!r}")
        self.tokens += 1
        endpoint = {
            "id": uuid.uuid4().hex,
            "interface": "internal",
            "region": "RegionOne",
            "region_id": "RegionOne",
            "url": f"{self.url}/v2.1",
        }
        compute = {"id": "c", "type": "compute", "name": "nova", "endpoints": [endpoint]}
        return 201, {
            "token": {
                "methods": ["password"],
                "user": {"id": "u", "name": USER, "domain": {"id": "default", "name": "Default"}},
                "project": {
                    "id": "p",
                    "name": body["auth"]["scope"]["project"]["name"],
                    "domain": {"id": "default", "name": "Default"},
                },
                "roles": [{"id": "r", "name": "service"}],
                "catalog": [compute],
                "issued_at": "2026-11-22T00:00:00.000000Z",
                "expires_at": "2126-11-22T00:00:00.000000Z",
            }
        }


def _problem(event: dict[str, str]) -> str:
    """Say what Nova's schema of an event would not let pass."""
    if set(event) - {"server_uuid", "name", "status", "tag"}:
        return f"unknown fields in {event!r}"
    if event.get("name") not in EVENTS:
        return f"event {event.get('name')!r}"
    if event.get("status") not in {"completed", "failed", "in-progress"}:
        return f"status {event.get('status')!r}"
    try:
        uuid.UUID(event["server_uuid"])
    except (KeyError, ValueError):
        return f"server {event.get('server_uuid')!r}"
    return ""


@contextmanager
def compute_api(auth: str = "none", port: int = 0) -> Iterator[ComputeApi]:
    """Run one, by default on any free port; nothing that it was asked may have been wrong."""
    api = ComputeApi(auth)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            version = {
                "id": "v3.14",
                "status": "stable",
                "links": [{"rel": "self", "href": f"{api.url}/v3"}],
            }
            self._answer(200, {"version": version})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/v3/auth/tokens":
                status, answer = api.token(body)
            elif self.path == "/v2.1/os-server-external-events":
                status, answer = api.take(self.headers, body)
            else:
                api.wrong.append(self.path)
                status, answer = 404, {}
            self._answer(status, answer)

        def _answer(self, status: int, answer: Any) -> None:
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            if self.path == "/v3/auth/tokens":
                self.send_header("X-Subject-Token", TOKEN)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield api
        assert api.wrong == []
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> None:
    with compute_api(sys.argv[2], int(sys.argv[1])) as api:
        while True:
            for said in (api.events, api.wrong):
                while said:
                    print(json.dumps(said.pop(0)), flush=True)  # noqa: T201 - a program's output
            time.sleep(0.05)


if __name__ == "__main__":
    main()
