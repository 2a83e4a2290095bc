"""What is read fast is what pyroute2 reads, of devices of every kind that we have to do with."""

from __future__ import annotations

from collections.abc import Callable
from socket import AF_INET
from typing import Any

import pytest
from pyroute2 import IPRoute

from lessor.agent.host.inet import HostAddress, add_address, addresses, surroundings
from lessor.agent.host.netlink import Devices, Link, link, links
from lessor.agent.host.tun import new_tap

pytestmark = pytest.mark.lab

Shell = Callable[[str], str]

MADE = """
ip link set lo up
ip link add br100 type bridge forward_delay 0
ip link set br100 alias lessor up
ip link add br101 type bridge stp_state 1 forward_delay 1234
ip link add veth1 type veth peer name veth2
ip link set veth1 master br100 up alias "lessor:3f2a9c1e-5b1d"
bridge link set dev veth1 hairpin on
ip link set veth1 type bridge_slave group_fwd_mask 0x4000
ip link set veth2 master br101 mtu 1400 address fa:16:3e:01:02:03
ip link add veth3 type veth peer name veth4
ip link set veth3 alias "ü and a blank"
ip link set veth4 master br100
ip link add wide type vxlan id 7 dstport 4789
sysctl -qw net.ipv6.conf.veth3.disable_ipv6=1
ip tuntap add tun1 mode tun
ip tuntap add passing mode tap
"""


def reference(ip: IPRoute) -> dict[str, Link]:
    return {one.name: one for one in map(_link, ip.get_links())}


def _link(message: Any) -> Link:
    info = _nested(message, "IFLA_LINKINFO")
    data, slave = _nested(info, "IFLA_INFO_DATA"), _nested(info, "IFLA_INFO_SLAVE_DATA")
    bridged = info is not None and info.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge"
    kind = (info.get_attr("IFLA_INFO_KIND") if info is not None else "") or ""
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind,
        mac=message.get_attr("IFLA_ADDRESS") or "",
        mtu=message.get_attr("IFLA_MTU"),
        up=bool(message["flags"] & 1),
        alias=message.get_attr("IFLA_IFALIAS") or "",
        master=message.get_attr("IFLA_MASTER"),
        stp=kind == "bridge" and bool(data.get_attr("IFLA_BR_STP_STATE")),
        forward_delay=data.get_attr("IFLA_BR_FORWARD_DELAY") if kind == "bridge" else 0,
        hairpin=bridged and bool(slave.get_attr("IFLA_BRPORT_MODE")),
        group_fwd_mask=slave.get_attr("IFLA_BRPORT_GROUP_FWD_MASK") if bridged else 0,
        persistent=kind == "tun" and bool(data.get_attr("IFLA_TUN_PERSIST")),
        ipv6=_ipv6(message.get_attr("IFLA_AF_SPEC")),
    )


def _ipv6(families: Any) -> bool:
    inet6 = _nested(families, "AF_INET6")
    settings = inet6.get_attr("IFLA_INET6_CONF") if inet6 is not None else None
    return settings is not None and not settings["disable_ipv6"]


def _nested(message: Any, name: str) -> Any:
    inner = None if message is None else message.get_attr(name)
    return inner if hasattr(inner, "get_attr") else None


def test_devices_of_all_kinds_are_read_as_pyroute2_reads_them(ip: IPRoute, sh: Shell) -> None:
    sh(MADE)
    with new_tap("tap3f2a9c1e-5b"):
        found = links()
        assert not found["tap3f2a9c1e-5b"].persistent
        assert found == reference(ip)
    found = links()
    assert found == reference(ip)
    assert found["tap3f2a9c1e-5b"].persistent
    assert (found["veth1"].hairpin, found["veth1"].group_fwd_mask) == (True, 0x4000)
    assert (found["br101"].stp, found["br101"].forward_delay) == (True, 1234)
    assert (found["veth3"].alias, found["veth3"].master) == ("ü and a blank", None)
    assert found["veth4"].master == found["br100"].index


def test_one_device_is_read_as_it_is_among_all(ip: IPRoute, sh: Shell) -> None:
    sh(MADE)
    for name, one in links().items():
        assert link(name) == one


