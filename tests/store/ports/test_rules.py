from __future__ import annotations

import threading
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any, cast

import pytest
from sqlalchemy import event

from lessor.errors import Conflict, Exhausted, Invalid, LessorError, NotFound, Unavailable
from lessor.model import AddressPair, AddressState, DhcpOption
from lessor.store.addresses import states
from lessor.store.query import Query
from lessor.store.values import FixedIpRequest
from tests.store.store_cloud import SQLITE, Cloud, by, ip_of, ips_of, shared_with

ANY = FixedIpRequest()


def at(address: str, subnet_id: str | None = None) -> FixedIpRequest:
    return FixedIpRequest(subnet_id, IPv4Address(address))


def test_a_port_reads_back_as_it_was_made(cloud: Cloud) -> None:
    cloud.host("h1")
    cloud.report("h1", physical_networks=("physnet1",))
    made = cloud.port(
        cloud.network(),
        "h1",
        name="vm1",
        mac_address="FA:16:3E:00:00:0A",
        device_id="i1",
        device_owner="compute:nova",
        binding_profile={"a": "b", "capabilities": ["switchdev"], "deep": {"n": 1, "no": None}},
        allowed_address_pairs=(AddressPair(IPv4Network("10.9.0.0/24"), "FA:16:3E:00:00:0B"),),
        extra_dhcp_opts=(DhcpOption("mtu", "1400"),),
        dns_name="vm1",
    )
    assert cloud.store.ports.get(made.id) == made
    assert made.mac_address == "fa:16:3e:00:00:0a"
    assert made.allowed_address_pairs[0].mac == "fa:16:3e:00:00:0b"


def plan_of(cloud: Cloud, query: Query) -> list[str]:
    """Return how SQLite finds the ports that a query asks for, step by step."""
    said: list[tuple[str, Any]] = []
    event.listen(
        cloud.store._engine,
        "before_cursor_execute",
        lambda _conn, _cursor, text, values, *_: said.append((text, values)),
    )
    assert len(cloud.store.ports.find(query)) == 1
    text, values = next(one for one in said if "ports.mac_address" in one[0])
    with cloud.store._engine.connect() as conn:
        rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all()
    return [row[3] for row in rows]


@SQLITE
@pytest.mark.parametrize(
    ("name", "value", "index"),
    [
        ("name", "web", "ix_ports_name"),
        ("device_id", "vm-1", "ix_ports_device_id"),
        ("mac_address", "fa:16:3e:00:00:0a", "uq_ports_mac_address_segment"),
        ("ip_address", IPv4Address("10.0.0.77"), "ix_addresses_address"),
        ("ip_address_substr", ".0.77", "ix_addresses_address"),
        ("tags", ["blue"], "ix_tags_tag"),
    ],
)
def test_a_port_is_found_by_an_index(cloud: Cloud, name: str, value: Any, index: str) -> None:
    network = cloud.network()
    made = cloud.port(
        network,
        name="web",
        device_id="vm-1",
        mac_address="fa:16:3e:00:00:0a",
        address="10.0.0.77",
        tags=["blue"],
    )
    cloud.port(network)
    query = Query(filters={name: (value,)})
    assert cloud.store.ports.find(query) == [made]
    plan = plan_of(cloud, query)
    assert any(index in step for step in plan), plan
    assert not any(step.startswith("SCAN ports") for step in plan), plan


@SQLITE
def test_ports_of_no_device_are_found_too(cloud: Cloud) -> None:
    network = cloud.network()
    made = cloud.port(network, device_id="vm-1")
    none = cloud.port(network)
    assert cloud.store.ports.find(Query(filters={"device_id": ("",)})) == [none]
    both = cloud.store.ports.find(Query(filters={"device_id": ("", "vm-1")}))
    assert {port.id for port in both} == {made.id, none.id}


