import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import httpx
import pytest
from structlog.testing import capture_logs

from lessor.metadata import cache
from lessor.metadata.client_address import Caller
from lessor.metadata.messages import AskFacts
from lessor.metadata.port_lookup import Ports
from lessor.model import AddressPair, MetadataFacts
from tests.metadata.metadata_fakes import (
    Clock,
    Endpoint,
    FakeServer,
    Visiting,
    app,
    ask,
    mac_of,
    vm,
)

NAME = "/openstack/latest/meta_data.json"
PASSWORD = "/openstack/latest/password"
BLUE = ("blue",)
SIX = IPv4Address("10.0.0.6")


def name_told(endpoint: Endpoint, **asking: object) -> object:
    answer = ask(endpoint, NAME, **asking)  # type: ignore[arg-type] # ask's own
    assert answer.status_code == 200, answer.text
    return answer.json()["name"]


def test_listing_is_text_without_trailing_newline() -> None:
    answer = ask(Endpoint(app(FakeServer([vm("a")])), BLUE), "/latest/meta-data/placement/")
    assert answer.text == "availability-zone"
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["content-length"] == "17"


def test_documents_are_json() -> None:
    answer = ask(Endpoint(app(FakeServer([vm("a")])), BLUE), "/openstack//latest/./meta_data.json/")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["uuid"] == "vm-a"


def test_head_has_the_length_and_no_body() -> None:
    endpoint = Endpoint(app(FakeServer([vm("a")])), BLUE)
    answer = ask(endpoint, "/latest/meta-data/local-ipv4", "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len("10.0.0.5"))


@pytest.mark.parametrize("path", ["/latest/meta-data/", NAME, "/openstack", "/nothing"])
def test_unknown_address_is_404(path: str) -> None:
    assert (
        ask(Endpoint(app(FakeServer([vm("a")])), BLUE), path, client="10.0.0.6").status_code == 404
    )


@pytest.mark.parametrize(
    "path", ["/nothing/meta-data/", "/latest/x", "/openstack/1999-01-01/", "/openstack/content"]
)
def test_unknown_path_and_version_are_404(path: str) -> None:
    assert ask(Endpoint(app(FakeServer([vm("a")])), BLUE), path).status_code == 404


def test_root_is_told_to_anybody_even_while_the_server_is_away() -> None:
    answer = ask(Endpoint(app(FakeServer(away=True)), BLUE), "/", client="10.9.9.9")
    assert (answer.status_code, answer.text.split("\n")[-1]) == (200, "latest")


def test_equal_addresses_on_two_networks_are_two_vms() -> None:
    service = app(FakeServer([vm("a", "blue"), vm("b", "red")]))
    blue, red = Endpoint(service, BLUE), Endpoint(service, ("red",))
    assert [name_told(e) for e in (blue, red, blue, red)] == ["a", "b", "a", "b"]


def test_answers_follow_the_networks_of_the_endpoint() -> None:
    endpoint = Endpoint(app(FakeServer([vm("a", "blue"), vm("b", "red")])), BLUE)
    assert name_told(endpoint) == "a"
    endpoint.networks = ("red",)
    assert name_told(endpoint) == "b"


def test_server_is_asked_once_in_the_expiration_time() -> None:
    server, clock = FakeServer([vm("a")]), Clock()
    endpoint = Endpoint(app(server, clock, metadata_cache_expiration=15), BLUE)
    for later in (0, 7, 7.9):
        clock.now += later
        name_told(endpoint)
    assert server.asked == 1
    clock.now += 0.2
    name_told(endpoint)
    assert server.asked == 2


def test_expiration_0_asks_every_time() -> None:
    server = FakeServer([vm("a")])
    endpoint = Endpoint(app(server, metadata_cache_expiration=0), BLUE)
    name_told(endpoint)
    name_told(endpoint)
    assert server.asked == 2


def test_unknown_is_not_remembered() -> None:
    server = FakeServer()
    endpoint = Endpoint(app(server), BLUE)
    assert ask(endpoint, NAME).status_code == 404
    server.vms.append(vm("a"))
    assert name_told(endpoint) == "a"


def test_vm_that_is_gone_is_forgotten() -> None:
    server, clock = FakeServer([vm("a")]), Clock()
    endpoint = Endpoint(app(server, clock), BLUE)
    name_told(endpoint)
    server.vms.clear()
    clock.now += 60
    assert ask(endpoint, NAME).status_code == 404
    server.away = True
    assert ask(endpoint, NAME).status_code == 500


@pytest.mark.parametrize("expiration", [0, 15])
def test_old_answers_are_given_while_the_server_is_away_as_long_as_it_lasts(
    expiration: int,
) -> None:
    server, clock = FakeServer([vm("a")]), Clock()
    endpoint = Endpoint(app(server, clock, metadata_cache_expiration=expiration), BLUE)
    name_told(endpoint)
    server.away = True
    for later in (16, 3600, 86400):
        clock.now += later
        assert name_told(endpoint) == "a"
    server.away = False
    server.vms = [vm("renamed")]
    clock.now += 60
    assert name_told(endpoint) == "renamed"


def test_server_that_is_away_is_not_asked_for_every_request_and_said_once() -> None:
    server, clock = FakeServer([vm("a")]), Clock()
    with capture_logs() as logs:
        endpoint = Endpoint(app(server, clock, metadata_cache_expiration=1), BLUE)
        name_told(endpoint)
        server.away = True
        clock.now += 2
        for _ in range(5):
            name_told(endpoint)
        assert server.asked == 2
        server.away = False
        clock.now += 10
        name_told(endpoint)
    assert [entry["event"] for entry in logs] == [
        "metadata server unreachable",
        "metadata server reachable",
    ]


def test_server_away_and_nothing_known_is_500() -> None:
    answer = ask(Endpoint(app(FakeServer([vm("a")], away=True)), BLUE), NAME)
    assert answer.status_code == 500
    assert "can't be reached" in answer.text


def test_server_that_hangs_holds_up_nobody_whose_answer_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "STALE_WAIT_S", 0.05)
    monkeypatch.setattr(cache, "WAIT_S", 0.05)
    server, clock = FakeServer([vm("a"), vm("b", address=SIX)]), Clock()
    endpoint = Endpoint(app(server, clock), BLUE)
    name_told(endpoint)
    server.hangs = True
    clock.now += 16
    assert name_told(endpoint) == "a"
    assert ask(endpoint, NAME, client="10.0.0.6").status_code == 500


