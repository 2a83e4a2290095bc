"""nova-manage's ways to cut networks out of a block (semantics.md A4)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.cli.blocks import cut, pools, size_of_each
from lessor.cli.nova_manage import Subnets
from lessor.errors import Conflict, Invalid

NET = IPv4Network


def nets(*texts: str) -> list[IPv4Network]:
    return [NET(text) for text in texts]


@pytest.mark.parametrize(
    ("block", "count", "size", "taken", "found"),
    [
        pytest.param("10.0.0.0/24", 1, 256, [], ["10.0.0.0/24"], id="whole"),
        pytest.param("10.0.0.0/16", 2, 256, [], ["10.0.0.0/24", "10.0.1.0/24"], id="two"),
        pytest.param("10.0.0.0/24", 1, 100, [], ["10.0.0.0/25"], id="rounded-up"),
        pytest.param("10.0.0.0/16", 1, 256, ["10.0.0.0/24"], ["10.0.1.0/24"], id="equal-moved"),
        pytest.param("10.0.0.0/16", 1, 256, ["10.0.0.128/25"], ["10.0.1.0/24"], id="containing"),
        pytest.param("10.0.0.0/8", 1, 256, ["10.0.0.0/9"], ["10.128.0.0/24"], id="jumps-a-lot"),
        pytest.param(
            "10.0.0.0/22", 2, 256, ["10.0.1.0/24"], ["10.0.0.0/24", "10.0.2.0/24"], id="hole"
        ),
    ],
)
def test_blocks_are_cut_lowest_first_past_those_taken(
    block: str, count: int, size: int, taken: list[str], found: list[str]
) -> None:
    assert cut(NET(block), count, size, nets(*taken)) == nets(*found)


def test_no_room_left_is_a_conflict_that_says_how_much_there_is() -> None:
    with pytest.raises(Conflict, match="room for 1 more networks of 256 addresses, 2 are needed"):
        cut(NET("10.0.0.0/23"), 2, 256, nets("10.0.0.0/24"))


def test_a_network_larger_than_its_block_is_refused() -> None:
    with pytest.raises(Invalid, match="512 addresses don't fit into 10.0.0.0/24: it has 256"):
        cut(NET("10.0.0.0/24"), 1, 512, [])


@given(st.lists(st.integers(0, 63), unique=True), st.integers(1, 8))
def test_cut_blocks_never_overlap_each_other_or_what_is_taken(at: list[int], count: int) -> None:
    block = NET("10.0.0.0/18")
    every = list(block.subnets(new_prefix=24))
    taken = [every[n] for n in at]
    try:
        found = cut(block, count, 256, taken)
    except Conflict:
        assert len(every) - len(taken) < count
    else:
        assert len({*found, *taken}) == count + len(taken)


def test_a_share_larger_than_the_flag_becomes_the_flag() -> None:
    assert size_of_each(NET("10.0.0.0/16"), 4, None) == 256
    assert size_of_each(NET("10.0.0.0/24"), 4, None) == 64
    assert size_of_each(NET("10.0.0.0/24"), 4, 16) == 16


def test_pools_leave_out_what_is_reserved() -> None:
    low, high = IPv4Address("10.0.0.0"), IPv4Address("10.0.0.15")
    reserved = [IPv4Address("10.0.0.1"), IPv4Address("10.0.0.9")]
    assert pools(NET("10.0.0.0/28"), low, high, reserved) == [
        {"start": "10.0.0.2", "end": "10.0.0.8"},
        {"start": "10.0.0.10", "end": "10.0.0.14"},
    ]


def body(**asked: Any) -> dict[str, Any]:
    [made] = Subnets(block=NET("10.0.0.0/24"), **asked).bodies([{"id": "n"}], [])
    del made["network_id"], made["ip_version"]
    return made


def test_a_block_alone_leaves_all_else_to_the_server() -> None:
    assert body() == {"cidr": "10.0.0.0/24"}


def test_what_was_said_of_a_subnet_is_in_its_body() -> None:
    said = body(
        gateway=IPv4Address("10.0.0.254"),
        dhcp_server=IPv4Address("10.0.0.2"),
        dns=(IPv4Address("192.0.2.53"),),
    )
    assert said == {
        "cidr": "10.0.0.0/24",
        "gateway_ip": "10.0.0.254",
        "lessor:dhcp_server": "10.0.0.2",
        "dns_nameservers": ["192.0.2.53"],
    }


def test_fixed_cidr_is_the_pool_and_the_gateway_stays_first_of_the_block() -> None:
    assert body(fixed_cidr=NET("10.0.0.0/29"))["allocation_pools"] == [
        {"start": "10.0.0.2", "end": "10.0.0.7"}
    ]


def test_allowed_start_is_the_gateway_unless_one_is_given() -> None:
    span = {
        "allowed_start": IPv4Address("10.0.0.10"),
        "allowed_end": IPv4Address("10.0.0.20"),
    }
    assert body(**span)["gateway_ip"] == "10.0.0.10"
    assert body(**span)["allocation_pools"] == [{"start": "10.0.0.11", "end": "10.0.0.20"}]
    assert body(**span, gateway=IPv4Address("10.0.0.1"))["allocation_pools"] == [
        {"start": "10.0.0.10", "end": "10.0.0.20"}
    ]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        pytest.param({"dns": (IPv4Address("192.0.2.1"),)}, "give its block", id="no-block"),
        pytest.param({"count": 2}, "give its block", id="several-without-block"),
        pytest.param(
            {"block": NET("10.0.0.0/8"), "count": 2, "gateway": IPv4Address("10.0.0.1")},
            "several networks",
            id="one-gateway-for-two",
        ),
        pytest.param(
            {"block": NET("10.0.0.0/24"), "fixed_cidr": NET("10.1.0.0/24")},
            "isn't inside",
            id="fixed-cidr-elsewhere",
        ),
    ],
)
def test_what_makes_no_sense_together_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        Subnets(**asked)
