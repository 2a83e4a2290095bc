"""Attacks on the API's listener: without a login, by a browser, slowly, by the thousand."""

from __future__ import annotations

import base64
import json
import re
import socket
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.api.people import password
from tests.lab.attacks.attack import Attack, Tally
from tests.lab.attacks.world import Call, World

LOGIN = "nothing but versions and health is answered without a login"
BROWSER = "a page of another site makes no browser write or read here"
SHAPE = "a body or query that makes no sense is refused, and fails nothing"
COUNTS = "a request makes at most 1,000 rows, and the quota is asked first"
SLOW = "slow requests end"
GUESSES = "guesses of passwords wait for one another, not others for them"
SHOWN = "text of others that is shown moves no cursor"
EVIL = "http://evil.example"
HALF_REQUESTS, HALF_LIMIT_S = 50, 25
GUESSERS = 60
SILENT_S = 1.0


def attacks() -> Iterator[Attack[World]]:
    yield Attack("paths without a login", "", LOGIN, _paths)
    yield Attack("headers and credentials that are none", "", LOGIN, _credentials)
    yield Attack("bodies that are not called JSON", "16", BROWSER, _not_json)
    yield Attack("an Origin of another site", "16", BROWSER, _origin)
    yield Attack("a Host that is not ours, where nobody logs in", "16", BROWSER, _host)
    yield Attack("scripts and addresses of others in the API's page", "15", BROWSER, _page)
    yield Attack("bodies of odd shape", "", SHAPE, _bodies)
    yield Attack("queries of odd shape", "", SHAPE, _queries)
    yield Attack("two requests in one", "", SHAPE, _smuggled, slow=True)
    yield Attack("20,000 networks and 14,000 ports at once", "17", COUNTS, _bulk, slow=True)
    yield Attack("half requests", "17", SLOW, _half, slow=True)
    yield Attack("guesses of unknown names", "17", GUESSES, _guesses, slow=True)
    yield Attack("names told apart by time", "18", GUESSES, _timed, slow=True)
    yield Attack("an escape sequence in a network's name", "18", SHOWN, _escape, slow=True)


def _get(world: World, who: str = "bob") -> int:
    return int(world.ask(who, "GET", "/v2.0/networks").is_success)


def _paths(world: World) -> Tally:
    paths = (
        "/v2.0", "/v2.0/networks", "//v2.0/networks", "/v3/../v2.0/networks",
        "/%2e%2e/v2.0/networks", "/v3/%2e%2e/v2.0/networks", "/healthz/../v2.0/networks",
        "/schema", "/schema/openapi.json", "/metrics", "/v3/projects", "/v3/auth/projects",
        "/v2.0/hosts", "/v2.0/networks.json", "/V2.0/networks",
    )  # fmt: skip
    end = "Host: x\r\nConnection: close\r\n\r\n"
    answers = [_raw(world, f"GET {path} HTTP/1.1\r\n{end}".encode()) for path in paths]
    passed = [path for path, one in zip(paths, answers, strict=True) if b" 200 " in one[:13]]
    return Tally(len(paths), len(passed), 1, _get(world), detail=", ".join(passed))


def _raw(world: World, content: bytes) -> bytes:
    """Return all that the server answers until it closes, or is silent for a while."""
    answer = b""
    with _connected(world, 10) as client:
        client.sendall(content)
        client.settimeout(SILENT_S)
        with suppress(OSError):
            while more := client.recv(65536):
                answer += more
    return answer


def _connected(world: World, timeout_s: float) -> socket.socket:
    place = urlsplit(world.server.url)
    return socket.create_connection((place.hostname, place.port), timeout_s)


def _basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