def test_x_forwarded_for_is_not_believed_by_default() -> None:
    endpoint = Endpoint(app(FakeServer([vm("a")])), BLUE)
    answer = ask(endpoint, NAME, client="10.0.0.6", headers=[("x-forwarded-for", "10.0.0.5")])
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ([], 404),
        (["10.0.0.5"], 200),
        (["10.0.0.9, 10.0.0.5"], 200),
        (["10.0.0.5, 10.0.0.9"], 404),
        (["10.0.0.9", "10.0.0.5"], 200),
        (["10.0.0.5", "10.0.0.9"], 404),
        (["nonsense"], 404),
        ([""], 404),
    ],
)
def test_use_forwarded_for_believes_the_nearest_proxy(forwarded: list[str], status: int) -> None:
    endpoint = Endpoint(app(FakeServer([vm("a")]), use_forwarded_for=True), BLUE)
    headers = [("x-forwarded-for", value) for value in forwarded]
    assert ask(endpoint, NAME, client="10.0.0.6", headers=headers).status_code == status


def test_use_forwarded_for_believes_no_vm() -> None:
    endpoint = Endpoint(
        app(FakeServer([vm("a"), vm("b", address=SIX)]), use_forwarded_for=True), BLUE
    )
    assert name_told(endpoint, client="10.0.0.6", headers=[("x-forwarded-for", "10.0.0.5")]) == "b"


def test_what_the_process_says_of_a_proxy_is_not_believed_unasked() -> None:
    service = app(FakeServer([vm("a")]))
    proxy = Visiting(Caller("fa:16:3e:99:99:99", SIX), Endpoint(service, BLUE))
    told = asyncio.run(service.backend.answer(proxy, AskFacts(1, 1, "10.0.0.5")))
    assert told.response is not None
    assert told.response.status == 404


def holder(*pairs: AddressPair) -> MetadataFacts:
    facts = vm("b", address=SIX)
    return replace(facts, port=replace(facts.port, allowed_address_pairs=pairs))


