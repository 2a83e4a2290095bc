from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from lessor.core.firewall.gateway_iptables import iptables_gateway_ruleset
from lessor.core.firewall.gateway_nft import GatewayOptions
from lessor.core.firewall.iptables_edit import install, own_lines, remove
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
    vm_sources=((IPv4Address("10.0.0.2"), IPv4Address("10.0.0.254")),),
)
EXTERNAL = replace(OWN, bridge="br101", cidr=IPv4Network("10.1.0.0/24"), external=True)
OPTIONS = GatewayOptions(
    public_interface="eth0",
    routing_source_ip=IPv4Address("192.0.2.1"),
    dmz_cidr=(IPv4Network("10.128.0.0/24"),),
    force_snat_range=(IPv4Network("198.51.100.0/24"),),
    metadata_host=IPv4Address("192.0.2.9"),
)
NAT = """*nat
:lessor-PREROUTING - [0:0]
:lessor-OUTPUT - [0:0]
:lessor-POSTROUTING - [0:0]
:lessor-postrouting-bottom - [0:0]
:lessor-snat - [0:0]
:lessor-float-snat - [0:0]
-A PREROUTING -j lessor-PREROUTING
-A OUTPUT -j lessor-OUTPUT
-A POSTROUTING -j lessor-POSTROUTING
-A POSTROUTING -j lessor-postrouting-bottom
-A lessor-PREROUTING -s 10.0.0.0/24 -d 169.254.169.254/32 -i br100 -p tcp -m tcp --dport 80 \
-j DNAT --to-destination 192.0.2.9:8775
-A lessor-POSTROUTING -s 10.0.0.0/24 -d 192.0.2.9/32 -j ACCEPT
-A lessor-POSTROUTING -s 10.0.0.0/24 -d 10.128.0.0/24 -j ACCEPT
-A lessor-POSTROUTING -s 10.0.0.0/24 -d 10.0.0.0/24 -m conntrack ! --ctstate DNAT -j ACCEPT
-A lessor-postrouting-bottom -j lessor-snat
-A lessor-snat -j lessor-float-snat
-A lessor-snat -s 10.0.0.0/24 -o eth0 -j SNAT --to-source 192.0.2.1
COMMIT
"""


def chain(name: str, *gateways: Gateway, options: GatewayOptions = OPTIONS) -> list[str]:
    text = iptables_gateway_ruleset(gateways, options).text
    start = f"-A {name} "
    return [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]


def test_nat_table_is_novas() -> None:
    assert NAT in iptables_gateway_ruleset([OWN], OPTIONS).text


def test_an_external_gateways_range_is_snated_only_to_the_forced_ranges() -> None:
    assert chain("lessor-snat", EXTERNAL) == [
        "-j lessor-float-snat",
        "-s 10.1.0.0/24 -d 198.51.100.0/24 -j SNAT --to-source 192.0.2.1",
    ]


def test_metadata_of_this_host_is_redirected() -> None:
    here = replace(OPTIONS, metadata_host=IPv4Address("127.0.0.1"))
    (rule,) = chain("lessor-PREROUTING", OWN, options=here)
    assert rule.endswith("-i br100 -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8775")


def test_all_may_be_forwarded_unless_a_list_says_which() -> None:
    first = "-i br100 -j lessor-vm-forward"
    assert chain("lessor-FORWARD", OWN) == [first, "-i br100 -j ACCEPT", "-o br100 -j ACCEPT"]
    listed = replace(OPTIONS, forward_bridge_interface=("eth0",), iptables_drop_action="REJECT")
    assert chain("lessor-FORWARD", OWN, options=listed) == [
        first,
        "-i br100 -o eth0 -j ACCEPT",
        "-i eth0 -o br100 -j ACCEPT",
        "-i br100 -o br100 -j ACCEPT",
        "-i br100 -j REJECT",
        "-o br100 -j REJECT",
    ]


def test_the_drop_action_is_also_that_of_the_host() -> None:
    assert chain("lessor-vm", OWN)[-1] == "-j DROP"
    options = replace(OPTIONS, iptables_drop_action="LOGDROP")
    assert chain("lessor-vm", OWN, options=options)[-1] == "-j LOGDROP"


def test_dhcp_and_dns_are_open_at_the_vms_own_gateway_and_replies_get_checksums() -> None:
    ports = ("udp -m udp --dport 67", "udp -m udp --dport 53", "tcp -m tcp --dport 67")
    opened = [f"-p {port} -j ACCEPT" for port in (*ports, "tcp -m tcp --dport 53")]
    assert chain("lessor-services", OWN)[:4] == opened
    assert "-s 10.0.0.0/24 -d 10.0.0.1/32 -i br100 -g lessor-services" in chain("lessor-vm", OWN)
    fill = "-o br100 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill"
    assert chain("lessor-POSTROUTING", OWN)[-1] == fill


