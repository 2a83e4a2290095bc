"""Allowed address pairs of projects never overlap addresses of other projects."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any, cast

import pytest

from lessor.errors import Conflict, Exhausted, Forbidden, InUse, LessorError
from lessor.model import DHCP_OWNER, AddressPair, HostBlock, Network, Pool, Port
from lessor.store.addresses import states
from lessor.store.tables import address_pairs, addresses
from lessor.store.values import FixedIpRequest
from tests.store.store_cloud import Cloud, ips_of

HER, HIS = "p1", "p2"
LAN = HostBlock(cidr=IPv4Network("10.0.0.0/24"), what="network", physical_network="physnet1")


def pair(block: str, mac: str | None = None) -> AddressPair:
    return AddressPair(IPv4Network(block), mac)


def flat(cloud: Cloud, cidr: str = "10.0.0.0/24", **values: Any) -> Network:
    return cloud.network(
        cidr, **{"project_id": HER, "network_type": "flat", "shared": True, **values}
    )


def vxlan(cloud: Cloud, **values: Any) -> Network:
    cloud.host("h1", network_host=True)
    cloud.report("h1", network_host=True, local_ip=IPv4Address("192.0.2.1"))
    values = {"project_id": HER, "network_type": "vxlan", "shared": True, **values}
    network = cloud.network("10.0.0.0/24", **values)
    cloud.port(network, "h1", project_id=HER)  # the DHCP server comes to where a host is
    return network


def hers(cloud: Cloud, network: Network, *blocks: str, **values: Any) -> Port:
    """Make a port by a member of the network's project."""
    pairs = tuple(pair(block) for block in blocks)
    known = {"project_id": HER, "acts_for": HER, "allowed_address_pairs": pairs}
    return cloud.port(network, **{**known, **values})


def his(cloud: Cloud, network: Network, **values: Any) -> Port:
    return cloud.port(network, **{"project_id": HIS, "acts_for": HIS, **values})


def changed(cloud: Cloud, port: Port, acts_for: str | None = HER, **values: Any) -> Port:
    told = {} if acts_for is None else {"acts_for": acts_for}
    return cloud.store.ports.update(port.id, cast(Any, values | told))


# --- what a project may not give ------------------------------------------------------------------

FLAT: list[tuple[AddressPair, type[LessorError] | None, str]] = [
    (pair("10.0.0.5"), Conflict, r"10\.0\.0\.5 is port"),
    (pair("10.0.0.4/31"), Conflict, r"10\.0\.0\.5 is port"),
    (pair("10.0.0.1"), Conflict, r"10\.0\.0\.1 is the gateway's"),
    (pair("10.0.0.0/24"), Conflict, r"10\.0\.0\.1 is the gateway's"),
    (pair("10.0.0.77"), Conflict, r"10\.0\.0\.77 is reserved"),
    (pair("10.1.0.2"), Forbidden, "outside of its subnets, which are 10.0.0.0/24"),
    (pair("0.0.0.0/0"), Forbidden, "shorter than /24"),
    (pair("10.0.0.0/23"), Forbidden, "shorter than /24"),
    (pair("10.0.0.50", "fa:16:3e:00:00:99"), Forbidden, "leave mac_address out"),
    (pair("10.0.0.50"), None, ""),
    (pair("10.0.0.48/28"), None, ""),
    (pair("10.0.0.50", "fa:16:3e:00:00:0a"), None, ""),
]


@pytest.mark.parametrize(("given", "error", "why"), FLAT)
@pytest.mark.parametrize("created", [True, False])
def test_a_project_gives_pairs_of_its_own_flat_subnets_alone(
    cloud: Cloud, given: AddressPair, error: type[LessorError] | None, why: str, *, created: bool
) -> None:
    network = flat(cloud)
    flat(cloud, "10.1.0.0/24", project_id=HIS)
    his(cloud, network, address="10.0.0.5")
    cloud.store.write(states.reserve, network.id, IPv4Address("10.0.0.77"))

    def give(**told: Any) -> Port:
        values = {"allowed_address_pairs": (given,), **told}
        if created:
            return cloud.port(network, project_id=HER, mac_address="fa:16:3e:00:00:0a", **values)
        port = cloud.port(network, project_id=HER, mac_address="fa:16:3e:00:00:0a")
        return cloud.store.ports.update(port.id, cast(Any, values))

    if error is None:
        assert give(acts_for=HER).allowed_address_pairs == (given,)
        return
    with pytest.raises(error, match=why):
        give(acts_for=HER)
    for port in cloud.store.ports.find():
        assert port.allowed_address_pairs == ()
        if port.mac_address == "fa:16:3e:00:00:0a":
            cloud.store.ports.delete(port.id)
    assert give().allowed_address_pairs == (given,)  # an administrator


