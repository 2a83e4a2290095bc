"""A fake of the identity API v3: tokens for passwords; validates tokens for services only."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SERVICE_USER, SERVICE_SECRET = "lessor", "secret-of-the-service"
PROJECT = {"id": "p1", "name": "one", "domain": {"id": "default", "name": "Default"}}


@dataclass
class Identity:
    """Users by name, tokens by what they are, and how often each was asked about."""

    users: dict[str, str] = field(default_factory=lambda: {SERVICE_USER: SERVICE_SECRET})
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""
    network_url: str = "http://127.0.0.1:9"

    def token(self, user: str, *roles: str, project: str | None = "p1", for_s: float = 3600) -> str:
        """Make a token as Keystone would after a log-in."""
        now = datetime.now(UTC)
        times = [(now + timedelta(seconds=s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ") for s in (0, for_s)]
        body: dict[str, Any] = {
            "methods": ["password"],
            "user": {"id": f"id-of-{user}", "name": user, "domain": PROJECT["domain"]},
            "roles": [{"id": role, "name": role} for role in roles],
            "issued_at": times[0],
            "expires_at": times[1],
            "audit_ids": ["a"],
            "catalog": self._catalog(),
        }
        if project is not None:
            body["project"] = PROJECT | {"id": project, "name": project}
        made = uuid.uuid4().hex
        self.tokens[made] = body
        return made

    def _catalog(self) -> list[dict[str, Any]]:
        return [
            {"type": kind, "id": kind, "name": kind, "endpoints": [
                {"id": kind, "interface": side, "region": "r", "region_id": "r", "url": url}
                for side in ("public", "internal")
            ]}
            for kind, url in (("identity", self.url), ("network", self.network_url))
        ]  # fmt: skip

    def section(self, **changes: str) -> dict[str, str]:
        """Return [keystone_authtoken] of a service of this Keystone."""
        return {
            "auth_type": "password", "auth_url": self.url, "www_authenticate_uri": self.url,
            "username": SERVICE_USER, "password": SERVICE_SECRET, "project_name": "services",
            "user_domain_name": "Default", "project_domain_name": "Default",
            "service_token_roles_required": "true", **changes,
        }  # fmt: skip


def _handler(identity: Identity) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - a class, closed over
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _answer(self, status: int, body: Any, **headers: str) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            if "auth/tokens" in self.path:
                self._tell()
                return
            version = {
                "id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
                "links": [{"rel": "self", "href": f"{identity.url}/v3/"}], "media-types": [],
            }  # fmt: skip
            if self.path.startswith("/v3"):
                self._answer(200, {"version": version})
            else:
                self._answer(300, {"versions": {"values": [version]}})

        def _tell(self) -> None:
            asker = identity.tokens.get(self.headers.get("X-Auth-Token", ""))
            if asker is None or asker["user"]["name"] != SERVICE_USER:
                self._answer(401, {"error": {"code": 401, "message": "who are you", "title": "x"}})
                return
            subject = self.headers.get("X-Subject-Token", "")
            identity.asked.append(subject)
            found = identity.tokens.get(subject)
            if found is None:
                self._answer(
                    404, {"error": {"code": 404, "message": "no such token", "title": "x"}}
                )
            else:
                self._answer(200, {"token": found}, X_Subject_Token=subject)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            auth = json.loads(self.rfile.read(length))["auth"]
            user = auth["identity"]["password"]["user"]
            if identity.users.get(user["name"]) != user["password"]:
                self._answer(401, {"error": {"code": 401, "message": "wrong", "title": "x"}})
                return
            role = "service" if user["name"] == SERVICE_USER else "member"
            made = identity.token(user["name"], role)
            self._answer(201, {"token": identity.tokens[made]}, X_Subject_Token=made)

    return Handler


@contextmanager
def running(identity: Identity | None = None, port: int = 0) -> Iterator[Identity]:
    """Serve the identity API on loopback."""
    identity = identity or Identity()
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(identity))
    server.daemon_threads = True
    identity.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield identity
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
