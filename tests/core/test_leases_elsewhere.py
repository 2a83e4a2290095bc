from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lessor.core.leases import LiveLease, peer_leases

FIVE = LiveLease(IPv4Address("10.0.0.5"), "fa:16:3e:00:00:05", 2000.0)
LONGER = replace(FIVE, expires_at=3000.0)
ENDLESS = replace(FIVE, expires_at=None)
OTHERS = replace(FIVE, mac="fa:16:3e:00:00:09")
OWNERS = {"10.0.0.5": FIVE.mac}


@pytest.mark.parametrize(
    ("known", "live", "found"),
    [
        pytest.param([FIVE], [], [FIVE], id="unknown-here"),
        pytest.param([FIVE], [FIVE], [], id="known-here"),
        pytest.param([LONGER], [FIVE], [LONGER], id="renewed-elsewhere"),
        pytest.param([FIVE], [LONGER], [], id="renewed-here"),
        pytest.param([FIVE, LONGER], [], [LONGER], id="of-two-servers-the-longer"),
        pytest.param([ENDLESS, LONGER], [], [ENDLESS], id="endless-is-longest"),
        pytest.param([OTHERS], [], [], id="not-reserved-for-it"),
        pytest.param([LONGER], [OTHERS], [], id="anothers-must-end-first"),
    ],
)
def test_leases_of_peers_that_are_missing_here(
    known: list[LiveLease], live: list[LiveLease], found: list[LiveLease]
) -> None:
    assert peer_leases(known, {one.address: one for one in live}, OWNERS) == found