@pytest.mark.parametrize("kind", ["flat", "vxlan"])
def test_a_guest_of_a_network_gives_no_pair_there(cloud: Cloud, kind: str) -> None:
    network = flat(cloud) if kind == "flat" else vxlan(cloud)
    with pytest.raises(Forbidden, match="another project's"):
        his(cloud, network, allowed_address_pairs=(pair("10.0.0.50"),))
    port = his(cloud, network)
    with pytest.raises(Forbidden, match="another project's"):
        changed(cloud, port, HIS, allowed_address_pairs=(pair("10.0.0.50"),))


def test_a_pair_for_an_address_on_another_network_of_the_wire_is_refused(cloud: Cloud) -> None:
    """Subnets of one wire don't overlap now; a database may have some of before that was so."""
    network, other = flat(cloud), flat(cloud, "10.1.0.0/24", project_id=HIS)
    port = his(cloud, other, address="10.1.0.5")
    here = addresses.c.port_id == port.id
    with cloud.store._engine.begin() as conn:
        conn.execute(addresses.update().where(here), {"address": IPv4Address("10.0.0.5")})
    with pytest.raises(Conflict, match="of another project") as caught:
        hers(cloud, network, "10.0.0.5")
    assert port.id not in str(caught.value)


def test_in_a_hosts_lan_a_project_has_addresses_of_the_pools_alone(cloud: Cloud) -> None:
    cloud.host("h1", network_host=True)
    cloud.report("h1", network_host=True, physical_networks=("physnet1",), blocks=(LAN,))
    network = flat(cloud, "10.1.0.0/24")
    pools = (Pool(IPv4Address("10.0.0.100"), IPv4Address("10.0.0.200")),)
    cloud.subnet(network, "10.0.0.0/24", pools=pools)
    for block in ("10.0.0.50", "10.0.0.96/28"):
        with pytest.raises(Conflict, match="in no allocation pool"):
            hers(cloud, network, block)
    with pytest.raises(Conflict, match="in no allocation pool"):
        hers(cloud, network, address="10.0.0.50")
    with pytest.raises(Conflict, match="in no allocation pool"):
        changed(
            cloud, hers(cloud, network), fixed_ips=(FixedIpRequest(None, IPv4Address("10.0.0.50")),)
        )
    hers(cloud, network, "10.0.0.112/28", address="10.0.0.150")
    cloud.port(network, project_id=HER, address="10.0.0.50")  # an administrator


def test_the_shortest_prefix_is_a_setting(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(min_pair_prefixlen=32)
    with pytest.raises(Forbidden, match="min_pair_prefixlen"):
        hers(cloud, flat(cloud), "10.0.0.48/31")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("0.0.0.0/0", ""),
        ("10.233.0.0/16", ""),
        ("10.0.0.1", ""),  # no host is the gateway: a VM may be
        ("10.0.0.50 00:00:5e:00:01:07", ""),
        ("{server}", "is a DHCP server's"),
        ("10.0.0.50 {mac}", "MAC .* is port .*'s"),
    ],
)
def test_on_its_own_vxlan_network_a_project_gives_what_is_nobody_elses(
    cloud: Cloud, given: str, why: str
) -> None:
    network = vxlan(cloud)
    server = next(p for p in cloud.store.ports.find() if p.device_owner == DHCP_OWNER)
    block, _, mac = given.format(server=ips_of(server)[0], mac=server.mac_address).partition(" ")
    if not why:
        hers(cloud, network, allowed_address_pairs=(pair(block, mac or None),))
        return
    with pytest.raises(Conflict, match=why):
        hers(cloud, network, allowed_address_pairs=(pair(block, mac or None),))


def test_no_pair_on_a_vxlan_network_has_a_guests_address_or_mac(cloud: Cloud) -> None:
    network = vxlan(cloud)
    guest = his(cloud, network, address="10.0.0.9")
    for given in (pair("0.0.0.0/0"), pair("10.0.0.9"), pair("10.9.0.0/24", guest.mac_address)):
        with pytest.raises(Conflict, match=guest.id):  # she sees the ports of her network
            hers(cloud, network, allowed_address_pairs=(given,))