def test_a_mac_is_made_from_the_base(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(base_mac="fa:16:3e:4f:00:00")
    assert cloud.port(cloud.network()).mac_address.startswith("fa:16:3e:4f:")


def test_when_no_mac_is_free_it_is_said(
    make_cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = make_cloud()
    network = cloud.network()
    monkeypatch.setattr("secrets.randbelow", lambda _: 7)
    cloud.port(network)
    with pytest.raises(Unavailable, match="no free MAC") as caught:
        cloud.port(network)
    assert caught.value.type == "MacAddressGenerationFailure"


def test_a_network_that_is_shared_no_more_gets_no_port_of_the_project(cloud: Cloud) -> None:
    """The policy may go between the look of who asks and the writing."""
    network = cloud.network(project_id="p1")
    policy = shared_with(cloud, "network", network.id, "p2")
    theirs = {"project_id": "p2", "acts_for": "p2"}
    cloud.store.ports.delete(cloud.port(network, **theirs).id)

    cloud.store.rbac_policies.delete(policy.id)

    with pytest.raises(NotFound, match=f"no network {network.id}"):
        cloud.port(network, **theirs)
    assert cloud.port(network, project_id="p2").project_id == "p2"  # by who acts for any
    assert cloud.port(network, project_id="p1", acts_for="p1").project_id == "p1"


def test_a_mac_is_unique_on_its_wire(cloud: Cloud) -> None:
    one, other = cloud.network(), cloud.network("10.1.0.0/24")
    elsewhere = cloud.network("10.0.0.0/24", physical_network="physnet2")
    first = cloud.port(one)
    for network in (one, other):
        with pytest.raises(Conflict, match=f"in use by port {first.id}") as caught:
            cloud.port(network, mac_address=first.mac_address)
        assert caught.value.type == "MacAddressInUse"
    assert cloud.port(elsewhere, mac_address=first.mac_address)


# --- bad input: nothing of it is done -------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "name", "words"),
    [
        pytest.param({"address": "10.9.0.5"}, "InvalidIpForNetwork", "10.0.0.0/28", id="outside"),
        pytest.param({"address": "10.0.0.1"}, "IpAddressInUse", "reserved", id="gateway"),
        pytest.param({"address": "10.0.0.15"}, "IpAddressInUse", "broadcast", id="broadcast"),
        pytest.param({"address": "10.0.0.9"}, "IpAddressInUse", "operator", id="reserved"),
        pytest.param({"address": "10.0.0.2"}, "IpAddressInUse", "by port", id="in-use"),
        pytest.param({"mac_address": "fa:16:3e"}, "InvalidInput", "six octets", id="mac"),
        pytest.param({"host": "no host"}, "InvalidInput", "can't be a host's name", id="host"),
        pytest.param({"dns_name": "a\nb"}, "InvalidInput", "dns_name", id="dns-newline"),
        pytest.param(
            {"extra_dhcp_opts": [DhcpOption("mtu", "1\n2")]}, "InvalidInput", "newline", id="option"
        ),
        pytest.param(
            {"fixed_ips": [FixedIpRequest("nosuch")]},
            "InvalidIpForNetwork",
            "no subnet nosuch",
            id="subnet",
        ),
        pytest.param({"fixed_ips": [ANY] * 17}, "InvalidInput", "most is 16", id="17-addresses"),
        pytest.param(
            {"fixed_ips": [at("10.0.0.5"), at("10.0.0.5")]}, "IpAddressInUse", "in use", id="twice"
        ),
    ],
)
def test_a_bad_port_is_refused_and_leaves_nothing(
    cloud: Cloud, values: dict[str, Any], name: str, words: str
) -> None:
    network = cloud.network("10.0.0.0/28")
    cloud.port(network)
    cloud.store.write(states.reserve, network.id, IPv4Address("10.0.0.9"))
    before = cloud.store.ports.find(), cloud.store.read(states.find)
    with pytest.raises(LessorError, match=words) as caught:
        cloud.port(network, **values)
    assert caught.value.type == name
    assert (cloud.store.ports.find(), cloud.store.read(states.find)) == before


def test_an_address_outside_the_named_subnet_is_refused(cloud: Cloud) -> None:
    network = cloud.network()
    other = cloud.subnet(network, "10.0.1.0/24")
    with pytest.raises(Invalid, match=r"not in subnet .* 10\.0\.1\.0/24") as caught:
        cloud.port(network, fixed_ips=(at("10.0.0.5", other.id),))
    assert caught.value.type == "InvalidIpForSubnet"


def test_a_port_on_no_network_is_refused(cloud: Cloud) -> None:
    with pytest.raises(NotFound) as caught:
        cloud.store.ports.create([{"network_id": "nosuch"}])
    assert caught.value.type == "NetworkNotFound"


def test_bulk_creation_is_all_or_nothing(cloud: Cloud) -> None:
    network = cloud.network("10.0.0.0/29")
    with pytest.raises(Exhausted, match=r"subnet 10\.0\.0\.0/29 has no free address: 5 of 5"):
        cloud.store.ports.create([{"network_id": network.id}] * 6)
    assert cloud.store.ports.find() == []
    assert len(cloud.store.ports.create([{"network_id": network.id}] * 5)) == 5


def test_ports_made_together_are_in_the_order_given(cloud: Cloud) -> None:
    network = cloud.network()
    wanted = [{"network_id": network.id, "name": f"{n}"} for n in range(9)]
    cloud.store.ports.create(cast(Any, wanted))
    found = cloud.store.ports.find(Query(sort=(("created_at", False),)))
    assert [port.name for port in found] == [f"{n}" for n in range(9)]


def test_the_quota_of_a_project_is_kept(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(fixed_ips_quota=2)
    network = cloud.network()
    port = cloud.port(network, project_id="p")
    cloud.port(network, project_id="p")
    for _ in range(2):
        with pytest.raises(Conflict, match="2 of 2") as caught:
            cloud.port(network, project_id="p")
        assert caught.value.type == "OverQuota"
    assert cloud.port(network, project_id="other")
    cloud.store.ports.delete(port.id)
    assert cloud.port(network, project_id="p")


# --- choosing addresses ---------------------------------------------------------------------------


def test_the_next_subnet_is_taken_when_the_first_is_full(cloud: Cloud) -> None:
    network = cloud.network("10.0.0.0/30")
    cloud.clock.now += 1
    cloud.subnet(network, "10.0.1.0/30")
    found = [ips_of(cloud.port(network)) for _ in range(2)]
    assert found == [["10.0.0.2"], ["10.0.1.2"]]


def test_a_port_may_have_no_address_or_several(cloud: Cloud) -> None:
    network = cloud.network()
    assert cloud.port(network, fixed_ips=()).fixed_ips == ()
    assert cloud.port(cloud.network(None)).fixed_ips == ()
    several = cloud.port(network, fixed_ips=(at("10.0.0.9"), ANY))
    assert ips_of(cloud.store.ports.get(several.id)) == ["10.0.0.9", "10.0.0.2"]


@pytest.mark.parametrize("cidr", ["10.0.0.0/28", "10.0.0.0/8"])
def test_freed_addresses_come_again_in_the_order_they_were_freed(cloud: Cloud, cidr: str) -> None:
    """A7.2, D3.3: never used ones first, then the least recently used."""
    network = cloud.network(cidr)
    subnet = cloud.subnet_of(network)
    pool = [subnet.pools[0].__class__(IPv4Address("10.0.0.2"), IPv4Address("10.0.0.7"))]
    cloud.store.subnets.update(subnet.id, {"pools": pool})
    ports = [cloud.port(network) for _ in range(4)]
    for n in (2, 0, 3):
        cloud.store.ports.delete(ports[n].id)
    found = [ips_of(cloud.port(network))[0] for _ in range(5)]
    assert found == [f"10.0.0.{n}" for n in (6, 7, 4, 2, 5)]


def test_a_slash_8_costs_a_row_for_each_address_used(cloud: Cloud) -> None:
    network = cloud.network("10.0.0.0/8")
    cloud.port(network)
    cloud.port(network, address="10.200.0.1")
    assert len(cloud.store.read(states.find)) == 3 + 2


def test_choice_steps_over_a_run_of_requested_addresses(cloud: Cloud) -> None:
    network = cloud.network()
    for n in range(2, 30):
        cloud.port(network, address=f"10.0.0.{n}")
    assert ips_of(cloud.port(network)) == ["10.0.0.30"]


def test_eight_threads_fill_a_subnet_without_a_double_or_a_gap(cloud: Cloud) -> None:
    network = cloud.network("10.0.0.0/26")
    refused: list[LessorError] = []

    def fill() -> None:
        try:
            while True:
                cloud.port(network)
        except LessorError as error:
            refused.append(error)

    threads = [threading.Thread(target=fill) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    found = sorted(ip_of(port) for port in cloud.store.ports.find())
    assert found == list(IPv4Network("10.0.0.0/26").hosts())[1:]
    assert {error.type for error in refused} == {"IpAddressGenerationFailure"}


def test_eight_threads_that_want_one_address_get_it_once(cloud: Cloud) -> None:
    network, results = cloud.network(), list[str]()

    def want() -> None:
        try:
            results.append(cloud.port(network, address="10.0.0.9").id)
        except Conflict as error:
            results.append(error.type)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results.count("IpAddressInUse") == 7


def test_churn_in_eight_threads_loses_no_address(cloud: Cloud) -> None:
    network = cloud.network("10.0.0.0/28")

    def churn() -> None:
        for _ in range(25):
            cloud.store.ports.delete(cloud.port(network).id)

    threads = [threading.Thread(target=churn) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len([cloud.port(network) for _ in range(13)]) == 13


# --- changes --------------------------------------------------------------------------------------


def test_an_update_keeps_the_addresses_that_stay(cloud: Cloud) -> None:
    network = cloud.network()
    subnet = cloud.subnet_of(network)
    port = cloud.port(network, fixed_ips=(at("10.0.0.9"), at("10.0.0.10")))
    wanted = (FixedIpRequest(subnet.id), at("10.0.0.10"), at("10.0.0.20"))
    after = cloud.store.ports.update(port.id, {"fixed_ips": wanted})
    assert ips_of(after) == ["10.0.0.9", "10.0.0.10", "10.0.0.20"]
    after = cloud.store.ports.update(port.id, {"fixed_ips": (at("10.0.0.20"),)})
    assert ips_of(after) == ["10.0.0.20"]
    assert cloud.state(network, "10.0.0.9") is AddressState.FREE


def test_a_refused_update_changes_nothing(cloud: Cloud) -> None:
    network = cloud.network()
    port, other = cloud.port(network), cloud.port(network)
    wanted = (FixedIpRequest(address=ip_of(other)),)
    with pytest.raises(Conflict):
        cloud.store.ports.update(port.id, {"name": "new", "fixed_ips": wanted})
    assert cloud.store.ports.get(port.id) == port


def test_an_update_to_the_same_is_none(cloud: Cloud) -> None:
    port = cloud.port(cloud.network(), name="a")
    wanted = (FixedIpRequest(address=ip_of(port)),)
    assert cloud.store.ports.update(port.id, {"name": "a", "fixed_ips": wanted}) == port


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"binding_host": "no host"}, "InvalidInput"),
        ({"network_id": "another"}, "InvalidInput"),
        ({"mac_address": "01:00:5e:00:00:01"}, "InvalidInput"),
        ({"extra_dhcp_opts": [DhcpOption("mtu", "1\n")]}, "InvalidInput"),
    ],
)
def test_bad_updates_are_refused(cloud: Cloud, values: Any, name: str) -> None:
    port = cloud.port(cloud.network())
    with pytest.raises(LessorError) as caught:
        cloud.store.ports.update(port.id, values)
    assert caught.value.type == name
    assert cloud.store.ports.get(port.id) == port


