"""The rules of `table bridge lessor`: constant text; `core.firewall.tap_guard` fills its sets.

All is closed but for what is known: the taps of ports, the wires of our bridges, and the host. What
comes from another port of one of our bridges, whoever put it there, reaches none of these, and
nothing of theirs goes to it: KNOWN_MARK tells what came from one of them (the host's own packets
get it from `lessor.core.firewall.host_guard`). Of two ports on one bridge it is enough that one is
ours to know that the bridge is.

`return` ends a check: the frame goes on to the rules after the jump. Whatever reaches the end of a
`from_` chain is dropped and counted, under a name that says what was tried.

Who tried it is kept in sets that these rules fill, with a counter for each element: see
`lessor.core.firewall.drop_sets`. A full set takes no more, so the drop is a rule of its own.
"""

from __future__ import annotations

from dataclasses import replace

from lessor.core.firewall.drop_sets import (
    ANSWERING,
    FLOODING,
    WIRE_SERVERS,
    WRONG_MACS,
    WRONG_SOURCES,
)
from lessor.core.firewall.nft_script import NftChain, NftSet

TABLE = "bridge lessor"
VM_MARK = 0x04000000  # of a packet: it came from a VM's tap on this host
KNOWN_MARK = 0x02000000  # of a packet: it came from a known port of a bridge of ours, or the host
BRIDGED_MARK = (
    0x01000000  # of a packet: it goes from port to port of a bridge of ours, not by the host
)
LIFT_MARK = 0x08000000  # of a packet: only the host's own stack gets it, no port of the bridge

_FIRST = -310  # before whatever else filters or rewrites on bridges (ebtables' own start at -300)
_UNICAST = "ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00"
_RESERVED = "ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00"  # IEEE 802.1D table 7-10
_GROUP = "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00"
_RARP_REQUEST = "@nh,48,16 3"
# The kernel knows a protocol, and with it ports, only of a valid header: of its version, its length
# and the packet's, within the frame (nft_set_pktinfo_ipv4_validate). 255 is no protocol's.
_IS_SOUND = "meta l4proto != 255"
_FRAGMENT = "ip frag-off & 0x3fff != 0"
_IS_KNOWN = f"meta mark & {KNOWN_MARK:#010x} == {KNOWN_MARK:#010x}"
BETWEEN = "iifname vmap @groups"
TO_MEMBER = "to_member"
# The destination of the packet that an ICMP error quotes: after 8 bytes of ICMP and 16 of IPv4
QUOTED = "@th,192,32"
CLIENT = "@th,288,48"  # a DHCP client's MAC: after 8 bytes of UDP, 28 of the message (RFC 2131)


def _drop(counter: str) -> str:
    return f"counter name {counter} drop"


def _marked(marks: int) -> str:
    """Set these of our marks of where a frame came from, and clear the others of them."""
    ours = BRIDGED_MARK | KNOWN_MARK | marks  # it may have been on another bridge before
    kept = f"meta mark set meta mark and {0xFFFFFFFF ^ ours:#010x}"
    return f"{kept} or {marks:#010x}" if marks else kept


def _note(known: NftSet, key: str) -> str:
    return f"update @{known.name} {{ {key} counter }}"


_SERVER = _note(WIRE_SERVERS, f"ether saddr . ip saddr . {CLIENT}")


# A server names itself (option 54) behind 8 bytes of UDP, 236 of the message, the cookie and the
# message's type. dnsmasq's order; its broadcasts leave with the bridge's first address, whatever
# network they are for.
SERVER_ID = "@th,2024,32"


def client(mac: str) -> str:
    """Return a MAC as a number, as CLIENT is compared with it."""
    return f"0x{mac.replace(':', '')}"


def chains(*, apart: bool) -> tuple[NftChain, ...]:
    """Return all chains; `apart`: a bridge has taps of several groups, which get nothing of others.

    Without, no frame pays for it.
    """
    if not apart:
        return CHAINS
    return tuple(
        replace(chain, rules=(*chain.rules, BETWEEN)) if chain.name == TO_MEMBER else chain
        for chain in CHAINS
    )


def request_limit(tap: str) -> str:
    """Name the limit of a tap's DHCP requests."""
    return f"dhcp_{tap}"


