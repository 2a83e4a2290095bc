"""metadata_mode = proxy against a receiver that checks our signature as Nova does (D3.10)."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import httpx
import pytest

from lessor.metadata.client_address import Caller
from lessor.metadata.proxy import signature
from tests.metadata.metadata_fakes import Endpoint, FakeServer, app, ask, mac_of, vm
from tests.metadata.nova_receiver import NovaReceiver
from tests.ports import Port

SECRET = "metadata-secret"


@pytest.fixture
def nova() -> Iterator[NovaReceiver]:
    with NovaReceiver(SECRET, {"vm-a": "project-a"}).running() as receiver:
        yield receiver


def proxied(
    url: str, path: str = "/latest/meta-data/", *, secret: str = SECRET, **asking: object
) -> httpx.Response:
    """Ask through a service made for this one call: its connections belong to one loop."""
    service = app(
        FakeServer([vm("a"), vm("b", address=IPv4Address("10.0.0.6"))]),
        metadata_mode="proxy",
        nova_metadata_url=url,
        metadata_proxy_shared_secret=secret,
    )
    return ask(Endpoint(service, ("blue",)), path, close=service, **asking)  # type: ignore[arg-type] # ask's own


def test_signature_is_nova_s() -> None:
    # printf vm-a | openssl dgst -sha256 -hmac metadata-secret
    expected = "107b86fb7f5ee6dfb9684ee873230d2bfd186499b56236b537a13b9e4554ff8d"
    assert signature(SECRET, "vm-a") == expected


def test_request_is_signed_and_says_which_vm_asks(nova: NovaReceiver) -> None:
    answer = proxied(nova.url, "/openstack/latest/a%20b?x=1&y=%2F", headers=[("accept", "*/x")])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"path": "/openstack/latest/a%20b?x=1&y=%2F"}
    [asked] = nova.asked
    assert asked.values("x-forwarded-for") == ["10.0.0.5"]
    assert asked.values("x-instance-id") == ["vm-a"]
    assert asked.values("x-tenant-id") == ["project-a"]
    assert asked.values("x-instance-id-signature") == [signature(SECRET, "vm-a")]
    assert asked.values("accept") == ["*/x"]


def test_wrong_secret_is_403(nova: NovaReceiver) -> None:
    assert proxied(nova.url, secret="another").status_code == 403


def test_another_tenant_is_404(nova: NovaReceiver) -> None:
    nova.projects["vm-a"] = "somebody-else"
    assert proxied(nova.url).status_code == 404


def test_headers_that_the_vm_sent_are_dropped(nova: NovaReceiver) -> None:
    forged = [
        ("X-Instance-ID", "vm-b"),
        ("x-tenant-id", "project-b"),
        ("X-Instance-ID-Signature", signature(SECRET, "vm-b")),
        ("X-Forwarded-For", "10.0.0.6"),
        ("X-Metadata-Provider", "lb"),
        ("X-Metadata-Provider-Signature", "0"),
        ("X-Neutron-Network-ID", "red"),
        ("X_Instance_ID", "vm-b"),
    ]
    assert proxied(nova.url, headers=forged).status_code == 200
    [asked] = nova.asked
    assert asked.values("x-instance-id") == ["vm-a"]
    assert asked.values("x-forwarded-for") == ["10.0.0.5"]
    names = {name for name, _ in asked.headers if name.startswith("x")}
    assert names == {"x-forwarded-for", "x-instance-id", "x-tenant-id", "x-instance-id-signature"}


@pytest.mark.parametrize(
    ("status", "told"),
    [
        *((same, same) for same in (400, 403, 404, 409, 500, 502, 503, 504)),
        (204, 500),
        (302, 500),
        (401, 500),
        (418, 500),
    ],
)
def test_status_of_nova_is_passed_or_500(nova: NovaReceiver, status: int, told: int) -> None:
    nova.status = status
    assert proxied(nova.url).status_code == told


def test_nova_away_is_503() -> None:
    with Port() as port:
        answer = proxied(f"http://127.0.0.1:{port}")
    assert answer.status_code == 503
    assert "can't be reached" in answer.text


def test_password_is_posted_to_nova(nova: NovaReceiver) -> None:
    path = "/openstack/latest/password"
    assert proxied(nova.url, path, method="POST", body=b"c2VjcmV0").status_code == 200
    assert (nova.asked[0].method, nova.asked[0].body) == ("POST", b"c2VjcmV0")
    assert proxied(nova.url, path, method="POST", body=b"x" * 1021).status_code == 400
    assert len(nova.asked) == 1


def test_head_is_forwarded_as_head(nova: NovaReceiver) -> None:
    assert proxied(nova.url, method="HEAD").status_code == 200
    assert nova.asked[0].method == "HEAD"


def test_path_of_the_url_goes_before_the_vm_s(nova: NovaReceiver) -> None:
    assert proxied(f"{nova.url}/nova/", "/latest").json() == {"path": "/nova/latest"}


def test_root_is_nova_s_and_unknown_addresses_get_404(nova: NovaReceiver) -> None:
    assert proxied(nova.url, "/").json() == {"path": "/"}
    assert proxied(nova.url, "/", client="10.0.0.99").status_code == 404
    assert len(nova.asked) == 1


def test_port_without_device_is_404_and_not_asked(nova: NovaReceiver) -> None:
    facts = vm("a")
    service = app(
        FakeServer([replace(facts, port=replace(facts.port, device_id=""))]),
        metadata_mode="proxy",
        nova_metadata_url=nova.url,
    )
    assert ask(Endpoint(service, ("blue",)), "/latest", close=service).status_code == 404
    assert nova.asked == []


def test_connections_to_nova_are_kept_and_closed_with_the_service(nova: NovaReceiver) -> None:
    service = app(
        FakeServer([vm("a")]),
        metadata_mode="proxy",
        nova_metadata_url=nova.url,
        metadata_proxy_shared_secret=SECRET,
    )

    async def story() -> list[int]:
        caller = Caller(mac_of("10.0.0.5"), IPv4Address("10.0.0.5"))
        asked: Any = Endpoint(service, ("blue",)).of(caller)
        transport = httpx.ASGITransport(app=asked, client=("10.0.0.5", 40000))
        async with httpx.AsyncClient(transport=transport, base_url="http://md") as asking:
            statuses = [(await asking.get("/latest")).status_code for _ in range(3)]
        await service.aclose()
        return statuses

    assert asyncio.run(story()) == [200, 200, 200]