def asked_as(endpoint: Endpoint, address: str, mac: str) -> httpx.Response:
    return ask(endpoint, NAME, client=address, mac=mac)


def test_an_allowed_pair_asks_as_the_port_that_holds_it() -> None:
    """Also where the address is another VM's own."""
    pairs = (AddressPair(IPv4Network("10.0.0.5")), AddressPair(IPv4Network("10.0.0.128/27")))
    endpoint = Endpoint(app(FakeServer([vm("a"), holder(*pairs)])), BLUE)
    for address in ("10.0.0.5", "10.0.0.130", "10.0.0.6"):
        assert asked_as(endpoint, address, mac_of("10.0.0.6")).json()["name"] == "b"
    assert asked_as(endpoint, "10.0.0.5", mac_of("10.0.0.5")).json()["name"] == "a"


@pytest.mark.parametrize(
    ("address", "mac"),
    [
        pytest.param("10.0.0.5", mac_of("10.0.0.6"), id="address-of-another-without-a-pair"),
        pytest.param("10.0.0.6", mac_of("10.0.0.5"), id="mac-of-another"),
        pytest.param("10.0.0.5", "fa:16:3e:99:99:99", id="unknown-mac"),
    ],
)
def test_mac_and_address_of_two_ports_are_nobody_s(address: str, mac: str) -> None:
    endpoint = Endpoint(app(FakeServer([vm("a"), holder()])), BLUE)
    assert asked_as(endpoint, address, mac).status_code == 404


def test_what_two_ports_may_send_is_neither_s() -> None:
    pair = AddressPair(IPv4Network("10.0.0.5"), mac_of("10.0.0.5"))
    endpoint = Endpoint(app(FakeServer([vm("a"), holder(pair)])), BLUE)
    assert asked_as(endpoint, "10.0.0.5", mac_of("10.0.0.5")).status_code == 404
    assert asked_as(endpoint, "10.0.0.6", mac_of("10.0.0.6")).json()["name"] == "b"


def test_a_pair_has_its_own_mac_and_address_together() -> None:
    other = "fa:16:3e:77:77:77"
    endpoint = Endpoint(
        app(FakeServer([holder(AddressPair(IPv4Network("10.0.0.130"), other))])), BLUE
    )
    assert asked_as(endpoint, "10.0.0.130", other).json()["name"] == "b"
    assert asked_as(endpoint, "10.0.0.6", other).status_code == 404
    assert asked_as(endpoint, "10.0.0.130", mac_of("10.0.0.6")).status_code == 404


def test_a_port_without_port_security_has_its_own_address_alone() -> None:
    facts = holder(AddressPair(IPv4Network("10.0.0.5")))
    lax = replace(facts, port=replace(facts.port, port_security_enabled=False))
    endpoint = Endpoint(app(FakeServer([vm("a"), lax])), BLUE)
    assert asked_as(endpoint, "10.0.0.5", mac_of("10.0.0.6")).status_code == 404
    assert asked_as(endpoint, "10.0.0.6", mac_of("10.0.0.6")).json()["name"] == "b"


def test_an_address_that_the_server_gave_to_another_port_since_is_nobody_s() -> None:
    server = FakeServer([vm("a")])
    known = server.view()
    server.vms = [vm("new")]
    service = app(server)
    service.backend._ports = Ports(lambda: known)
    assert ask(Endpoint(service, BLUE), NAME).status_code == 404


def test_x_instance_id_is_ignored_and_said_once() -> None:
    with capture_logs() as logs:
        endpoint = Endpoint(app(FakeServer([vm("a"), vm("b", "red")])), BLUE)
        for _ in range(3):
            answer = ask(endpoint, NAME, headers=[("X-Instance-ID", "vm-b")])
            assert answer.json()["uuid"] == "vm-a"
    assert [entry["event"] for entry in logs] == ["x-instance-id ignored"]


