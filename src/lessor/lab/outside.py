"""The host behind the NAT: a web server that answers every GET with the client's address.

So a VM sees its address after SNAT. Run as a program: `python -m lessor.lab.outside`.
"""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

PORT = 80


class Mirror(BaseHTTPRequestHandler):
    """Answers with one line, the client's address."""

    def do_GET(self) -> None:
        """Answer with the client's address."""
        body = f"{self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Outside(ThreadingTCPServer):
    """Replaces http.server's own class, which looks up its name in DNS; there is no DNS here."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Outside(("", PORT), Mirror).serve_forever()