def test_a_mac_in_use_is_refused_in_an_update(cloud: Cloud) -> None:
    network = cloud.network()
    port, other = cloud.port(network), cloud.port(network)
    with pytest.raises(Conflict) as caught:
        cloud.store.ports.update(port.id, {"mac_address": other.mac_address})
    assert caught.value.type == "MacAddressInUse"


def test_an_active_port_keeps_its_mac(cloud: Cloud) -> None:
    cloud.host("h1")
    port = cloud.port(cloud.network(host="h1"), "h1")
    cloud.wire("h1", port, wired=True, served=True)
    with pytest.raises(Conflict, match="ACTIVE"):
        cloud.store.ports.update(port.id, {"mac_address": "fa:16:3e:00:00:01"})


# --- status ---------------------------------------------------------------------------------------


def test_a_port_is_active_when_all_have_said_so(cloud: Cloud) -> None:
    cloud.host("net")
    cloud.host("h1")
    port = cloud.port(cloud.network(host="net"), "h1")
    assert port.status == "DOWN"
    cloud.wire("h1", port, wired=True)
    assert cloud.store.ports.get(port.id).status == "BUILD"
    cloud.wire("net", port, served=False, pending="dnsmasq is starting")
    assert cloud.store.ports.get(port.id).pending == "dnsmasq is starting"
    cloud.wire("net", port, served=True)
    ready = cloud.store.ports.get(port.id)
    assert (ready.status, ready.pending, ready.revision) == ("ACTIVE", "", port.revision)
    assert cloud.store.ports.find(by(status="ACTIVE")) == [ready]


