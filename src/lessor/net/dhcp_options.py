"""The DHCPv4 options: number, name, kind of value, source.

The names are those that users give (extra_dhcp_opts): dnsmasq's. Options without a line here are
known by number only. `lessor.net.dhcp_values` encodes the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, auto

from lessor.errors import Invalid

LAST = 254  # 255 ends the options of a message
# Options of the exchange itself: RFC 2132 9, RFC 3011, 3046, 4702. The lease's time is among them:
# an address is given on once its lease has certainly ended.
EXCHANGE = frozenset({*range(50, 58), 81, 82, 118})


class Kind(Enum):
    """The form of an option's value."""

    ADDRESSES = auto()  # IPv4 addresses, 4 bytes each
    NUMBER = auto()  # unsigned, big-endian, of the option's size
    SIGNED = auto()  # a number in two's complement
    FLAG = auto()  # one byte, 0 or 1
    SECONDS = auto()  # 4 bytes, unsigned; text may end with the unit s, m, h, d or w
    TEXT = auto()  # without a zero at the end
    C_STRING = auto()  # with one: PXE firmware reads on until there is a zero
    ROUTES = auto()  # destinations and their routers, RFC 3442
    DOMAINS = auto()  # names in DNS form, compressed, RFC 3397
    SIP = auto()  # a byte that tells which, then names or addresses, RFC 3361
    IDENTITY = auto()  # a client's; never in an answer unless the client sent it
    ANY = auto()  # bytes, a number, addresses or text: the value's own form tells


@dataclass(frozen=True, slots=True)
class Option:
    """A DHCPv4 option.

    Attributes:
        number: 1 to 254; 255 is no option but the field siaddr of a message.
        name: dnsmasq's; "": it has none.
        kind: of its value.
        source: where number and value are defined.
        size: bytes of its numbers; 0: as many as a number needs.
    """

    number: int
    name: str
    kind: Kind
    source: str = ""
    size: int = 0