def test_what_an_administrator_gave_stays_when_a_project_repeats_it(cloud: Cloud) -> None:
    given = (pair("10.9.0.0/16", "fa:16:3e:00:00:99"), pair("10.9.0.1"))
    port = cloud.port(flat(cloud), project_id=HER, allowed_address_pairs=given)
    said = (given[0], pair("10.9.0.1", port.mac_address), pair("10.0.0.50"))
    assert changed(cloud, port, allowed_address_pairs=said).allowed_address_pairs == said
    with pytest.raises(Forbidden):
        changed(cloud, port, allowed_address_pairs=(*said, pair("10.9.0.2")))


# --- whom they keep out ---------------------------------------------------------------------------


def test_no_port_of_another_project_gets_the_mac_of_a_pair(cloud: Cloud) -> None:
    mac, network = "02:00:00:00:00:99", vxlan(cloud)
    holder = hers(cloud, network, allowed_address_pairs=(pair("10.9.0.1", mac),))
    guest = his(cloud, network)
    gives: list[Callable[[], Port]] = [
        lambda: his(cloud, network, mac_address=mac),
        lambda: changed(cloud, guest, HIS, mac_address=mac),
    ]
    for give in gives:
        with pytest.raises(Conflict, match=f"MAC {mac} .*allowed address pair") as caught:
            give()
        assert holder.id not in str(caught.value)
    assert hers(cloud, network, mac_address=mac).mac_address == mac
    other = cloud.network("10.0.0.0/24", project_id=HIS, network_type="vxlan")
    assert his(cloud, other, mac_address=mac).mac_address == mac


def test_no_port_of_another_project_gets_an_address_of_a_pair(cloud: Cloud) -> None:
    network = flat(cloud)
    holder = hers(cloud, network, "10.0.0.3/32", "10.0.0.4/31", address="10.0.0.9")
    for address in ("10.0.0.3", "10.0.0.5"):
        with pytest.raises(Conflict, match="allowed address pair") as caught:
            his(cloud, network, address=address)
        assert holder.id not in str(caught.value)
        with pytest.raises(Conflict, match=holder.id):  # an administrator, for him
            cloud.port(network, project_id=HIS, address=address)
    found = [*ips_of(his(cloud, network)), *ips_of(his(cloud, network))]
    assert found == ["10.0.0.2", "10.0.0.6"]
    several = cloud.store.ports.create(
        [{"network_id": network.id, "project_id": HIS, "acts_for": HIS}] * 4
    )
    assert [ips_of(port) for port in several] == [
        ["10.0.0.7"], ["10.0.0.8"], ["10.0.0.10"], ["10.0.0.11"],
    ]  # fmt: skip
    assert ips_of(hers(cloud, network)) == ["10.0.0.3"]
    changed(cloud, holder, allowed_address_pairs=())
    assert ips_of(his(cloud, network)) == ["10.0.0.4"]
    assert ips_of(his(cloud, network, address="10.0.0.5")) == ["10.0.0.5"]


def test_an_address_that_was_used_before_is_kept_for_a_pair_as_well(cloud: Cloud) -> None:
    network = flat(cloud, "10.0.0.0/29")
    used = [his(cloud, network) for _ in range(5)]
    for port in used[:2]:
        cloud.store.ports.delete(port.id)
    holder = hers(cloud, network, "10.0.0.2/32", fixed_ips=())
    assert ips_of(his(cloud, network)) == ["10.0.0.3"]
    with pytest.raises(Exhausted, match="pairs of other projects"):
        his(cloud, network)
    cloud.store.ports.delete(holder.id)
    assert ips_of(his(cloud, network)) == ["10.0.0.2"]


def test_a_pair_of_an_administrator_keeps_nobody_out(cloud: Cloud) -> None:
    network = flat(cloud)
    router = cloud.port(network, project_id="p3", allowed_address_pairs=(pair("0.0.0.0/0"),))
    assert ips_of(his(cloud, network)) == ["10.0.0.3"]
    changed(cloud, router, None, name="router")
    assert ips_of(his(cloud, network)) == ["10.0.0.4"]


def test_the_row_of_a_pair_goes_with_it_and_with_its_port(cloud: Cloud) -> None:
    network = flat(cloud)
    port = hers(cloud, network, "10.0.0.50", "10.0.0.51", "10.0.0.52")
    changed(cloud, port, name="still")
    assert rows(cloud) == ["10.0.0.50", "10.0.0.51", "10.0.0.52"]
    changed(cloud, port, None, allowed_address_pairs=(pair("10.0.0.51"), pair("10.0.0.9")))
    assert rows(cloud) == ["10.0.0.51"]  # an administrator gave the other one
    cloud.store.ports.delete(port.id)
    assert rows(cloud) == []