def _credentials(world: World) -> Tally:
    right = f"bob:{password('bob')}".encode()
    headers: list[list[tuple[str, str]]] = [
        [("X-User-Id", "root"), ("X-Roles", "admin"), ("X-Identity-Status", "Confirmed")],
        [("X-Auth-Token", "x")],
        *(
            [("Authorization", _basic(text))]
            for text in (
                b"bob:x", b"bob:", b"bob", b":", b"bob:a\0b", b"bob:" + b"x" * 5000,
                b"\xff\xfe:x", right + b"\0junk", right + b" ", b"BOB:" + password("bob").encode(),
            )
        ),
        [("Authorization", _basic(b"root:x")), ("Authorization", _basic(right))],
        [("Authorization", "Bearer " + world.tokens["h1"])],
    ]  # fmt: skip
    url = f"{world.server.url}/v2.0/networks"
    answers = [httpx.get(url, headers=one, trust_env=False, timeout=30) for one in headers]
    passed = [
        str(h)[:60] for h, one in zip(headers, answers, strict=True) if one.status_code != 401
    ]
    return Tally(len(answers), len(passed), 1, _get(world), detail="; ".join(passed))


def _post(world: World, headers: dict[str, str]) -> httpx.Response:
    """Make an instance, which every member may."""
    content = b'{"instance": {"name": "written"}}'
    return world.client("bob").post("/v2.0/instances", content=content, headers=headers)


def _not_json(world: World) -> Tally:
    kinds = (
        "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "text/plain; application/json", "application/json-patch", "", "text/json",
    )  # fmt: skip
    answers = [_post(world, {"Content-Type": kind} if kind else {}) for kind in kinds]
    good = _post(world, {"Content-Type": "application/json"}).is_success
    return Tally(len(kinds), sum(one.is_success for one in answers), 1, int(good))


def _origin(world: World) -> Tally:
    origins = (EVIL, "null", f"{world.server.url}.evil.example", "http://127.0.0.1:1", "file://")
    kinds = {"Content-Type": "application/json"}
    answers = [_post(world, kinds | {"Origin": origin}) for origin in origins]
    answers += [
        world.client("bob").get("/v2.0/networks", headers={"Origin": origin}) for origin in origins
    ]
    good = _post(world, kinds | {"Origin": world.server.url}).is_success
    return Tally(len(answers), sum(one.is_success for one in answers), 1, int(good))


def _host(world: World) -> Tally:
    names = ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "a b")
    url = f"{world.open.url}/v2.0/networks"
    answers = [
        httpx.get(url, headers={"Host": name}, trust_env=False, timeout=30) for name in names
    ]
    good = httpx.get(url, trust_env=False, timeout=30).is_success
    passed = [name for name, one in zip(names, answers, strict=True) if one.is_success]
    return Tally(len(names), len(passed), 1, int(good), detail=repr(passed) if passed else "")


def _page(world: World) -> Tally:
    answer = world.ask("bob", "GET", "/schema")
    outside = re.findall(
        r"(?:src|href|url|import)\s*[=:(]\s*[\"']?((?:https?:)?//[^\"')\s]+)", answer.text
    )
    found = [*outside, *re.findall(r"<script", answer.text)]
    policy = answer.headers.get("content-security-policy", "")
    if "script-src 'none'" not in policy or "default-src 'self'" not in policy:
        found.append(f"its policy is {policy!r}")
    viewers = ("swagger", "redoc", "elements", "rapidoc", "scalar")
    found += [one for one in viewers if world.ask("bob", "GET", f"/schema/{one}").is_success]
    return Tally(2 + len(viewers), len(found), 1, int(answer.is_success), detail=", ".join(found))