def test_without_dhcp_wired_is_enough(cloud: Cloud) -> None:
    cloud.host("h1")
    network = cloud.network(None, host="h1")
    cloud.subnet(network, "10.0.0.0/24", enable_dhcp=False)
    port = cloud.port(network, "h1")
    cloud.wire("h1", port, wired=True)
    assert cloud.store.ports.get(port.id).status == "ACTIVE"


@pytest.mark.parametrize(
    "values",
    [
        {"binding_host": "h2"},
        {"binding_host": None},
        {"fixed_ips": (at("10.0.0.77"),)},
        {"admin_state_up": False},
    ],
)
def test_what_changes_a_port_takes_its_status_back(cloud: Cloud, values: Any) -> None:
    cloud.host("h1")
    cloud.host("h2")
    port = cloud.port(cloud.network(host="h1"), "h1")
    cloud.wire("h1", port, wired=True, served=True)
    assert cloud.store.ports.update(port.id, values).status == "DOWN"


def test_a_new_network_host_has_to_say_that_it_serves(cloud: Cloud) -> None:
    for name in ("h1", "h2"):
        cloud.host(name)
    network = cloud.network(host="h1")
    port = cloud.port(network, "h1")
    cloud.wire("h1", port, wired=True, served=True)
    cloud.store.networks.update(network.id, {"host": "h2"})
    assert cloud.store.ports.get(port.id).status == "BUILD"
    cloud.wire("h2", port, served=True)
    assert cloud.store.ports.get(port.id).status == "ACTIVE"


