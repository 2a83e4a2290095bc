"""A client in a process of its own: makes and deletes ports, and notes what it saw, and when.

    python -m tests.servers.churn NAME NETWORK OPERATIONS URL...

It prints one JSON object: `held`, for each port that it was given [address, asked at, given at,
delete asked at, gone at], the last two null while it has it (times of the monotonic clock, which
processes share); `refused`, [asked at, answered at] of each create that found no address; `errors`,
answers that nobody should get; `tries`, how often it had to try again. At an answer 503 or none at
all it looks whether what it asked for was done, and asks again, maybe another server.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import httpx

LIMIT_S = 60.0
Json = dict[str, Any]


class Client:
    def __init__(self, name: str, network: str, urls: list[str]) -> None:
        self.name, self.network, self.urls = name, network, urls
        self.http = httpx.Client(timeout=20, trust_env=False)
        self.turn = self.tries = self.made = 0
        self.held: list[list[Any]] = []
        self.have: dict[str, list[Any]] = {}
        self.refused: list[tuple[float, float]] = []
        self.errors: list[str] = []

    def ask(self, method: str, path: str, body: Json | None = None) -> httpx.Response | None:
        """Return an answer; None: there was none, or the server could not do it now."""
        url = self.urls[self.turn % len(self.urls)]
        try:
            answer = self.http.request(method, f"{url}/v2.0/{path}", json=body)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code != 503:
            return answer
        self.turn += 1
        self.tries += 1
        time.sleep(0.05)
        return None

    def surely(self, method: str, path: str) -> httpx.Response:
        end = time.monotonic() + LIMIT_S
        while True:
            answer = self.ask(method, path)
            if answer is not None:
                return answer
            assert time.monotonic() < end, f"{method} {path}: no answer for {LIMIT_S} s"

    def create(self) -> None:
        self.made += 1
        name = f"{self.name}-{self.made}"
        asked, end = time.monotonic(), time.monotonic() + LIMIT_S
        port: Json | None = None
        while port is None:
            assert time.monotonic() < end, "no create for too long"
            body = {"port": {"network_id": self.network, "name": name}}
            answer = self.ask("POST", "ports", body)
            if answer is None:  # it may have been done nevertheless
                found = self.surely("GET", f"ports?name={name}").json()["ports"]
                if len(found) > 1:
                    self.errors.append(f"{name} is there {len(found)} times")
                port = found[0] if found else None
            elif answer.status_code == 201:
                port = answer.json()["port"]
            elif answer.status_code == 409:
                self.refused.append((asked, time.monotonic()))
                return
            else:
                self.errors.append(f"create: {answer.status_code} {answer.text}")
                return
        address = port["fixed_ips"][0]["ip_address"] if len(port["fixed_ips"]) == 1 else "none"
        self.have[port["id"]] = [address, asked, time.monotonic(), None, None]
        self.held.append(self.have[port["id"]])

    def delete(self) -> None:
        port_id = random.choice(list(self.have))  # noqa: S311 - a test
        record = self.have.pop(port_id)
        record[3] = time.monotonic()
        answer = self.surely("DELETE", f"ports/{port_id}")
        record[4] = time.monotonic()
        if answer.status_code not in {204, 404}:
            self.errors.append(f"delete: {answer.status_code} {answer.text}")


def main() -> None:
    name, network, count, *urls = sys.argv[1:]
    client = Client(name, network, urls)
    client.turn = int(name)
    for n in range(int(count)):
        # first towards full, then around it
        if not client.have or random.random() < (0.9 if n < int(count) / 2 else 0.55):  # noqa: S311 - a test
            client.create()
        else:
            client.delete()
    found = {k: getattr(client, k) for k in ("held", "refused", "errors", "tries")}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