@pytest.mark.parametrize("name", ["nobody", "x" * 15, "x" * 40, ""])
def test_a_device_that_is_not_there_is_none(ip: IPRoute, name: str) -> None:
    assert link(name) is None


def test_hundreds_of_devices_come_whole(ip: IPRoute, sh: Shell) -> None:
    sh("\n".join(f"ip link add many{n} type veth peer name more{n}" for n in range(150)))
    found = links()
    assert sum(name.startswith(("many", "more")) for name in found) == 300
    assert found == reference(ip)


def test_devices_are_read_again_when_they_change(ip: IPRoute, sh: Shell) -> None:
    sh(MADE)
    devices = Devices()
    before = devices.links()
    again = devices.links()
    assert all(again[name] is one for name, one in before.items() if one.kind != "bridge")
    sh("ip link set veth3 alias changed; ip link set veth4 nomaster; ip link del tun1")
    assert devices.links() == reference(ip)


ADDRESSES = """
ip link add veth1 type veth peer name veth2
ip link set veth1 up; ip link set veth2 up; ip link set lo up
ip addr add 192.0.2.1/24 broadcast + dev veth1
ip addr add 192.0.2.2/24 dev veth1 label veth1:more
ip addr add 198.51.100.1 peer 198.51.100.2/32 dev veth1 metric 7
ip addr add 203.0.113.5/32 dev veth2 valid_lft 900 preferred_lft 800
ip addr add 169.254.1.1/16 scope link dev veth2 noprefixroute
ip addr add 2001:db8::1/64 dev veth2 nodad
ip addr add 2001:db8::5 peer 2001:db8::6/128 dev veth2 nodad
"""


def address_reference(message: Any) -> HostAddress:
    times = message.get_attr("IFA_CACHEINFO")
    peer, flags = message.get_attr("IFA_ADDRESS"), message.get_attr("IFA_FLAGS")
    return HostAddress(
        device=message["index"],
        family=message["family"],
        local=message.get_attr("IFA_LOCAL") or peer,
        peer=peer,
        prefixlen=message["prefixlen"],
        scope=message["scope"],
        flags=message["flags"] if flags is None else flags,
        label=message.get_attr("IFA_LABEL") or "",
        broadcast=message.get_attr("IFA_BROADCAST") or "",
        valid=times["ifa_valid"],
        preferred=times["ifa_preferred"],
        proto=message.get_attr("IFA_PROTO") or 0,
        priority=message.get_attr("IFA_RT_PRIORITY") or 0,
    )


def test_addresses_are_read_as_pyroute2_reads_them(ip: IPRoute, sh: Shell) -> None:
    sh(ADDRESSES)
    ours = HostAddress(links()["veth2"].index, AF_INET, "203.0.113.9", "203.0.113.9", 32, proto=76)
    add_address(ip, ours)

    def both() -> tuple[list[HostAddress], list[HostAddress]]:
        wanted = [address_reference(message) for message in ip.get_addr()]
        return addresses(), wanted

    found, wanted = both()
    if found != wanted:  # a second of a lifetime went by in between
        found, wanted = both()
    assert found == wanted
    assert {one.proto for one in found} >= {0, 76}
    index = links()["veth2"].index
    assert addresses(index) == [one for one in found if one.device == index]
    there = {one.local for one in addresses(index, AF_INET)}
    assert there == {"203.0.113.5", "169.254.1.1", "203.0.113.9"}


@pytest.mark.parametrize(
    "change",
    [
        "ip addr add 192.0.2.9/24 dev veth1",
        "ip addr del 192.0.2.2/24 dev veth1",
        "ip addr change 203.0.113.5/32 dev veth2",
        "ip route add 10.0.0.0/8 via 192.0.2.77",
        "ip -6 route add 2001:db8:7::/48 dev veth1",
        "ip route replace 192.0.2.0/24 dev veth1 metric 5 table 7",
    ],
)
def test_a_change_of_addresses_or_routes_is_seen_in_the_surroundings(
    ip: IPRoute, sh: Shell, change: str
) -> None:
    sh(ADDRESSES)
    before = surroundings()
    assert surroundings() == before
    sh(change)
    assert surroundings() != before