def _bodies(world: World) -> Tally:
    network = world.id("bobs network").encode()
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    big = b"1" + b"0" * 400
    bodies: list[tuple[str, str, bytes]] = [
        ("bob", "networks", b'{"network":' + b"[" * 300_000),
        ("bob", "networks", b'{"network":{"name":"x","mtu":NaN}}'),
        ("bob", "networks", b'{"network":{"name":"x","mtu":' + big + b"}}"),
        ("bob", "networks", b'{"network":{"name":"a\\u0000b"}}'),
        ("bob", "networks", b'{"network":{"name":"\\ud800"}}'),
        ("bob", "networks", b'{"network":{"name":"' + b"a" * 2_000_000 + b'"}}'),
        ("bob", "networks", b"\xff\xfe"), ("bob", "networks", b"[]"), ("bob", "networks", b""),
        ("bob", "networks", b'{"network":{"name":["x"]}}'),
        ("root", "ports", b'{"port":{"network_id":"' + network + b'","binding:profile":' + deep + b"}}"),
        ("root", "ports", b'{"port":{"network_id":"' + network + b'","binding:profile":{"a":' + big + b"}}}"),
    ]  # fmt: skip
    failed, kind = [], {"Content-Type": "application/json"}
    for who, noun, body in bodies:
        try:
            answer = world.client(who).post(f"/v2.0/{noun}", content=body, headers=kind)
        except httpx.TransportError:  # closed before the body was whole
            continue
        if answer.status_code >= 500 or (who == "bob" and answer.is_success):
            failed.append(f"{body[:40]!r}: {answer.status_code}")
    return Tally(len(bodies), len(failed), 1, _get(world), detail="; ".join(failed))


def _queries(world: World) -> Tally:
    nines = "9" * 4400
    queries = (
        "id=' OR 1=1--", "sort_key=id;drop", "sort_key=id&sort_dir=asc%00", "limit=-1",
        "limit=99999999999", "limit=٣", "limit=2147483648", "name=%00", "name=%ff",
        "fields=__class__", "tags=a,b&not-tags-any=%27", "created_at=x", "changed_since=9999-99-99",
        "changed_since=1e400", "mtu=1e400", f"mtu={nines}", f"revision_number={nines[:30]}",
        "marker=x", "network_id=" + "&network_id=".join(["x"] * 2000),
    )  # fmt: skip
    secret, failed = world.id("alices network"), []
    for query in queries:
        answer = world.ask("bob", "GET", f"/v2.0/networks?{query}")
        if answer.status_code >= 500 or secret in answer.text:
            failed.append(f"{query[:40]}: {answer.status_code}")
    return Tally(len(queries), len(failed), 1, _get(world), detail="; ".join(failed))


def _smuggled(world: World) -> Tally:
    """A second request inside of the first, where two readers may see its end elsewhere."""
    words = _basic(f"bob:{password('bob')}".encode())
    login = f"Host: x\r\nAuthorization: {words}\r\n".encode()
    hidden = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    post = b"POST /v2.0/networks HTTP/1.1\r\n" + login
    plain = b"Content-Length: 4\r\n"
    requests = (
        post + plain + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
        post + b"Transfer-Encoding: xchunked\r\n" + plain + b"\r\nabcd" + hidden,
        post + plain + b"Content-Length: 5\r\n\r\nabcde" + hidden,
        post + b"Content-Length : 4\r\n\r\nabcd" + hidden,
        post + b"Content-Length: +4\r\n\r\nabcd" + hidden,
        b"GET /healthz HTTP/1.1\nHost: x\n\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded: y\r\nTransfer-Encoding:\x0bchunked\r\n\r\n",
    )
    answers = [_raw(world, request) for request in requests]
    passed = sum(b" 200 " in one for one in answers)
    good = _raw(world, hidden).startswith(b"HTTP/1.1 200")
    return Tally(len(requests), passed, 1, int(good))


def _bulk(world: World) -> Tally:
    """Refused, and others write meanwhile in no more than a second or two."""
    network = world.id("bobs network")
    bodies: Sequence[tuple[str, Any]] = (
        ("networks", {"networks": [{"name": "x"}] * 20_000}),
        ("ports", {"ports": [{"network_id": network}] * 14_000}),
        ("instances", {"instances": [{"name": "x"}] * 1_001}),
    )
    passed, slowest = 0, 0.0
    for noun, body in bodies:
        thread = _Sending(world, noun, json.dumps(body).encode())
        with thread:
            for _ in range(5):
                began = time.monotonic()
                world.make("alice", "instance", name="meanwhile")
                slowest = max(slowest, time.monotonic() - began)
        passed += thread.status < 400 or thread.status >= 500
    passed += slowest > 5
    return Tally(
        len(bodies), passed, 1, _get(world), detail=f"others' slowest write {slowest:.2f} s"
    )