COUNTERS = (
    "from_vlan",  # tagged frames
    "from_mac",  # another's MAC
    "from_ethertype",  # neither ARP, RARP, IPv4 nor IPv6
    "from_arp",  # another's MAC or address in ARP
    "from_ipv4",  # another's address, or a header that isn't sound
    "from_ipv6",  # IPv6: networks have none
    "from_dhcp",  # a DHCP server's answer
    "from_flood",  # DHCP requests too many
    "from_chaddr",  # a DHCP request for another's MAC
    "from_icmp",  # an ICMP error about a packet that was for another
    "from_igmp",  # an IGMP query
    "from_unknown",  # from a port of our bridges that is no port's tap
    "to_unknown",  # to such a one
    "to_mac",  # unicast for another
    "to_ipv4",  # a header that isn't sound
    "to_ipv6",  # IPv6: networks have none
    "to_dhcp",  # an answer of a DHCP server that isn't the port's
    "between_networks",  # from one flat network to another
    "reflected",  # a VM's own broadcast, sent back to it by hairpin mode
    "wire_arp",  # ARP of an address that every host has
    "wire_dhcp",  # DHCP that belongs to one host
    "host_reserved",  # to the bridge's own group addresses
    "host_ipv6",  # IPv6 to the host itself
)

_FROM_TAP = (
    _marked(VM_MARK | KNOWN_MARK),
    # LLDP's group comes here only from ports whose group_fwd_mask has 0x4000: from others
    # the kernel hands it to the host past every hook of the bridge.
    f"{_RESERVED} {_drop('host_reserved')}",
)
_REQUESTS = (
    # Whatever its source port; no request is so long that it comes in fragments.
    "udp dport 67 limit name iifname map @limits goto from_flood",
    f"udp dport 67 {_FRAGMENT} {_drop('from_flood')}",
)