def rows(cloud: Cloud) -> list[str]:
    with cloud.store._engine.connect() as conn:
        found = conn.execute(address_pairs.select().order_by(address_pairs.c.first))
        return [str(row.first) for row in found]


def test_no_gateway_or_dhcp_server_is_put_on_a_pair(cloud: Cloud) -> None:
    network = flat(cloud)
    port = hers(cloud, network, "10.0.0.50")
    subnet = cloud.subnet_of(network)
    for name in ("gateway_ip", "dhcp_server"):
        with pytest.raises(Conflict, match=port.id):
            cloud.store.subnets.update(subnet.id, cast(Any, {name: IPv4Address("10.0.0.50")}))
    cloud.store.subnets.update(subnet.id, {"gateway_ip": IPv4Address("10.0.0.51")})


def test_a_flat_subnet_stays_as_long_as_pairs_lie_in_it(cloud: Cloud) -> None:
    network = flat(cloud, "10.1.0.0/24")
    subnet = cloud.subnet(network, "10.0.0.0/24")
    port = hers(cloud, network, "10.0.0.50", address="10.1.0.9")
    with pytest.raises(InUse, match="pairs of 1 port;"):
        cloud.store.subnets.delete(subnet.id)
    changed(cloud, port, allowed_address_pairs=())
    cloud.store.subnets.delete(subnet.id)


# --- what else a project's port may not be --------------------------------------------------------


def test_a_project_takes_the_guard_off_on_its_own_vxlan_network_alone(cloud: Cloud) -> None:
    off: Any = {"port_security_enabled": False}
    wire, overlay = flat(cloud), vxlan(cloud)
    for make in (hers, his):
        with pytest.raises(Forbidden, match="port_security_enabled=false"):
            make(cloud, wire, **off)
    with pytest.raises(Forbidden, match="another project's"):
        his(cloud, overlay, **off)
    with pytest.raises(Forbidden, match="port_security_enabled=false"):
        changed(cloud, hers(cloud, wire), **off)
    hers(cloud, overlay, **off)
    changed(cloud, hers(cloud, overlay), **off)
    open_port = changed(cloud, hers(cloud, wire), None, **off)
    assert not changed(cloud, open_port, name="still open", **off).port_security_enabled


def test_new_ports_of_a_projects_flat_network_have_a_guard(cloud: Cloud) -> None:
    off: Any = {"port_security_enabled": False}
    made: Any = {"network_type": "flat", "project_id": HER, "acts_for": HER, **off}
    with pytest.raises(Forbidden):
        cloud.store.networks.create([made])
    wire, overlay = flat(cloud), vxlan(cloud)
    with pytest.raises(Forbidden):
        cloud.store.networks.update(wire.id, off | {"acts_for": HER})
    cloud.store.networks.update(overlay.id, off | {"acts_for": HER})
    cloud.store.networks.update(wire.id, off)
    assert not his(cloud, wire).port_security_enabled  # as an administrator said


@pytest.mark.parametrize("owner", ["network:dhcp", "network:router_gateway"])
def test_a_projects_port_is_no_device_of_a_flat_network(cloud: Cloud, owner: str) -> None:
    network = flat(cloud)
    with pytest.raises(Forbidden, match="device_owner"):
        hers(cloud, network, device_owner=owner)
    port = hers(cloud, network)
    with pytest.raises(Forbidden, match="device_owner"):
        changed(cloud, port, device_owner=owner)
    device = changed(cloud, port, None, device_owner=owner)
    assert changed(cloud, device, name="router").device_owner == owner
    assert changed(cloud, device, device_owner="compute:nova").device_owner == "compute:nova"


def test_a_projects_port_on_a_wire_has_no_mac_of_a_host_or_router(
    make_cloud: Callable[..., Cloud],
) -> None:
    cloud = make_cloud(base_mac="FA:16:3E:4f:00:00")
    network, overlay = flat(cloud), vxlan(cloud)
    for mac in ("52:54:00:00:00:01", "00:00:5e:00:01:01"):
        with pytest.raises(Forbidden, match="begin with fa:16:3e "):
            hers(cloud, network, mac_address=mac)
        with pytest.raises(Forbidden, match="begin with fa:16:3e "):
            changed(cloud, hers(cloud, network), mac_address=mac)
        hers(cloud, overlay, mac_address=mac)
        moved = cloud.port(network, project_id=HER, mac_address=mac)  # an administrator
        assert changed(cloud, moved, name="hers").mac_address == mac
    assert hers(cloud, network, mac_address="fa:16:3e:00:00:01").mac_address[-1] == "1"
