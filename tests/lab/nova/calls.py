"""Forwards requests to Lessor's API, prints the results: `calls.py ADDRESS PORT TARGET-PORT`.

A line of JSON for each: method, path (with its query), status, who asked, and what a refusal says.
"""

from __future__ import annotations

import http.client
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TIMEOUT_S = 60
REFUSALS = 400  # this status and those above
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Handler(BaseHTTPRequestHandler):
    """Asks in the caller's stead."""

    protocol_version = "HTTP/1.1"
    target_port = 0

    def forward(self) -> None:
        """Pass one request on, and its answer back."""
        asked = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        server = http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=TIMEOUT_S)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
        server.request(self.command, self.path, asked or None, headers)
        answer = server.getresponse()
        body = answer.read()
        server.close()
        self.note(answer.status, body)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if answer.status != http.client.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def note(self, status: int, body: bytes) -> None:
        """Print what came of it."""
        call = {"method": self.command, "path": self.path, "status": status}
        call["who"] = self.headers.get("User-Agent", "")
        if status >= REFUSALS:
            call["said"] = body.decode(errors="replace")
        sys.stderr.write(json.dumps(call) + "\n")

    do_GET = do_POST = do_PUT = do_DELETE = forward  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """`note` says it."""


if __name__ == "__main__":
    Handler.target_port = int(sys.argv[3])
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