def test_where_vms_are_forwarded_to_is_said_in_the_order_that_gives_it_its_meaning() -> None:
    options = replace(
        OPTIONS,
        no_forward=(IPv4Network("192.0.2.0/24"),),
        host_access_cidr=(IPv4Network("198.18.0.0/24"),),
    )
    blue = replace(EXTERNAL, network_id="b")
    assert chain("lessor-vm-forward", OWN, blue, options=options) == [
        "-m mark --mark 0x1000000/0x1000000 -j RETURN",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        "-d 192.0.2.9/32 -p tcp -m tcp --dport 8775 -m conntrack --ctstate DNAT -j RETURN",
        "-s 10.0.0.0/24 -d 10.0.0.0/24 -j RETURN",
        "-s 10.1.0.0/24 -d 10.1.0.0/24 -j RETURN",
        "-j lessor-vteps",
        "-s 198.18.0.0/24 -m mark ! --mark 0x4000000/0x4000000 -j RETURN",
        "-s 10.0.0.0/24 -j lessor-between",
        "-s 10.1.0.0/24 -j lessor-between",
        "-m mark --mark 0x4000000/0x4000000 -j lessor-between",
        "-s 10.1.0.0/24 -g lessor-no-forward-ext",
        "-g lessor-no-forward",
    ]
    both = ["-d 10.0.0.0/24 -j DROP", "-d 10.1.0.0/24 -j DROP"]
    assert chain("lessor-between", OWN, blue, options=options) == both
    assert chain("lessor-no-forward", OWN, options=options) == ["-d 192.0.2.0/24 -j DROP"]
    forced = replace(options, force_snat_range=(IPv4Network("192.0.2.0/24"),))
    assert chain("lessor-no-forward-ext", blue, options=forced) == []


def test_a_block_joins_the_networks_within() -> None:
    options = replace(OPTIONS, joined_cidr=(IPv4Network("10.0.0.0/8"),))
    blue = replace(EXTERNAL, network_id="b")
    rules = chain("lessor-vm-forward", OWN, blue, options=options)
    assert rules.index("-s 10.0.0.0/8 -d 10.0.0.0/8 -j RETURN") < rules.index(
        "-s 10.0.0.0/24 -j lessor-between"
    )


def test_two_subnets_of_one_bridge_make_no_rule_twice() -> None:
    both = chain("lessor-bridge", OWN, replace(OWN, cidr=IPv4Network("10.2.0.0/24")))
    assert len(both) == len(set(both))
    assert len(chain("lessor-INPUT", OWN, replace(OWN, cidr=IPv4Network("10.2.0.0/24")))) == 1


# --- fitting it in

SAVED = """# Generated by iptables-save
*filter
:FORWARD DROP [1:2]
:lessor-FORWARD - [0:0]
:lessor-old - [0:0]
:theirs - [0:0]
[9:900] -A FORWARD -j theirs
[1:100] -A FORWARD -j lessor-FORWARD
[2:200] -A FORWARD -i eth7 -j lessor-old
[3:300] -A lessor-FORWARD -i br100 -j ACCEPT
[4:400] -A theirs -j lessor-FORWARD
COMMIT
"""
TEXT = """*filter
:lessor-FORWARD - [0:0]
-A FORWARD -j lessor-FORWARD
-A lessor-FORWARD -i br100 -j ACCEPT
-A lessor-FORWARD -o br100 -j ACCEPT
COMMIT
"""


def test_install_writes_only_what_is_ours() -> None:
    assert install(SAVED, TEXT).splitlines() == [
        "*filter",
        ":lessor-FORWARD - [0:0]",
        "-D FORWARD -j lessor-FORWARD",
        "-D FORWARD -i eth7 -j lessor-old",
        "[3:300] -A lessor-FORWARD -i br100 -j ACCEPT",
        "[0:0] -A lessor-FORWARD -o br100 -j ACCEPT",
        "[1:100] -I FORWARD 1 -j lessor-FORWARD",
        "-F lessor-old",
        "-X lessor-old",
        "COMMIT",
    ]


def test_install_goes_below_what_the_regex_keeps_on_top() -> None:
    assert "[1:100] -I FORWARD 2 -j lessor-FORWARD" in install(SAVED, TEXT, "theirs").splitlines()


def test_install_takes_out_tables_that_are_no_longer_wanted() -> None:
    nat = "*nat\n:lessor-snat - [0:0]\nCOMMIT\n"
    assert install(nat, TEXT).endswith("*nat\n-F lessor-snat\n-X lessor-snat\nCOMMIT\n")


def test_remove_takes_out_every_jump_to_our_chains() -> None:
    assert remove(SAVED).splitlines() == [
        "*filter",
        "-D FORWARD -j lessor-FORWARD",
        "-D FORWARD -i eth7 -j lessor-old",
        "-D theirs -j lessor-FORWARD",
        "-F lessor-FORWARD",
        "-F lessor-old",
        "-X lessor-FORWARD",
        "-X lessor-old",
        "COMMIT",
    ]


def test_remove_of_nothing_is_nothing() -> None:
    assert remove("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n") == ""


def test_own_lines_tell_ours_and_no_counters() -> None:
    assert own_lines(SAVED) == [
        "filter",
        "lessor-FORWARD",
        "lessor-old",
        "-A FORWARD -j lessor-FORWARD",
        "-A FORWARD -i eth7 -j lessor-old",
        "-A lessor-FORWARD -i br100 -j ACCEPT",
    ]
