"""Which flat networks of a host reach each other."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from lessor.core.firewall.apart import group, joined_pairs
from lessor.core.state import VmRange

RED, RED2, BLUE = map(IPv4Network, ("10.0.0.0/24", "10.0.1.0/24", "10.1.0.0/24"))
RANGES = [VmRange("br100", cidr, (), name) for cidr, name in ((RED, "r"), (RED2, "r"), (BLUE, "b"))]


def test_subnets_of_one_network_belong_together_and_no_others() -> None:
    pairs = {(RED, RED), (RED, RED2), (RED2, RED), (RED2, RED2), (BLUE, BLUE)}
    found = joined_pairs(RANGES, ())
    assert set(found) == pairs
    assert len(found) == len(pairs)


def test_a_block_joins_what_lies_within() -> None:
    wide = IPv4Network("10.0.0.0/15")
    assert joined_pairs(RANGES, [wide]) == [(wide, wide)]


def test_pairs_that_overlap_without_one_containing_the_other_are_joined_less() -> None:
    """A set of intervals takes no overlap; the kernel would refuse the whole table."""
    wide = IPv4Network("10.0.0.0/16")
    cross = [VmRange("br1", c, (), "x") for c in (RED, IPv4Network("10.4.0.0/16"))]
    cross += [VmRange("br2", c, (), "y") for c in (wide, IPv4Network("10.4.0.0/24"))]
    found = joined_pairs(cross, ())
    for number, one in enumerate(found):
        for other in found[:number]:
            assert not (one[0].overlaps(other[0]) and one[1].overlaps(other[1]))
    assert (wide, wide) in found


def test_networks_share_a_group_if_one_block_has_all_their_subnets() -> None:
    blocks = [IPv4Network("10.0.0.0/23"), IPv4Network("10.0.0.0/15")]
    assert group("r", [RED, RED2], blocks) == group("b", [BLUE], blocks) == "10.0.0.0/15"
    assert group("r", [RED, RED2], blocks[:1]) == "10.0.0.0/23"
    assert group("x", [RED, BLUE], blocks[:1]) == "x"
    assert group("x", [], blocks) == "x"


def test_families_are_apart_even_in_one_network() -> None:
    four, six = IPv4Network("0.0.0.0/0"), IPv6Network("::/96")  # the same numbers
    both = [VmRange("br100", cidr, (), "dual") for cidr in (four, six)]
    assert joined_pairs(both, ()) == [(four, four), (six, six)]
    assert group("dual", [four, six], [four]) == "dual"
