"""What a host has and reaches without Lessor is read from a real network namespace."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from pyroute2 import IPRoute

from lessor.agent.around import MAXIMUM, Surroundings, name_servers
from lessor.agent.drivers.addresses import AddressDriver
from lessor.core.around import Around, Connected
from lessor.core.diff import Changes
from lessor.core.state import DeviceAddress
from lessor.settings import AgentSettings, FlatMapping

SETTINGS = AgentSettings(
    state_dir=Path("/s"),
    host="h1",
    my_ip=IPv4Address("192.0.2.1"),
    server_url=("http://192.0.2.9:9697", "http://[2001:db8::9]:9697", "http://a.example:1"),
    flat_mappings=(FlatMapping(physical_network="physnet1", bridge="br100", interface="eth1"),),
)


def told(around: Around) -> set[tuple[str, str, str]]:
    return {(str(one.cidr), one.what, one.physical_network) for one in around.blocks}


def test_addresses_static_routes_gateways_servers_and_name_servers_are_read(
    sh: Callable[[str], str], ip: IPRoute, tmp_path: Path
) -> None:
    (tmp_path / "resolv.conf").write_text(
        "search a\nnameserver 192.0.2.53\nnameserver 127.0.0.53\nnameserver ::1\nnameserver x\n"
    )
    sh(
        "ip link add eth0 type bridge; ip link add eth1 type bridge; ip link set eth0 up;"
        "ip link set eth1 up; ip addr add 192.0.2.11/24 dev eth0; ip addr add 10.9.0.2/24 dev eth1;"
        "ip addr add 198.51.100.7/32 dev lo;"
        "ip route add default via 192.0.2.254; ip route add 172.20.0.0/16 via 192.0.2.253;"
        "ip route add 172.21.0.0/16 dev eth1; ip route add 172.22.0.0/16 dev eth0 proto bird"
    )
    driver = AddressDriver(ip, tmp_path / "journal")
    driver.apply(Changes(create=(DeviceAddress("eth1", IPv4Interface("10.8.0.1/24")),)))
    around = Surroundings(
        SETTINGS, lambda: (), (tmp_path / "resolv.conf", tmp_path / "none")
    ).look()
    assert told(around) == {
        ("192.0.2.9/32", "server", ""),
        ("192.0.2.53/32", "name server", ""),
        ("192.0.2.0/24", "network", ""),
        ("10.9.0.0/24", "network", "physnet1"),
        ("198.51.100.7/32", "network", ""),
        ("192.0.2.254/32", "gateway", ""),
        ("192.0.2.253/32", "gateway", ""),
        ("172.20.0.0/16", "route", ""),
        ("172.21.0.0/16", "route", "physnet1"),
    }
    assert {(one.device, str(one.cidr)) for one in around.connected} == {
        ("eth0", "192.0.2.0/24"),
        ("eth1", "10.9.0.0/24"),
        ("lo", "198.51.100.7/32"),
    }
    assert around.ours == {IPv4Network("10.8.0.0/24")}


def test_a_server_that_answers_from_a_new_address_is_a_reason_to_look_again(
    sh: Callable[[str], str],
) -> None:
    known: set[IPv4Address] = set()
    seen = Surroundings(SETTINGS, lambda: known, ())
    assert ("192.0.2.77/32", "server", "") not in told(seen.facts())
    known.add(IPv4Address("192.0.2.77"))
    assert ("192.0.2.77/32", "server", "") in told(seen.facts())


def test_what_is_said_is_bounded_and_the_server_comes_first(sh: Callable[[str], str]) -> None:
    sh("ip link add eth0 type bridge; ip link set eth0 up")
    lines = [f"route add 10.{n // 250}.{n % 250}.0/24 dev eth0" for n in range(MAXIMUM + 50)]
    sh(f"ip -batch - <<'END'\n{chr(10).join(lines)}\nEND")
    blocks = Surroundings(SETTINGS, lambda: (), ()).look().blocks
    assert len(blocks) == MAXIMUM
    assert blocks[0].what == "server"


def test_a_file_of_name_servers_that_is_none_names_none(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe nameserver")
    assert name_servers([tmp_path / "binary", tmp_path]) == set()


def test_networks_are_those_of_now(sh: Callable[[str], str]) -> None:
    sh("ip link add eth2 type bridge; ip link set eth2 up; ip addr add 10.6.0.2/24 dev eth2")
    surroundings = Surroundings(SETTINGS, lambda: (), ())
    network = Connected("eth2", IPv4Network("10.6.0.0/24"))
    assert surroundings.facts().connected == (network,)
    sh("ip addr add 10.5.0.2/24 dev eth2; ip addr del 10.6.0.2/24 dev eth2")
    assert surroundings.facts().connected == (Connected("eth2", IPv4Network("10.5.0.0/24")),)
