from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from lessor.core.around import Connected
from lessor.core.firewall.gateway_nft import (
    GatewayOptions,
    forwarding,
    nft_gateway_ruleset,
    vm_blocks,
)
from lessor.core.firewall.nft_listing import deletion, digest, stale
from lessor.core.state import Gateway

OWN = Gateway(
    "n",
    "s",
    "br100",
    "eth1",
    IPv4Network("10.0.0.0/24"),
    IPv4Address("10.0.0.1"),
    external=False,
    isolated=False,
    vm_sources=((IPv4Address("10.0.0.2"), IPv4Address("10.0.0.5")),),
)
EXTERNAL = replace(OWN, bridge="br101", cidr=IPv4Network("10.1.0.0/24"), external=True)
OPTIONS = GatewayOptions(
    public_interface="eth0",
    routing_source_ip=IPv4Address("192.0.2.1"),
    dmz_cidr=(IPv4Network("10.128.0.0/24"),),
    force_snat_range=(IPv4Network("198.51.100.0/24"),),
)
RULE = "add rule inet lessor "


def chain(text: str, name: str) -> list[str]:
    start = f"{RULE}{name} "
    return [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]


def elements(text: str, name: str) -> str:
    start = f"add element inet lessor {name} "
    return next((x.removeprefix(start) for x in text.splitlines() if x.startswith(start)), "")


def test_nat_rules_stand_in_the_order_that_gives_them_their_meaning() -> None:
    options = replace(OPTIONS, metadata_host=IPv4Address("192.0.2.9"))
    assert chain(nft_gateway_ruleset([OWN, EXTERNAL], options).text, "postrouting") == [
        "ip saddr @vm_ranges ip daddr 192.0.2.9 accept",
        "ip saddr @vm_ranges ip daddr @dmz accept",
        "ip saddr . ip daddr @within ct status & dnat == 0 accept",
        'ip saddr @snat_ranges oifname "eth0" snat ip to 192.0.2.1',
        "ip saddr @forced_ranges ip daddr @forced_destinations snat ip to 192.0.2.1",
    ]


def test_an_external_gateways_range_is_not_in_the_general_snat() -> None:
    text = nft_gateway_ruleset([OWN, EXTERNAL], OPTIONS).text
    assert elements(text, "snat_ranges") == "{ 10.0.0.0/24 }"
    assert elements(text, "forced_ranges") == "{ 10.1.0.0/24 }"
    assert elements(text, "forced_destinations") == "{ 198.51.100.0/24 }"


def test_ranges_within_one_another_make_no_overlap() -> None:
    wide = replace(OWN, cidr=IPv4Network("10.0.0.0/8"))
    text = nft_gateway_ruleset([OWN, wide], OPTIONS).text
    assert elements(text, "within") == "{ 10.0.0.0/8 . 10.0.0.0/8 }"
    assert elements(text, "vm_ranges") == "{ 10.0.0.0/8 }"


@pytest.mark.parametrize(
    ("host", "target"),
    [
        pytest.param(None, "redirect to :8775", id="here"),
        pytest.param("127.0.0.1", "redirect to :8775", id="loopback"),
        pytest.param("192.0.2.9", "dnat ip to 192.0.2.9:8775", id="elsewhere"),
    ],
)
def test_metadata_is_redirected_or_sent_on(host: str | None, target: str) -> None:
    options = replace(OPTIONS, metadata_host=IPv4Address(host) if host else None)
    (rule,) = chain(nft_gateway_ruleset([OWN], options).text, "prerouting")
    assert rule.endswith(f"ip daddr 169.254.169.254 tcp dport 80 {target}")


@pytest.mark.parametrize(
    ("interfaces", "bridges", "pairs", "closed"),
    [
        pytest.param(("all",), ("br100",), [], [], id="all"),
        pytest.param(
            ("eth0", ""),
            (),
            [("br100", "eth0"), ("eth0", "br100"), ("br100", "br100")],
            ["br100"],
            id="list",
        ),
        pytest.param(("all",), ("br100", "br7"), [("br7", "br7")], ["br7"], id="not-a-gateway"),
    ],
)
def test_bridges_forward_as_they_may(
    interfaces: tuple[str, ...],
    bridges: tuple[str, ...],
    pairs: list[tuple[str, str]],
    closed: list[str],
) -> None:
    options = replace(OPTIONS, forward_bridge_interface=interfaces, bridges=bridges)
    assert forwarding([OWN], options) == (pairs, closed)


BLUE = replace(OWN, network_id="b", cidr=IPv4Network("10.2.0.0/24"))