def test_what_was_said_of_an_older_row_does_not_count(cloud: Cloud) -> None:
    cloud.host("h1")
    port = cloud.port(cloud.network(host="h1"), "h1")
    cloud.store.ports.update(port.id, {"fixed_ips": (at("10.0.0.77"),)})
    cloud.wire("h1", port, revision=port.revision, wired=True, served=True)
    assert cloud.store.ports.get(port.id).status == "DOWN"


def test_only_the_hosts_concerned_can_say_it(cloud: Cloud) -> None:
    for name in ("h1", "h2", "net"):
        cloud.host(name)
    port = cloud.port(cloud.network(host="net"), "h1")
    cloud.wire("h2", port, wired=True, served=True)
    cloud.wire("h1", port, wired=True, served=True)
    assert cloud.store.ports.get(port.id).status == "BUILD"


# --- lists ----------------------------------------------------------------------------------------


def test_ports_are_found_by_their_fields_and_addresses(cloud: Cloud) -> None:
    network = cloud.network()
    a = cloud.port(network, name="a", address="10.0.0.77")
    b = cloud.port(network, name="b", device_id="i1", address="10.0.0.8")
    subnet = cloud.subnet_of(network)
    find = cloud.store.ports.find
    assert find(by(name="a")) == [a]
    assert find(Query(filters={"name": ("a", "b")}, sort=(("name", True),))) == [b, a]
    assert find(by(device_id="i1")) == [b]
    assert find(by(ip_address=IPv4Address("10.0.0.77"))) == [a]
    assert find(by(ip_address_substr="0.77")) == [a]
    assert find(by(ip_address_substr="0_77")) == []
    assert len(find(by(subnet_id=subnet.id))) == 2
    assert find(by(name="c")) == []
    assert find(by(revision=1 << 99)) == []
    assert find(Query(filters={"name": ()})) == []
    assert len(find(by(binding_host=None))) == 2
    with pytest.raises(Invalid, match="filtered by 'colour'"):
        find(by(colour="blue"))