class _Sending(threading.Thread):
    """Posts a body of Bob's."""

    def __init__(self, world: World, noun: str, content: bytes) -> None:
        super().__init__()
        self._url, self._content = f"{world.server.url}/v2.0/{noun}", content
        self.status = 0

    def run(self) -> None:
        kind, who = {"Content-Type": "application/json"}, ("bob", password("bob"))
        self.status = httpx.post(
            self._url, content=self._content, headers=kind, auth=who, timeout=120, trust_env=False
        ).status_code

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.join()


def _half(world: World) -> Tally:
    held = []
    for _ in range(HALF_REQUESTS):
        one = _connected(world, HALF_LIMIT_S)
        one.sendall(b"GET / HTTP/1.1\r\nX-a: ")
        held.append(one)
    good, end, left = _get(world), time.monotonic() + HALF_LIMIT_S, 0
    for one in held:
        one.settimeout(max(0.1, end - time.monotonic()))
        with suppress(ConnectionError):
            try:
                while one.recv(4096):
                    pass
            except TimeoutError:
                left += 1
        one.close()
    return Tally(HALF_REQUESTS, left, 1, good)


def _guesses(world: World) -> Tally:
    """Many guess at once; of these, few may be answered before a first login that comes last."""
    guesses = [_asking(world, f"nobody{number}:x") for number in range(GUESSERS)]
    login = _asking(world, f"nova:{password('nova')}")  # who has not logged in before
    began = time.monotonic()
    answer = login.recv(4096)
    took_s = time.monotonic() - began
    before = 0
    for one in guesses:
        one.setblocking(False)
        with suppress(BlockingIOError):
            before += bool(one.recv(4096))
        one.close()
    login.close()
    good = answer.startswith(b"HTTP/1.1 200")
    told = f"the login took {took_s:.2f} s; {before} guesses were answered before it"
    passed = before > GUESSERS / 3
    return Tally(GUESSERS, int(passed), 1, int(good), detail=told)


def _asking(world: World, words: str) -> socket.socket:
    made = _connected(world, 60)
    login = f"Authorization: {_basic(words.encode())}\r\n"
    made.sendall(f"GET /v2.0/networks HTTP/1.1\r\nHost: x\r\n{login}\r\n".encode())
    return made


def _timed(world: World) -> Tally:
    """An unknown name must take as long as a known one with a false password."""
    medians = []
    for name in ("nobody-of-this-name", "alice"):
        times = []
        for number in range(15):
            began = time.perf_counter()
            with _asking(world, f"{name}:wrong{number}") as client:
                client.recv(4096)
            times.append(time.perf_counter() - began)
        medians.append(statistics.median(times))
    unknown, known = medians
    told = f"unknown {unknown * 1e3:.1f} ms, known {known * 1e3:.1f} ms"
    passed = not 0.4 < unknown / known < 2.5
    return Tally(30, int(passed), 1, _get(world), detail=told)


def _escape(world: World) -> Tally:
    name = "a\x1b[31m\x1b]0;owned\x07\u202eb\x9b2J"
    call: Call = ("POST", "/v2.0/instances", {"instance": {"name": name}})
    made = world.ask("bob", *call)
    port = {"network_id": world.id("bobs network"), "name": name}
    made_port = world.ask("bob", "POST", "/v2.0/ports", {"port": port})
    printed = [world.lessor("root", noun, "list") for noun in ("instance", "port")]
    text = b"".join(printed).decode()
    passed = sum(text.count(sign) for sign in "\x1b\x07\x9b\u202e")
    shown = made.is_success and made_port.is_success and "owned" in text
    return Tally(2, passed, 1, int(shown), detail=f"{made.status_code} {made_port.status_code}")
