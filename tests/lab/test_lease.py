from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from lessor.lab.lease import VmLease, parse_lease, read_lease, write_lease

LEAST = (
    "ip=10.0.0.3\nmask=24\nmtu=\nrouter=\ndns=\nstaticroutes=\nserverid=10.0.0.1\nlease=120\n"
    "domain=\nhostname=\n"
)


def test_a_lease_without_options_has_none() -> None:
    assert parse_lease(LEAST) == VmLease(
        address=IPv4Address("10.0.0.3"),
        prefix_length=24,
        server=IPv4Address("10.0.0.1"),
        lease_time_s=120,
    )


def test_options_are_read() -> None:
    text = (
        LEAST.replace("mtu=", "mtu=1450")
        .replace("router=", "router=10.0.0.1 10.0.0.254")
        .replace("dns=", "dns=10.0.0.1 8.8.4.4")
        .replace("staticroutes=", "staticroutes=0.0.0.0/0 10.0.0.1 169.254.169.254/32 10.0.0.2")
    )
    lease = parse_lease(text, 3.5)
    assert (lease.mtu, lease.router, lease.dora_ms) == (1450, IPv4Address("10.0.0.1"), 3.5)
    assert lease.dns == (IPv4Address("10.0.0.1"), IPv4Address("8.8.4.4"))
    assert lease.routes == (
        (IPv4Network("0.0.0.0/0"), IPv4Address("10.0.0.1")),
        (IPv4Network("169.254.169.254/32"), IPv4Address("10.0.0.2")),
    )


def test_half_a_lease_is_refused() -> None:
    with pytest.raises(KeyError):
        parse_lease(LEAST[: LEAST.index("serverid")])


def test_a_noted_lease_comes_back(tmp_path: Path) -> None:
    assert read_lease(tmp_path) is None
    lease = parse_lease(LEAST, 1.0)
    write_lease(tmp_path, lease)
    assert read_lease(tmp_path) == lease
