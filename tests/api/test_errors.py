"""Bad input: the status, the exception's name, and a sentence that names what is wrong."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from lessor.api import server as server_module
from lessor.api.rest import bodies
from lessor.errors import ConfigError
from lessor.settings import ServerSettings

Server = Any  # tests/api/conftest.py
JSON = {"Content-Type": "application/json"}
NO_ID = "00000000-0000-0000-0000-000000000000"


def problem(answer: Any) -> dict[str, str]:
    assert set(answer.json()) == {"NeutronError"}
    found: dict[str, str] = answer.json()["NeutronError"]
    assert set(found) == {"type", "message", "detail"}
    assert found["detail"] == ""
    return found


@pytest.fixture
def made(server: Server) -> Server:
    """Return a server with networks n and m (of another physical network), a subnet, a port."""
    return furnished(server)


@pytest.fixture(scope="module")
def kept(shared: Server) -> Server:
    """Return a server with the same, for tests that change nothing."""
    return furnished(shared)


def furnished(server: Server) -> Server:
    network, subnet = server.network("10.0.0.0/29")
    other = server.make("network", **{"lessor:bridge": "br200"})
    taken = server.make(
        "port",
        network_id=network["id"],
        fixed_ips=[{"ip_address": "10.0.0.3"}],
        mac_address="fa:16:3e:00:00:01",
    )
    server.make("address", network_id=network["id"], address="10.0.0.5")
    server.ids = {"n": network["id"], "m": other["id"], "s": subnet["id"], "p": taken["id"]}
    return server


def filled(value: Any, ids: dict[str, str]) -> Any:
    """Return the value with "<n>" replaced by the id of n, wherever it is."""
    if isinstance(value, dict):
        return {key: filled(part, ids) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, ids) for part in value]
    return ids[value[1:-1]] if isinstance(value, str) and value[:1] == "<" else value


POSTS = [
    ("unknown-field", "network", {"colour": "red"}, 400, "HTTPBadRequest", "colour"),
    ("read-only-field", "network", {"status": "DOWN"}, 400, "HTTPBadRequest", "status"),
    ("wrong-type", "network", {"name": 5}, 400, "HTTPBadRequest", "network.name"),
    ("long-name", "network", {"name": "x" * 256}, 400, "HTTPBadRequest", "255"),
    ("large-mtu", "network", {"mtu": 1501}, 400, "InvalidInput", "1500"),
    ("unknown-bridge", "network", {"lessor:bridge": "br9"}, 400, "InvalidInput", "br100, br200"),
    (
        "bridge-of-another-physical-network",
        "network",
        {"lessor:bridge": "br100", "provider:physical_network": "physnet2"},
        400,
        "InvalidInput",
        "physnet1",
    ),
    (
        "unknown-physical-network",
        "network",
        {"provider:physical_network": "x9"},
        400,
        "InvalidInput",
        "x9",
    ),
    ("vlan", "network", {"provider:network_type": "vlan"}, 400, "InvalidInput", "flat, vxlan"),
    (
        "segment",
        "network",
        {"provider:network_type": "flat", "provider:segmentation_id": 5},
        400,
        "InvalidInput",
        "segment",
    ),
    ("vni", "network", {"provider:segmentation_id": 1 << 24}, 400, "InvalidInput", "vni_ranges"),
    (
        "vxlan-host",
        "network",
        {"provider:network_type": "vxlan", "lessor:multi_host": True},
        400,
        "InvalidInput",
        "multi_host",
    ),
    ("newline-in-domain", "network", {"dns_domain": "a\nb"}, 400, "InvalidInput", "dns_domain"),
    ("twins-differ", "network", {"project_id": "a", "tenant_id": "b"}, 400, "InvalidInput", "tenant"),
    ("no-network", "subnet", {"cidr": "10.1.0.0/24"}, 400, "HTTPBadRequest", "network_id"),
    ("no-cidr", "subnet", {"network_id": "<n>"}, 400, "BadRequest", "cidr"),
    ("bad-cidr", "subnet", {"network_id": "<n>", "cidr": "10.1/99"}, 400, "InvalidInput", "cidr"),
    ("ipv6", "subnet", {"network_id": "<n>", "cidr": "fd00::/64"}, 400, "InvalidInput", "IPv6"),
    (
        "ip-version-6",
        "subnet",
        {"network_id": "<n>", "cidr": "10.1.0.0/24", "ip_version": 6},
        400,
        "InvalidInput",
        "6",
    ),
    (
        "unknown-network",
        "subnet",
        {"network_id": NO_ID, "cidr": "10.1.0.0/24"},
        404,
        "NetworkNotFound",
        NO_ID,
    ),
    (
        "cidr-overlaps-in-its-network",
        "subnet",
        {"network_id": "<n>", "cidr": "10.0.0.0/24"},
        400,
        "InvalidInput",
        "10.0.0.0/29",
    ),
    (
        "pool-outside-the-subnet",
        "subnet",
        {
            "network_id": "<n>",
            "cidr": "10.1.0.0/24",
            "allocation_pools": [{"start": "10.2.0.2", "end": "10.2.0.9"}],
        },
        400,
        "OutOfBoundsAllocationPool",
        "10.2.0.2",
    ),
    (
        "pool-backwards",
        "subnet",
        {
            "network_id": "<n>",
            "cidr": "10.1.0.0/24",
            "allocation_pools": [{"start": "10.1.0.9", "end": "10.1.0.2"}],
        },
        400,
        "InvalidAllocationPool",
        "10.1.0.9",
    ),
    (
        "pools-overlap",
        "subnet",
        {
            "network_id": "<n>",
            "cidr": "10.1.0.0/24",
            "allocation_pools": [
                {"start": "10.1.0.2", "end": "10.1.0.9"},
                {"start": "10.1.0.9", "end": "10.1.0.20"},
            ],
        },
        409,
        "OverlappingAllocationPools",
        "10.1.0.9",
    ),
    (
        "gateway-in-pool",
        "subnet",
        {
            "network_id": "<n>",
            "cidr": "10.1.0.0/24",
            "gateway_ip": "10.1.0.5",
            "allocation_pools": [{"start": "10.1.0.2", "end": "10.1.0.9"}],
        },
        409,
        "GatewayConflictWithAllocationPools",
        "10.1.0.5",
    ),
    (
        "six-name-servers",
        "subnet",
        {"network_id": "<n>", "cidr": "10.1.0.0/24", "dns_nameservers": ["10.1.0.9"] * 6},
        400,
        "DNSNameServersExhausted",
        "5",
    ),
    (
        "route-without-nexthop",
        "subnet",
        {
            "network_id": "<n>",
            "cidr": "10.1.0.0/24",
            "host_routes": [{"destination": "10.9.0.0/16"}],
        },
        400,
        "HTTPBadRequest",
        "nexthop",
    ),
    (
        "address-outside-the-subnet",
        "port",
        {"network_id": "<n>", "fixed_ips": [{"subnet_id": "<s>", "ip_address": "10.9.0.1"}]},
        400,
        "InvalidIpForSubnet",
        "10.9.0.1",
    ),
    (
        "address-on-no-subnet",
        "port",
        {"network_id": "<n>", "fixed_ips": [{"ip_address": "10.9.0.1"}]},
        400,
        "InvalidIpForNetwork",
        "10.9.0.1",
    ),
    (
        "address-in-use",
        "port",
        {"network_id": "<n>", "fixed_ips": [{"ip_address": "10.0.0.3"}]},
        409,
        "IpAddressInUse",
        "10.0.0.3",
    ),
    (
        "address-reserved",
        "port",
        {"network_id": "<n>", "fixed_ips": [{"ip_address": "10.0.0.5"}]},
        409,
        "IpAddressInUse",
        "10.0.0.5",
    ),
    (
        "address-malformed",
        "port",
        {"network_id": "<n>", "fixed_ips": [{"ip_address": "10.0.0"}]},
        400,
        "InvalidInput",
        "fixed_ips",
    ),
    (
        "mac-in-use",
        "port",
        {"network_id": "<n>", "mac_address": "FA:16:3E:00:00:01"},
        409,
        "MacAddressInUse",
        "fa:16:3e:00:00:01",
    ),
    (
        "mac-malformed",
        "port",
        {"network_id": "<n>", "mac_address": "fa:16:3e:1"},
        400,
        "InvalidInput",
        "mac_address",
    ),
    (
        "mac-of-a-group",
        "port",
        {"network_id": "<n>", "mac_address": "01:00:5e:00:00:01"},
        400,
        "InvalidInput",
        "group",
    ),
    (
        "newline-in-an-option",
        "port",
        {"network_id": "<n>", "extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1\n6,8.8.8.8"}]},
        400,
        "InvalidInput",
        "mtu",
    ),
    (
        "blank-option",
        "port",
        {"network_id": "<n>", "extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": ""}]},
        400,
        "InvalidInput",
        "mtu",
    ),
    (
        "ipv6-option",
        "port",
        {
            "network_id": "<n>",
            "extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1", "ip_version": 6}],
        },
        400,
        "InvalidInput",
        "mtu",
    ),
    (
        "newline-in-dns-name",
        "port",
        {"network_id": "<n>", "dns_name": "a\nb"},
        400,
        "InvalidInput",
        "name",
    ),
    (
        "no-host",
        "port",
        {"network_id": "<n>", "binding:host_id": "no where"},
        400,
        "InvalidInput",
        "no where",
    ),
    ("sr-iov", "port", {"network_id": "<n>", "binding:vnic_type": "direct"}, 400, "InvalidInput", "direct"),
    ("groups", "port", {"network_id": "<n>", "security_groups": ["web"]}, 400, "InvalidInput", "'web'"),
    ("unknown-network-of-a-port", "port", {"network_id": NO_ID}, 404, "NetworkNotFound", NO_ID),
    (
        "pair-malformed",
        "port",
        {"network_id": "<n>", "allowed_address_pairs": [{"ip_address": "x"}]},
        400,
        "InvalidInput",
        "allowed_address_pairs",
    ),
    (
        "eleven-pairs",
        "port",
        {
            "network_id": "<n>",
            "allowed_address_pairs": [{"ip_address": f"10.9.0.{n}"} for n in range(11)],
        },
        400,
        "AllowedAddressPairExhausted",
        "11",
    ),
    (
        "name-server-twice",
        "subnet",
        {"network_id": "<n>", "cidr": "10.1.0.0/24", "dns_nameservers": ["10.1.0.9"] * 2},
        400,
        "InvalidInput",
        "twice",
    ),
    ("user-data-not-base64", "instance", {"user_data": "#!"}, 400, "InvalidInput", "base64"),
    ("host-name-with-slash", "host", {"name": "a/b"}, 400, "InvalidInput", "a/b"),
    ("reserve-outside", "address", {"network_id": "<n>", "address": "10.9.0.1"}, 400, "", "10.9.0.1"),
    ("reserve-in-use", "address", {"network_id": "<n>", "address": "10.0.0.3"}, 409, "", "10.0.0.3"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("noun", "body", "status", "type_", "word"),
    [pytest.param(*case, id=name) for name, *case in POSTS],
)
def test_bad_input_is_refused_with_a_sentence(  # noqa: PLR0917 - a row of the table
    kept: Server, noun: str, body: dict[str, Any], status: int, type_: str, word: str
) -> None:
    path = "/v2.0/addresses" if noun == "address" else f"/v2.0/{noun}s"
    before = kept.api.get(path).json()
    answer = kept.api.post(path, json={noun: filled(body, kept.ids)})
    found = problem(answer)
    assert (answer.status_code, type_ or found["type"]) == (status, found["type"]), found
    assert word in found["message"]
    assert kept.api.get(path).json() == before


IMMUTABLE = [
    ("subnets", "s", {"cidr": "10.1.0.0/24"}, "cidr"),
    ("subnets", "s", {"network_id": "<m>"}, "network_id"),
    ("subnets", "s", {"ip_version": 4}, "ip_version"),
    ("ports", "p", {"network_id": "<m>"}, "network_id"),
    ("ports", "p", {"id": NO_ID}, "id"),
    ("networks", "n", {"provider:physical_network": "physnet2"}, "provider:physical_network"),
    ("networks", "n", {"project_id": "p9"}, "project_id"),
]


@pytest.mark.parametrize(("plural", "key", "body", "word"), IMMUTABLE)
def test_what_can_not_change_is_named(
    kept: Server, plural: str, key: str, body: dict[str, Any], word: str
) -> None:
    path = f"/v2.0/{plural}/{kept.ids[key]}"
    before = kept.api.get(path).json()
    answer = kept.api.put(path, json={plural[:-1]: filled(body, kept.ids)})
    assert answer.status_code == 400
    assert f"'{word}'" in problem(answer)["message"]
    assert kept.api.get(path).json() == before


def test_a_full_network_says_so(made: Server) -> None:
    for _ in range(3):  # .2, .4 and .6; .3 is taken and .5 reserved
        made.make("port", network_id=made.ids["n"])
    answer = made.api.post("/v2.0/ports", json={"port": {"network_id": made.ids["n"]}})
    assert answer.status_code == 409
    assert problem(answer)["type"] == "IpAddressGenerationFailure"
    assert "10.0.0.0/29" in problem(answer)["message"]


def test_networks_of_one_physical_network_may_not_overlap(made: Server) -> None:
    same = made.make("network", **{"lessor:bridge": "br100"})
    body = {"subnet": {"network_id": same["id"], "cidr": "10.0.0.0/24"}}
    answer = made.api.post("/v2.0/subnets", json=body)
    assert answer.status_code == 409
    assert "10.0.0.0/29" in problem(answer)["message"]
    body["subnet"]["network_id"] = made.ids["m"]
    assert made.api.post("/v2.0/subnets", json=body).status_code == 201


def test_what_is_in_use_is_not_deleted(made: Server) -> None:
    for path, type_ in (("networks", "NetworkInUse"), ("subnets", "SubnetInUse")):
        answer = made.api.delete(f"/v2.0/{path}/{made.ids[path[0]]}")
        assert (answer.status_code, problem(answer)["type"]) == (409, type_)


@pytest.mark.parametrize(
    ("noun", "type_"),
    [
        ("network", "NetworkNotFound"),
        ("subnet", "SubnetNotFound"),
        ("port", "PortNotFound"),
        ("instance", ""),
        ("lease", ""),
        ("host", ""),
        ("agent", "AgentNotFound"),
    ],
)
@pytest.mark.parametrize("key", [NO_ID, "not-an-id", "%00", "%27--"])
def test_what_is_not_there_is_not_found(kept: Server, noun: str, type_: str, key: str) -> None:
    path = f"/v2.0/{noun}s/{key}"
    calls = [kept.api.get(path)]
    if noun != "agent":
        calls.append(kept.api.delete(path))
    if noun in {"network", "subnet", "port", "instance"}:
        calls.append(kept.api.put(path, json={noun: {"name": "x"}}))
    for answer in calls:
        assert answer.status_code == 404
        assert problem(answer)["type"] == (type_ or problem(answer)["type"])


@pytest.mark.parametrize(
    ("content", "word"),
    [
        pytest.param(b"", "body", id="no-body"),
        pytest.param(b"{", "JSON", id="cut-off"),
        pytest.param(b"hello", "JSON", id="no-json"),
        pytest.param(b"\xff\xfe", "JSON", id="not-utf-8"),
        pytest.param(b'"\xff"', "UTF-8", id="text-not-utf-8"),
        pytest.param(b'{"network": {"name": "\xed\xa0\x80"}}', "UTF-8", id="name-not-utf-8"),
        pytest.param(b"[]", "object", id="a-list"),
        pytest.param(b"{}", "network", id="empty"),
        pytest.param(b'{"network": null}', "network", id="null"),
        pytest.param(b'{"networks": []}', "networks", id="empty-bulk"),
        pytest.param(b'{"network": {}, "networks": [{}]}', "either", id="both"),
        pytest.param(b'{"network": {}, "x": 1}', "'x'", id="something-beside-it"),
        pytest.param(b"[" * 100000, "JSON", id="deep"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(kept: Server, content: bytes, word: str) -> None:
    answer = kept.api.post("/v2.0/networks", content=content, headers=JSON)
    assert answer.status_code == 400
    assert word in problem(answer)["message"]
    assert len(kept.api.get("/v2.0/networks").json()["networks"]) == 2


def nested(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("POST", "networks", {"name": "a\0b"}),
        ("POST", "instances", {"name": "a", "metadata": {"k\0": "v"}}),
        ("POST", "ports", {"network_id": "\0"}),
        ("POST", "ports", {"network_id": "0" * 32, "binding:profile": nested("\0", 400)}),
        ("GET", "networks?name=%00", None),
    ],
)
def test_a_nul_is_refused_whatever_database_there_is(
    server: Server, method: str, path: str, fields: Any
) -> None:
    """PostgreSQL stores no text that has one; what SQLite took could never be moved there."""
    noun = path.removesuffix("s")
    body = {"json": {noun: fields}} if fields else {}
    answer = server.api.request(method, f"/v2.0/{path}", **body)
    assert answer.status_code == 400, answer.text
    assert "NUL" in problem(answer)["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "networks/%00"),
        ("DELETE", "ports/a%00b"),
        ("PUT", "networks/a%00/tags/b"),
        ("PUT", "networks/{network}/tags/a%00"),
        ("GET", "networks/{network}/tags/a%00"),
        ("DELETE", "addresses/a%00/10.0.0.2"),
    ],
)
def test_a_nul_in_a_path_fails_nothing(server: Server, method: str, path: str) -> None:
    network, _ = server.network()
    answer = server.api.request(method, f"/v2.0/{path.format(network=network['id'])}")
    assert 400 <= answer.status_code < 500, answer.text


def test_a_body_of_10_mb_is_refused(kept: Server) -> None:
    body = b'{"network": {"name": "' + b"x" * 10_000_000 + b'"}}'
    answer = kept.api.post("/v2.0/networks", content=body, headers=JSON)
    assert answer.status_code == 413
    assert "max_body_bytes" in problem(answer)["message"]
    assert kept.api.get("/healthz").status_code == 200


def test_a_body_that_is_too_large_is_not_read_to_its_end(kept: Server) -> None:
    with socket.create_connection(kept.sockets[0].getsockname(), timeout=5) as plain:
        plain.sendall(
            b"POST /v2.0/networks HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n{"
        )
        assert plain.recv(12) == b"HTTP/1.1 413"


def test_paths_and_methods_that_are_not_there_say_so(kept: Server) -> None:
    unknown = kept.api.get("/v2.0/routers")
    assert (unknown.status_code, problem(unknown)["type"]) == (404, "HTTPNotFound")
    wrong = kept.api.patch("/v2.0/networks")
    assert (wrong.status_code, problem(wrong)["type"]) == (405, "HTTPMethodNotAllowed")
    assert "GET" in wrong.headers["allow"]
    assert kept.api.put("/v2.0/leases/x", json={}).status_code == 405


def test_what_fails_unexpectedly_is_not_shown_to_the_client(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(bodies, "shown", fail)
    answer = server.api.get("/v2.0/networks")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert problem(answer)["type"] == "HTTPInternalServerError"


def test_without_a_flat_network_bridge_there_is_no_default(serve: Callable[..., Server]) -> None:
    server = serve(flat_mappings=())
    for body in ({"lessor:bridge": "br100"}, {}):
        answer = server.api.post("/v2.0/networks", json={"network": body})
        assert answer.status_code == 400
        assert "flat_network_bridge" in problem(answer)["message"]
        assert "no default" in problem(answer)["message"]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_an_open_api_listens_on_loopback_only(tmp_path: Any, host: str) -> None:
    settings = ServerSettings(state_dir=tmp_path, listen=(host, 9696))
    with pytest.raises(ConfigError, match="--insecure-listen"):
        server_module.check_listen(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_permission(tmp_path: Any, host: str) -> None:
    server_module.check_listen(ServerSettings(state_dir=tmp_path, listen=(host, 9696)))


def test_an_insecure_address_is_said_in_the_log(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ServerSettings(state_dir=tmp_path, listen=("0.0.0.0", 9696), insecure_listen=True)
    server_module.check_listen(settings)
    assert "0.0.0.0:9696" in "".join(capsys.readouterr())


def test_an_address_in_use_is_a_sentence(tmp_path: Any) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = ServerSettings(state_dir=tmp_path, listen=other.getsockname())
        with pytest.raises(ConfigError, match="in use"):
            server_module.serve(settings)


def test_a_client_that_ends_in_the_middle_of_its_body_is_no_failure_of_the_server(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        head = (
            "POST /v2.0/networks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        )
        client.sendall(f'{head}Content-Length: 100\r\n\r\n{{"network"'.encode())

    def counted() -> list[str]:
        lines = server.api.get("/metrics").text.splitlines()
        return [line for line in lines if "requests_total" in line and 'method="POST"' in line]

    end = time.monotonic() + 10
    while not counted():
        assert time.monotonic() < end
    assert [line for line in counted() if 'status="5' in line] == []
    assert "request failed" not in "".join(capsys.readouterr())
