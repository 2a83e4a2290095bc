"""A metadata API that checks signed requests as Nova does, and remembers what it was asked.

Source: semantics.md A15.4.
"""

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

ONCE = ("x-instance-id", "x-tenant-id", "x-instance-id-signature")


@dataclass
class Asked:
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass
class NovaReceiver:
    """Knows `projects` (by instance id); `status`, if set, is its answer to all that is right."""

    secret: str
    projects: dict[str, str]
    status: int = 200
    port: int = 0  # 0: any that is free
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator["NovaReceiver"]:
        server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def judge(self, asked: Asked) -> int:
        counts = Counter(name for name, _ in asked.headers)
        if any(counts[name] != 1 for name in ONCE):
            return 400
        instance, tenant, signature = (asked.values(name)[0] for name in ONCE)
        right = hmac.new(self.secret.encode(), instance.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, signature):
            return 403
        if self.projects.get(instance) != tenant:
            return 404
        return self.status


def _handler(nova: NovaReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            headers = [(name.lower(), value) for name, value in self.headers.items()]
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked = Asked(self.command, self.path, headers, body)
            nova.asked.append(asked)
            said = json.dumps({"path": self.path}).encode()
            self.send_response(nova.judge(asked))
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said)

        do_GET = do_HEAD = do_POST = _answer  # noqa: N815 - names of http.server

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    return Handler