def test_password_is_set_once_and_told_at_once() -> None:
    endpoint = Endpoint(app(FakeServer([vm("a")])), BLUE)
    assert ask(endpoint, PASSWORD).text == ""
    assert ask(endpoint, PASSWORD, "POST", body=b"c2VjcmV0").status_code == 200
    assert ask(endpoint, PASSWORD).text == "c2VjcmV0"
    assert ask(endpoint, PASSWORD, "POST", body=b"other").status_code == 409
    assert ask(endpoint, PASSWORD).text == "c2VjcmV0"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * 1020, 200),
        (b"x" * 1021, 400),
        ([b"x" * 600, b"x" * 600], 400),
        ([b"x" * 600, b"x" * 420], 200),
        (b"\xff\xfe", 400),
        (b"", 400),
    ],
)
def test_password_has_a_size_and_is_text(body: bytes | list[bytes], status: int) -> None:
    server = FakeServer([vm("a")])
    answer = ask(Endpoint(app(server), BLUE), PASSWORD, "POST", body=body)
    assert answer.status_code == status
    instance = server.vms[0].instance
    assert instance is not None
    assert bool(instance.password) is (status == 200)


def test_password_of_a_vm_without_a_row_is_404() -> None:
    server = FakeServer([replace(vm("a"), instance=None)])
    answer = ask(Endpoint(app(server), BLUE), PASSWORD, "POST", body=b"secret")
    assert answer.status_code == 404
    assert "instance row" in answer.text


def test_password_while_the_server_is_away_is_500_and_reading_goes_on() -> None:
    server = FakeServer([vm("a")])
    endpoint = Endpoint(app(server), BLUE)
    name_told(endpoint)
    server.away = True
    assert ask(endpoint, PASSWORD, "POST", body=b"secret").status_code == 500
    assert name_told(endpoint) == "a"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", NAME, "GET, HEAD"),
        ("PUT", "/latest/api", "GET, HEAD"),
        ("GET", "/latest/api/token", "PUT"),
        ("DELETE", PASSWORD, "GET, HEAD, POST"),
        ("POST", "/openstack/2012-08-10/password", "GET, HEAD"),
    ],
)
def test_other_methods_are_405(method: str, path: str, allowed: str) -> None:
    answer = ask(Endpoint(app(FakeServer([vm("a")])), BLUE), path, method)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


LIFE = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "/latest/api/token"


def test_a_token_is_handed_out_and_taken() -> None:
    endpoint = Endpoint(app(FakeServer([vm("a")])), BLUE)
    answers = [ask(endpoint, TOKEN, "PUT", headers=[(LIFE, "21600")]) for _ in range(2)]
    assert [(one.status_code, one.headers[LIFE]) for one in answers] == [(200, "21600")] * 2
    first, second = (one.text for one in answers)
    assert first != second
    assert first.isprintable()
    for token in (first, "of another host"):
        told = ask(endpoint, NAME, headers=[("X-aws-ec2-metadata-token", token)])
        assert told.json()["name"] == "a"


@pytest.mark.parametrize("life", [None, "", "0", "21601", "-1", "x", "9" * 5000])
def test_a_token_is_asked_for_by_its_life(life: str | None) -> None:
    endpoint = Endpoint(app(FakeServer([vm("a")])), BLUE)
    answer = ask(endpoint, TOKEN, "PUT", headers=[] if life is None else [(LIFE, life)])
    assert answer.status_code == 400
    assert "21600" in answer.text


def test_who_is_no_vm_gets_no_token() -> None:
    endpoint = Endpoint(app(FakeServer([vm("a")])), BLUE)
    answer = ask(endpoint, TOKEN, "PUT", headers=[(LIFE, "60")], client="10.0.0.6")
    assert answer.status_code == 404


def test_what_can_not_be_told_is_500_and_does_not_fill_the_log() -> None:
    facts = vm("a")
    assert facts.instance is not None
    broken = replace(facts, instance=replace(facts.instance, user_data="a"))
    with capture_logs() as logs:
        endpoint = Endpoint(app(FakeServer([broken])), BLUE)
        for _ in range(3):
            assert ask(endpoint, "/openstack/latest/user_data").status_code == 500
    assert len(logs) == 1
    assert "not base64" in logs[0]["error"]
    assert name_told(endpoint) == "a"


def test_random_seed_is_new_every_time() -> None:
    endpoint = Endpoint(app(FakeServer([vm("a")])), BLUE)
    assert len({ask(endpoint, NAME).json()["random_seed"] for _ in range(3)}) == 3
