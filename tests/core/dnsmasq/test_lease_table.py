from ipaddress import IPv4Address

import pytest

from lessor.core.dnsmasq.lease_table import lease_table
from lessor.core.leases import LiveLease

A, B = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"


def test_leases_come_by_address_with_stars_for_empty_fields() -> None:
    leases = [
        LiveLease(IPv4Address("10.0.0.10"), B, None),
        LiveLease(IPv4Address("10.0.0.9"), A, 50.0, "web", "01:02"),
    ]
    assert lease_table(leases) == f"50 {A} 10.0.0.9 web 01:02\n0 {B} 10.0.0.10 * *\n"


@pytest.mark.parametrize("hostile", ["a b", "a\nb", "x" * 300, ""])
def test_a_hostile_name_is_not_in_the_table(hostile: str) -> None:
    lease = LiveLease(IPv4Address("10.0.0.3"), A, None, hostile, hostile)
    assert lease_table([lease]) == f"0 {A} 10.0.0.3 * *\n"
