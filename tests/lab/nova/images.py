"""A fake of Glance with one image, which Nova needs to boot: `python images.py ADDRESS PORT`.

No hypervisor reads the image. Nothing is tested by it.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

IMAGE_ID = "5f1c8a9e-7d0b-4b9a-8c55-0a3f6f2f9d11"
IMAGE = {
    "id": IMAGE_ID, "name": "nothing", "status": "active", "visibility": "public", "protected": False,
    "owner": "admin", "container_format": "bare", "disk_format": "raw", "min_disk": 0, "min_ram": 0,
    "size": 1048576, "virtual_size": 1048576, "checksum": "d41d8cd98f00b204e9800998ecf8427e",
    "os_hash_algo": "sha512", "os_hash_value": "cf83e135", "tags": [], "os_hidden": False,
    "created_at": "2026-11-29T00:00:00Z", "updated_at": "2026-11-29T00:00:00Z",
    "schema": "/v2/schemas/image", "self": f"/v2/images/{IMAGE_ID}", "file": f"/v2/images/{IMAGE_ID}/file",
}  # fmt: skip
SCHEMA = {"name": "image", "properties": {name: {} for name in IMAGE}}
ANSWERS = {f"/v2/images/{IMAGE_ID}": IMAGE, "/v2/schemas/image": SCHEMA}


class Handler(BaseHTTPRequestHandler):
    """Answers what is known."""

    def do_GET(self) -> None:
        answer = ANSWERS.get(self.path)
        body = json.dumps(answer or {}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