def test_where_vms_are_forwarded_to_is_said_in_the_order_that_gives_it_its_meaning() -> None:
    options = replace(OPTIONS, metadata_host=IPv4Address("192.0.2.9"), vxlan_udp_port=4789)
    assert chain(nft_gateway_ruleset([OWN], options).text, "vm_forward") == [
        "meta mark & 0x01000000 == 0x01000000 accept",
        "ct state established,related return",
        "ct status dnat ip daddr 192.0.2.9 tcp dport 8775 return",
        "ip saddr . ip daddr @within return",
        "ip daddr @vteps counter name forward_closed drop",
        "udp dport 4789 counter name forward_closed drop",
        "ip saddr . ip daddr @joined return",
        "meta mark & 0x04000000 == 0 ip saddr @operators return",
        "ip daddr @cidrs ip saddr @cidrs counter name between_networks drop",
        "ip daddr @cidrs meta mark & 0x04000000 == 0x04000000 counter name between_networks drop",
        "ip saddr @forced_ranges ip daddr @no_forward_external counter name no_forward drop",
        "ip saddr != @forced_ranges ip daddr @no_forward counter name no_forward drop",
    ]


def test_networks_are_apart_unless_a_block_joins_them() -> None:
    text = nft_gateway_ruleset([OWN, BLUE], OPTIONS).text
    assert elements(text, "joined") == "{ 10.0.0.0/24 . 10.0.0.0/24, 10.2.0.0/24 . 10.2.0.0/24 }"
    options = replace(OPTIONS, joined_cidr=(IPv4Network("10.0.0.0/8"),))
    text = nft_gateway_ruleset([OWN, BLUE], options).text
    assert elements(text, "joined") == "{ 10.0.0.0/8 . 10.0.0.0/8 }"
    assert elements(text, "cidrs") == "{ 10.0.0.0/24, 10.2.0.0/24 }"


def test_forced_destinations_are_open_to_external_gateways_alone() -> None:
    options = replace(OPTIONS, no_forward=(IPv4Network("198.51.0.0/16"),))
    text = nft_gateway_ruleset([OWN, EXTERNAL], options).text
    assert elements(text, "no_forward") == "{ 198.51.0.0/16 }"
    outside = "198.51.0.0/18, 198.51.101.0/24"
    assert outside.split(", ")[1] in elements(text, "no_forward_external")
    assert "198.51.100.0/24" not in elements(text, "no_forward_external")


def test_broadcasts_are_heard_of_the_hosts_own_lans_on_a_bridge() -> None:
    lans = [Connected("br100", IPv4Network(c)) for c in ("198.18.0.0/24", "198.18.0.0/16")]
    text = nft_gateway_ruleset([OWN], replace(OPTIONS, lans=tuple(lans))).text
    assert elements(text, "own_lans") == '{ "br100" . 198.18.0.0/16 }'
    rules = chain(text, "by_bridge")
    assert "fib daddr . iif type { broadcast, multicast } iifname . ip saddr @own_lans accept" in (
        rules
    )
    assert rules[-1] == "goto from_vm"


def test_spans_of_vms_become_disjoint_blocks() -> None:
    more = replace(OWN, vm_sources=((IPv4Address("10.0.0.4"), IPv4Address("10.0.0.7")),))
    assert vm_blocks([OWN.vm_sources, more.vm_sources]) == [
        IPv4Network("10.0.0.2/31"),
        IPv4Network("10.0.0.4/30"),
    ]


# --- listings

MORE: list[dict[str, Any]] = [{"chain": {"name": "more"}}, {"rule": {"chain": "more", "expr": []}}]


def set_(handle: int, *elements: str) -> dict[str, Any]:
    return {"set": {"name": "s", "handle": handle, "elem": list(elements)}}


def counter(packets: int) -> dict[str, Any]:
    return {"counter": {"name": "c", "packets": packets, "bytes": 100 * packets}}


def rule(verdict: str) -> dict[str, Any]:
    return {"rule": {"chain": "a", "expr": [{verdict: None}]}}


def listing(*objects: dict[str, Any]) -> str:
    return json.dumps({"nftables": [{"metainfo": {}}, {"table": {"name": "lessor"}}, *objects]})


def test_digest_is_blind_to_counts_handles_and_the_order_of_elements() -> None:
    one, other = listing(set_(3, "a", "b"), counter(0)), listing(set_(9, "b", "a"), counter(7))
    assert digest(one) == digest(other)


def test_digest_sees_another_element() -> None:
    assert digest(listing(set_(3, "a"))) != digest(listing(set_(3, "a", "b")))


def test_digest_sees_another_order_of_rules() -> None:
    one, other = listing(rule("drop"), rule("accept")), listing(rule("accept"), rule("drop"))
    assert digest(one) != digest(other)


def test_digest_without_stale_things_is_that_of_what_stays() -> None:
    whole, left = listing(set_(3, "a"), *MORE), listing(set_(3, "a"))
    assert digest(whole, leave_out=[("chain", "more")]) == digest(left)


def test_stale_things_are_deleted_after_what_refers_to_them() -> None:
    text = "add table bridge lessor\nadd set bridge lessor kept { type ifname; }\n"
    gone = stale(listing(counter(0), set_(1), *MORE), text)
    assert gone == [("chain", "more"), ("set", "s"), ("counter", "c")]
    assert deletion("bridge lessor", gone).splitlines() == [
        "flush chain bridge lessor more",
        "delete chain bridge lessor more",
        "delete set bridge lessor s",
        "delete counter bridge lessor c",
    ]
