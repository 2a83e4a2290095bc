"""The rules of `table bridge lessor`: constant text; `lessor.core.guards` fills its sets.

`return` ends a check: the frame goes on to the rules after the jump. Whatever reaches the end of a
`from_` chain is dropped and counted, under a name that says what was tried.
"""

from __future__ import annotations

from lessor.core.nft_script import NftChain

TABLE = "bridge lessor"
VM_MARK = 0x04000000  # of a packet: it came from a VM's tap on this host
LIFT_MARK = 0x08000000  # of a packet: only the host's own stack gets it, no port of the bridge

_FIRST = -310  # before whatever else filters or rewrites on bridges (ebtables' own start at -300)
_UNICAST = "ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00"
_RESERVED = "ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00"  # IEEE 802.1D table 7-10
_GROUP = "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00"
_LINK_LOCAL_TARGET = "@th,64,10 0x3fa"  # a neighbour's address (ICMPv6 byte 8) in fe80::/10
_RARP_REQUEST = "@nh,48,16 3"


def _drop(counter: str) -> str:
    return f"counter name {counter} drop"


def rogue_counter(tap: str) -> str:
    """Name the counter of the DHCP answers that a tap tried to give."""
    return f"rogue_dhcp_{tap}"


def flood_counter(tap: str) -> str:
    """Name the counter of the DHCP requests of a tap that were too many."""
    return f"flood_dhcp_{tap}"


def request_limit(tap: str) -> str:
    """Name the limit of a tap's DHCP requests."""
    return f"dhcp_{tap}"


COUNTERS = (
    "from_vlan",  # tagged frames
    "from_mac",  # another's MAC
    "from_ethertype",  # neither ARP, RARP, IPv4 nor IPv6
    "from_arp",  # another's MAC or address in ARP
    "from_ipv4",  # another's address
    "from_ipv6",  # a global address, or fragments
    "from_dhcp",  # a DHCP server's answer
    "from_router",  # a router advertisement or redirect
    "to_mac",  # unicast for another
    "to_dhcp",  # an answer of a DHCP server that isn't the port's
    "reflected",  # a VM's own broadcast, sent back to it by hairpin mode
    "wire_arp",  # ARP of an address that every host has
    "wire_dhcp",  # DHCP that belongs to one host
    "host_reserved",  # to the bridge's own group addresses
    "host_ipv6",  # IPv6 to the host itself
)

CHAINS = (
    NftChain(
        "prerouting",
        (
            f"iifname @taps meta mark set meta mark or {VM_MARK:#010x}",
            # LLDP's group comes here only from ports whose group_fwd_mask has 0x4000: from others
            # the kernel hands it to the host past every hook of the bridge.
            f"iifname @taps {_RESERVED} {_drop('host_reserved')}",
            (
                "udp sport 68 udp dport 67 limit name iifname map @limits"
                " counter name iifname map @floods drop"
            ),
            "iifname @guarded jump from_tap",
            f"iifname . arp daddr ip @isolated {_drop('wire_arp')}",
            f"iifname . arp saddr ip @isolated {_drop('wire_arp')}",
            f"udp dport 68 iifname . ip saddr @local_servers {_drop('wire_dhcp')}",
            f"udp dport 68 iifname . ether daddr @local_macs {_drop('wire_dhcp')}",
            # Lifted: as broadcast, since nobody here knows the bridge's MAC, and flooded to no port.
            (
                f"iifname . ip saddr . ip daddr @lifts ip saddr . ip daddr != @inside {_UNICAST}"
                " ether daddr set ff:ff:ff:ff:ff:ff meta pkttype set host"
                f" meta mark set meta mark or {LIFT_MARK:#010x}"
            ),
        ),
        f"filter hook prerouting priority {_FIRST}",
    ),
    NftChain(
        "from_tap",
        (
            f"ether type {{ 8021q, 8021ad }} {_drop('from_vlan')}",
            f"iifname . ether saddr != @macs {_drop('from_mac')}",
            (
                "ether type vmap { ip : goto from_ipv4, arp : goto from_arp, ip6 : goto from_ipv6,"
                " 0x8035 : goto from_rarp }"
            ),
            _drop("from_ethertype"),
        ),
    ),
    NftChain(
        "from_arp",
        (
            "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 goto from_arp_sender",
            _drop("from_arp"),
        ),
    ),
    NftChain(
        "from_arp_sender",
        (
            "iifname . arp saddr ether . arp saddr ip @addresses return",
            "iifname . arp saddr ether . arp saddr ip @blocks return",
            # A probe asks before it has an address (RFC 5227).
            "arp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs return",
            _drop("from_arp"),
        ),
    ),
    # QEMU tells switches so where a migrated VM is now.
    NftChain("from_rarp", (f"{_RARP_REQUEST} return", _drop("from_arp"))),
    NftChain(
        "from_ipv4",
        (
            # The ports are in a datagram's first fragment, and without it there is no datagram.
            "udp sport 67 goto from_dhcp",
            "udp dport 68 goto from_dhcp",
            "iifname . ether saddr . ip saddr @addresses return",
            "iifname . ether saddr . ip saddr @blocks return",
            "ip saddr 0.0.0.0 udp sport 68 udp dport 67 return",
            _drop("from_ipv4"),
        ),
    ),
    NftChain(
        "from_ipv6",
        (
            # Nothing on a link needs them, and they hide router advertisements (RFC 6980).
            f"exthdr frag exists {_drop('from_ipv6')}",
            "udp sport 547 goto from_dhcp",
            "udp dport 546 goto from_dhcp",
            f"icmpv6 type {{ nd-router-advert, nd-redirect }} {_drop('from_router')}",
            f"icmpv6 type nd-neighbor-advert {_LINK_LOCAL_TARGET} ip6 saddr fe80::/10 return",
            f"icmpv6 type nd-neighbor-advert {_drop('from_ipv6')}",
            "ip6 saddr { ::, fe80::/10 } return",
            _drop("from_ipv6"),
        ),
    ),
    NftChain("from_dhcp", ("counter name from_dhcp", "counter name iifname map @rogues", "drop")),
    NftChain(
        "input",
        (
            # These reach the host past prerouting, hence unmarked, on the tap itself.
            f"iifname @taps {_RESERVED} {_drop('host_reserved')}",
            f"iifname @taps ether type ip6 {_drop('host_ipv6')}",
        ),
        f"filter hook input priority {_FIRST}",
    ),
    NftChain(
        "forward",
        (
            f"iifname . oifname @hairpins {_GROUP} {_drop('reflected')}",
            f"udp dport 67 iifname . oifname @local_taps {_drop('wire_dhcp')}",
            f"meta mark & {LIFT_MARK:#010x} == {LIFT_MARK:#010x} drop",
        ),
        f"filter hook forward priority {_FIRST}",
    ),
    NftChain(
        "postrouting",
        (
            "oifname @guarded jump to_tap",
            f"oifname . arp daddr ip @isolated {_drop('wire_arp')}",
            f"oifname . arp saddr ip @isolated {_drop('wire_arp')}",
            f"udp dport 68 oifname . ip saddr @local_servers {_drop('wire_dhcp')}",
        ),
        f"filter hook postrouting priority {_FIRST}",
    ),
    NftChain(
        "to_tap",
        (
            f"{_UNICAST} oifname . ether daddr != @macs {_drop('to_mac')}",
            f"udp dport 68 oifname . ip saddr != @dhcp_servers {_drop('to_dhcp')}",
        ),
    ),
)