@pytest.mark.parametrize("sort", [(), (("name", False),), (("binding_host", True), ("name", True))])
def test_pages_joined_are_the_whole_list(cloud: Cloud, sort: tuple[tuple[str, bool], ...]) -> None:
    cloud.host("h1")
    network = cloud.network()
    for n in range(10):
        cloud.port(network, "h1" if n % 3 else None, name=f"{n % 4}")
    whole = [port.id for port in cloud.store.ports.find(Query(sort=sort))]
    pages, marker = list[str](), None
    while page := cloud.store.ports.find(Query(sort=sort, limit=3, marker=marker)):
        pages += [port.id for port in page]
        marker = page[-1].id
    assert pages == whole
    back = cloud.store.ports.find(Query(sort=sort, limit=3, marker=whole[7], page_reverse=True))
    assert [port.id for port in back] == whole[4:7]


def test_a_marker_that_is_gone_is_said(cloud: Cloud) -> None:
    with pytest.raises(NotFound, match="to go on from"):
        cloud.store.ports.find(Query(limit=3, marker="nosuch"))


def test_a_list_of_a_thousand_ports_is_two_statements(cloud: Cloud) -> None:
    network = cloud.network("10.0.0.0/20")
    cloud.store.ports.create([{"network_id": network.id}] * 1000)
    said: list[str] = []
    event.listen(
        cloud.store._engine, "before_cursor_execute", lambda *args: said.append(str(args[2]))
    )
    assert len(cloud.store.ports.find()) == 1000
    assert len([text for text in said if text.startswith("SELECT")]) == 2


def test_a_port_more_in_a_request_is_two_statements_more(cloud: Cloud) -> None:
    """Its row and its address's: the pool's pointer and revisions are written for all at once."""
    network = cloud.network("10.0.0.0/20")
    said: list[str] = []
    event.listen(
        cloud.store._engine, "before_cursor_execute", lambda *args: said.append(str(args[2]))
    )

    def statements(ports: int) -> int:
        said.clear()
        cloud.store.ports.create([{"network_id": network.id}] * ports)
        return len([text for text in said if text.startswith(("INSERT", "UPDATE", "SELECT"))])

    assert statements(60) - statements(50) == 20
    fresh = [ip_of(port) for port in cloud.store.ports.find(by(network_id=network.id))]
    assert ip_of(cloud.port(network)) == max(fresh) + 1
