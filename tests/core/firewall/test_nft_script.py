from __future__ import annotations

from lessor.core.firewall.nft_script import NftChain, NftSet, change, nft_table

RULES = NftChain("input", ["iifname @taps accept", "drop"], "filter hook input priority 0")


def table(
    *taps: str, chain: NftChain = RULES, blocks: tuple[str, ...] = (), limits: bool = True
) -> str:
    named = {f"dhcp_{tap}": "rate over 20/second" for tap in taps} if limits else {}
    sets = (
        NftSet("taps", "ifname", [f'"{tap}"' for tap in taps]),
        NftSet("limits", "ifname : limit", [f'"{tap}" : "dhcp_{tap}"' for tap in taps if limits]),
        NftSet("blocks", "ipv4_addr", blocks, interval=True),
        NftSet("seen", "ether_addr", timeout_s=60, size=100),
    )
    return nft_table("bridge lessor", ["dropped"], sets, [chain], named)


def test_a_tap_that_comes_is_added_to_sets_and_no_rule_is_touched() -> None:
    assert change(table("tap1"), table("tap1", "tap2")).splitlines() == [
        "add limit bridge lessor dhcp_tap2 { rate over 20/second ; }",
        'add element bridge lessor taps { "tap2" }',
        'add element bridge lessor limits { "tap2" : "dhcp_tap2" }',
    ]


def test_a_tap_that_goes_is_taken_out_by_its_key() -> None:
    assert change(table("tap1", "tap2"), table("tap1")).splitlines() == [
        'delete element bridge lessor taps { "tap2" }',
        'delete element bridge lessor limits { "tap2" }',
    ]


def test_the_last_one_goes_and_the_first_comes() -> None:
    assert 'delete element bridge lessor taps { "tap1" }' in change(table("tap1"), table())
    assert 'add element bridge lessor taps { "tap1" }' in change(table(), table("tap1"))


def test_blocks_which_may_overlap_are_filled_anew() -> None:
    assert change(table(blocks=("10.0.0.0/8",)), table(blocks=("10.0.0.0/9",))).splitlines() == [
        "add set bridge lessor blocks { type ipv4_addr; flags interval; }",
        "flush set bridge lessor blocks",
        "add element bridge lessor blocks { 10.0.0.0/9 }",
    ]


def test_a_chain_whose_rules_changed_is_written_anew() -> None:
    other = NftChain("input", ["drop"], RULES.hook)
    assert change(table("tap1"), table("tap1", chain=other)).splitlines() == [
        "flush chain bridge lessor input",
        "add rule bridge lessor input drop",
    ]


def test_nothing_changed_is_nothing() -> None:
    assert change(table("tap1"), table("tap1")) == ""


def test_a_table_of_which_nothing_is_known_is_written_whole() -> None:
    assert change("", table("tap1")) == table("tap1")