OPTIONS = (
    Option(1, "netmask", Kind.ADDRESSES, "RFC 2132 3.3"),
    Option(2, "time-offset", Kind.SIGNED, "RFC 2132 3.4", 4),
    Option(3, "router", Kind.ADDRESSES, "RFC 2132 3.5"),
    Option(6, "dns-server", Kind.ADDRESSES, "RFC 2132 3.8"),
    Option(7, "log-server", Kind.ADDRESSES, "RFC 2132 3.9"),
    Option(9, "lpr-server", Kind.ADDRESSES, "RFC 2132 3.11"),
    Option(12, "", Kind.TEXT, "RFC 2132 3.14"),  # the host's name, which a reservation has
    Option(13, "boot-file-size", Kind.NUMBER, "RFC 2132 3.15", 2),
    Option(15, "domain-name", Kind.TEXT, "RFC 2132 3.17"),
    Option(16, "swap-server", Kind.ADDRESSES, "RFC 2132 3.18"),
    Option(17, "root-path", Kind.TEXT, "RFC 2132 3.19"),
    Option(18, "extension-path", Kind.TEXT, "RFC 2132 3.20"),
    Option(19, "ip-forward-enable", Kind.FLAG, "RFC 2132 4.1", 1),
    Option(20, "non-local-source-routing", Kind.FLAG, "RFC 2132 4.2", 1),
    Option(21, "policy-filter", Kind.ADDRESSES, "RFC 2132 4.3"),
    Option(22, "max-datagram-reassembly", Kind.NUMBER, "RFC 2132 4.4", 2),
    Option(23, "default-ttl", Kind.NUMBER, "RFC 2132 4.5", 1),
    Option(26, "mtu", Kind.NUMBER, "RFC 2132 5.1", 2),
    Option(27, "all-subnets-local", Kind.FLAG, "RFC 2132 5.2", 1),
    Option(28, "", Kind.ADDRESSES, "RFC 2132 5.3"),  # the broadcast address
    Option(31, "router-discovery", Kind.FLAG, "RFC 2132 5.6", 1),
    Option(32, "router-solicitation", Kind.ADDRESSES, "RFC 2132 5.7"),
    Option(33, "static-route", Kind.ADDRESSES, "RFC 2132 5.8"),
    Option(34, "trailer-encapsulation", Kind.FLAG, "RFC 2132 6.1", 1),
    Option(35, "arp-timeout", Kind.NUMBER, "RFC 2132 6.2", 4),
    Option(36, "ethernet-encap", Kind.FLAG, "RFC 2132 6.3", 1),
    Option(37, "tcp-ttl", Kind.NUMBER, "RFC 2132 7.1", 1),
    Option(38, "tcp-keepalive", Kind.NUMBER, "RFC 2132 7.2", 4),
    Option(40, "nis-domain", Kind.TEXT, "RFC 2132 8.1"),
    Option(41, "nis-server", Kind.ADDRESSES, "RFC 2132 8.2"),
    Option(42, "ntp-server", Kind.ADDRESSES, "RFC 2132 8.3"),
    Option(44, "netbios-ns", Kind.ADDRESSES, "RFC 2132 8.5"),
    Option(45, "netbios-dd", Kind.ADDRESSES, "RFC 2132 8.6"),
    Option(46, "netbios-nodetype", Kind.NUMBER, "RFC 2132 8.7", 1),
    Option(47, "netbios-scope", Kind.ANY, "RFC 2132 8.8"),
    Option(48, "x-windows-fs", Kind.ADDRESSES, "RFC 2132 8.9"),
    Option(49, "x-windows-dm", Kind.ADDRESSES, "RFC 2132 8.10"),
    Option(58, "T1", Kind.SECONDS, "RFC 2132 9.11", 4),
    Option(59, "T2", Kind.SECONDS, "RFC 2132 9.12", 4),
    Option(60, "vendor-class", Kind.ANY, "RFC 2132 9.13"),
    Option(61, "client-id", Kind.IDENTITY, "RFC 2132 9.14"),
    Option(64, "nis+-domain", Kind.TEXT, "RFC 2132 8.11"),
    Option(65, "nis+-server", Kind.ADDRESSES, "RFC 2132 8.12"),
    Option(66, "tftp-server", Kind.C_STRING, "RFC 2132 9.4"),
    Option(67, "bootfile-name", Kind.C_STRING, "RFC 2132 9.5"),
    Option(68, "mobile-ip-home", Kind.ADDRESSES, "RFC 2132 8.13"),
    Option(69, "smtp-server", Kind.ADDRESSES, "RFC 2132 8.14"),
    Option(70, "pop3-server", Kind.ADDRESSES, "RFC 2132 8.15"),
    Option(71, "nntp-server", Kind.ADDRESSES, "RFC 2132 8.16"),
    Option(74, "irc-server", Kind.ADDRESSES, "RFC 2132 8.19"),
    Option(77, "user-class", Kind.ANY, "RFC 3004"),
    Option(80, "rapid-commit", Kind.ANY, "RFC 4039"),
    Option(93, "client-arch", Kind.ANY, "RFC 4578 2.1", 2),
    Option(94, "client-interface-id", Kind.ANY, "RFC 4578 2.2"),
    Option(97, "client-machine-id", Kind.ANY, "RFC 4578 2.3"),
    Option(100, "posix-timezone", Kind.TEXT, "RFC 4833"),
    Option(101, "tzdb-timezone", Kind.TEXT, "RFC 4833"),
    Option(108, "ipv6-only", Kind.NUMBER, "RFC 8925", 4),
    Option(119, "domain-search", Kind.DOMAINS, "RFC 3397"),
    Option(120, "sip-server", Kind.SIP, "RFC 3361"),
    Option(121, "classless-static-route", Kind.ROUTES, "RFC 3442"),
    Option(125, "vendor-id-encap", Kind.ANY, "RFC 3925"),
    Option(150, "tftp-server-address", Kind.ADDRESSES, "RFC 5859"),
    Option(249, "", Kind.ROUTES, "MS-DHCPE 2.2.8"),  # 121 of older Windows
    Option(255, "server-ip-address", Kind.ADDRESSES, "RFC 2131 2"),  # the field siaddr
)
BY_NUMBER = {option.number: option for option in OPTIONS}
BY_NAME = {option.name: option for option in OPTIONS if option.name}

ROUTER, DNS_SERVER, MTU = BY_NAME["router"], BY_NAME["dns-server"], BY_NAME["mtu"]
VENDOR = 43  # vendor-specific information, RFC 2132 8.4
CLIENT_ID, SIADDR = BY_NAME["client-id"], BY_NAME["server-ip-address"]
TFTP_SERVERS = (BY_NAME["tftp-server"], BY_NAME["tftp-server-address"])
ROUTES = (BY_NAME["classless-static-route"], BY_NUMBER[249])


def find(name: str) -> Option:
    """Return the option that is given by name or by number.

    Raises:
        Invalid: there is no such option, or servers set it themselves.
    """
    number = int(name) if name.isdecimal() else 0
    option = BY_NAME.get(name) or BY_NUMBER.get(number) or Option(number, "", Kind.ANY)
    if option.number in EXCHANGE:
        raise Invalid(
            f"DHCP option {option.number} is about the exchange itself: the DHCP server sets it"
        )
    if 1 <= option.number <= LAST or name == SIADDR.name:
        return option
    near = get_close_matches(name, BY_NAME, n=3)
    meant = f"; near it are {', '.join(near)}" if near else ""
    raise Invalid(
        f"{name!r} is neither a DHCP option's number (1-{LAST}) nor dnsmasq's name{meant}"
    )