CHAINS = (
    NftChain(
        "prerouting",
        (
            "iifname vmap @origins",
            _marked(0),
        ),
        f"filter hook prerouting priority {_FIRST}",
    ),
    NftChain("from_guarded", ("jump from_tap", "goto from_known")),
    NftChain("from_open", (*_FROM_TAP, *_REQUESTS, "goto from_known")),
    NftChain(
        "from_wire",
        (
            _marked(KNOWN_MARK),
            f"iifname . arp daddr ip @isolated {_drop('wire_arp')}",
            f"iifname . arp saddr ip @isolated {_drop('wire_arp')}",
            f"udp dport 68 iifname . ip saddr @local_servers {_drop('wire_dhcp')}",
            "udp dport 68 iifname . ether daddr @local_macs goto wire_server",
            "goto from_known",
        ),
    ),
    NftChain(
        "from_known",
        (
            (
                "arp saddr ip @ranges arp daddr ip @ranges arp saddr ip != @routers"
                f" arp saddr ip . arp daddr ip != @joined {_drop('between_networks')}"
            ),
            # Lifted: as broadcast, as the bridge's MAC is unknown here, and flooded to no port.
            (
                f"iifname . ip saddr . ip daddr @lifts ip saddr . ip daddr != @inside {_UNICAST}"
                " ether daddr set ff:ff:ff:ff:ff:ff meta pkttype set host"
                f" meta mark set meta mark or {LIFT_MARK:#010x}"
            ),
        ),
    ),
    NftChain(
        "from_tap",
        (
            *_FROM_TAP,
            # ICMP, IGMP and UDP by number: a host may lack their names (/etc/protocols).
            "meta l4proto vmap { 1 : jump from_icmp, 2 : jump from_igmp, 17 : jump from_udp }",
            # Most frames end here: an address is known with its MAC.
            f"ether type ip {_IS_SOUND} iifname . ether saddr . ip saddr @addresses return",
            "iifname . ether saddr != @macs goto from_mac",
            (
                "ether type vmap { ip : goto from_ipv4, arp : goto from_arp, ip6 : goto from_ipv6,"
                " 0x8035 : goto from_rarp, 8021q : goto from_vlan, 8021ad : goto from_vlan }"
            ),
            _drop("from_ethertype"),
        ),
    ),
    NftChain("from_icmp", ("icmp type { 3, 4, 5, 11, 12 } goto from_icmp_error",)),
    NftChain(
        "from_icmp_error",
        (
            # Errors are about packets that came to the VM. By one about another's, a VM that knows
            # or guesses its ports would end or slow down that flow, at the host or at its far end.
            f"iifname . {QUOTED} @quotable return",
            "iifname @may_route return",
            _drop("from_icmp"),
        ),
    ),
    NftChain(
        "from_igmp",
        (
            # Bridges listen to queries themselves: one of a VM would end memberships of others.
            f"{_FRAGMENT} {_drop('from_igmp')}",
            f"@th,0,8 0x11 {_drop('from_igmp')}",
        ),
    ),
    NftChain(
        "from_udp",
        (
            # The ports are in a datagram's first fragment, and without it there is no datagram.
            "udp dport vmap { 67 : jump from_client, 68 : goto from_dhcp }",
            "udp sport 67 goto from_dhcp",
        ),
    ),
    NftChain(
        "from_client",
        (
            *_REQUESTS,
            # dnsmasq's filter does so too, but not for a moment at its start (decision record 35)
            f"iifname . {CLIENT} != @clients {_drop('from_chaddr')}",
        ),
    ),
    NftChain("from_vlan", (_drop("from_vlan"),)),
    NftChain("from_ipv6", (_drop("from_ipv6"),)),
    NftChain("from_mac", (_note(WRONG_MACS, "iifname . ether saddr"), _drop("from_mac"))),
    NftChain("from_flood", (_note(FLOODING, "iifname"), _drop("from_flood"))),
    NftChain(
        "wire_server",
        (_SERVER, _drop("wire_dhcp")),
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
            _note(WRONG_SOURCES, "iifname . arp saddr ether . arp saddr ip"),
            _drop("from_arp"),
        ),
    ),
    # QEMU tells switches so where a migrated VM is now.
    NftChain("from_rarp", (f"{_RARP_REQUEST} return", _drop("from_arp"))),
    NftChain(
        "from_ipv4",
        (
            f"{_IS_SOUND} iifname . ether saddr . ip saddr @blocks return",
            "ip saddr 0.0.0.0 udp sport 68 udp dport 67 return",
            _note(WRONG_SOURCES, "iifname . ether saddr . ip saddr"),
            _drop("from_ipv4"),
        ),
    ),
    NftChain("from_dhcp", (_note(ANSWERING, "iifname"), _drop("from_dhcp"))),
    NftChain(
        "input",
        (
            # These reach the host past prerouting, hence unmarked, on the tap itself.
            f"iifname @taps {_RESERVED} {_drop('host_reserved')}",
            f"iifname @open ether type ip6 {_drop('host_ipv6')}",
            # Of VMs on other hosts, where an operator's own bridge takes part in IPv6.
            f"iifname @wires ether type ip6 ether saddr @vm_macs {_drop('host_ipv6')}",
        ),
        f"filter hook input priority {_FIRST}",
    ),
    NftChain(
        "forward",
        (
            f"oifname @members goto {TO_MEMBER}",
            f"{_IS_KNOWN} {_drop('to_unknown')}",
        ),
        f"filter hook forward priority {_FIRST}",
    ),
    NftChain(
        TO_MEMBER,
        (
            f"meta mark & {KNOWN_MARK | LIFT_MARK:#010x} != {KNOWN_MARK:#010x} goto to_none",
            f"{_GROUP} iifname . oifname @hairpins {_drop('reflected')}",
            f"udp dport 67 iifname . oifname @local_taps {_drop('wire_dhcp')}",
            # For the host's own rules, which br_netfilter shows it to.
            f"meta mark set meta mark or {BRIDGED_MARK:#010x}",
        ),
    ),
    NftChain("to_none", (f"meta mark & {KNOWN_MARK:#010x} == 0 {_drop('from_unknown')}", "drop")),
    NftChain(
        "output",
        (f"{_IS_KNOWN} oifname != @members {_drop('to_unknown')}",),
        f"filter hook output priority {_FIRST}",
    ),
    NftChain(
        "postrouting",
        (
            "oifname @guarded goto to_tap",
            f"oifname . arp daddr ip @isolated {_drop('wire_arp')}",
            f"oifname . arp saddr ip @isolated {_drop('wire_arp')}",
            f"udp dport 68 oifname . ip saddr @local_servers {_drop('wire_dhcp')}",
        ),
        f"filter hook postrouting priority {_FIRST}",
    ),
    NftChain(
        "to_tap",
        (
            f"ether type ip6 {_drop('to_ipv6')}",
            f"{_UNICAST} oifname . ether daddr != @macs {_drop('to_mac')}",
            "udp dport 68 oifname . ip saddr != @dhcp_servers goto to_dhcp",
            f"{_IS_SOUND} return",
            f"ether type ip {_drop('to_ipv4')}",
        ),
    ),
    NftChain(
        "to_dhcp",
        (
            f"udp sport 67 oifname . {SERVER_ID} @dhcp_server_ids return",
            # That of another network here: dropped, but not reported.
            f"udp sport 67 {SERVER_ID} @server_ids {_drop('to_dhcp')}",
            f"meta mark & {VM_MARK:#010x} == 0 {_SERVER}",
            _drop("to_dhcp"),
        ),
    ),
)
