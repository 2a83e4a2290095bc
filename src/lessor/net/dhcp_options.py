"""Which DHCP options there are, by dnsmasq's names for them, and what their values look like.

dnsmasq leaves out an option that it can't read, and says so in its log only: the VM would never be
told, and nobody knew why. So what it would leave out is refused here. Names and what is refused were
read off dnsmasq 2.90 (`dnsmasq --help dhcp`); lengths are those of RFC 2132 and RFC 8925.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from ipaddress import IPv4Address

from lessor.errors import Invalid
from lessor.model import DhcpOption

LAST = 254  # 255 ends the options of a message
VENDOR = 43
# What server and client tell each other of the exchange itself: RFC 2132 9, RFC 4702, 3046, 3011.
# The lease's time is among them: an address is given on once its lease has certainly ended.
_EXCHANGE = frozenset({*range(50, 58), 81, 82, 118})
_BROADCAST = 28  # dnsmasq has no name for it that it takes
_ADDRESSES = {
    "netmask": 1, "router": 3, "dns-server": 6, "log-server": 7, "lpr-server": 9, "swap-server": 16,
    "policy-filter": 21, "router-solicitation": 32, "static-route": 33, "nis-server": 41,
    "ntp-server": 42, "netbios-ns": 44, "netbios-dd": 45, "x-windows-fs": 48, "x-windows-dm": 49,
    "nis+-server": 65, "mobile-ip-home": 68, "smtp-server": 69, "pop3-server": 70,
    "nntp-server": 71, "irc-server": 74, "tftp-server-address": 150,
    "server-ip-address": 255,  # no option: the field siaddr, which dnsmasq has a name for
}  # fmt: skip
_NUMBERS = {  # name: number, bytes
    "time-offset": (2, 4), "boot-file-size": (13, 2), "ip-forward-enable": (19, 1),
    "non-local-source-routing": (20, 1), "max-datagram-reassembly": (22, 2), "default-ttl": (23, 1),
    "mtu": (26, 2), "all-subnets-local": (27, 1), "router-discovery": (31, 1),
    "trailer-encapsulation": (34, 1), "arp-timeout": (35, 4), "ethernet-encap": (36, 1),
    "tcp-ttl": (37, 1), "tcp-keepalive": (38, 4), "netbios-nodetype": (46, 1), "ipv6-only": (108, 4),
}  # fmt: skip
_WORDS = {
    "domain-name": 15, "root-path": 17, "extension-path": 18, "nis-domain": 40, "netbios-scope": 47,
    "T1": 58, "T2": 59, "vendor-class": 60, "client-id": 61, "nis+-domain": 64, "tftp-server": 66,
    "bootfile-name": 67, "user-class": 77, "rapid-commit": 80, "client-arch": 93,
    "client-interface-id": 94, "client-machine-id": 97, "posix-timezone": 100,
    "tzdb-timezone": 101, "domain-search": 119, "sip-server": 120, "classless-static-route": 121,
    "vendor-id-encap": 125,
}  # fmt: skip
NUMBER_OF = _ADDRESSES | {name: number for name, (number, _) in _NUMBERS.items()} | _WORDS
_NAME_OF = {number: name for name, number in NUMBER_OF.items()}
_ANY_DIGITS = {"domain-name", "root-path", "extension-path", "nis-domain", "T1", "T2", "client-id",
               "nis+-domain", "tftp-server", "bootfile-name", "posix-timezone", "tzdb-timezone",
               "domain-search"}  # fmt: skip
_BYTE = "[0-9A-Fa-f]{2}"
_LIKE_ADDRESSES = re.compile(r"[0-9.,]*\.[0-9.,]*")


def number_of(option: DhcpOption) -> int:
    """Return the number of a DHCPv4 option that is given by name or by number.

    Raises:
        Invalid: there is no such option.
    """
    name = option.name
    number = int(name) if name.isdecimal() else NUMBER_OF.get(name, 0)
    if number in _EXCHANGE:
        raise Invalid(f"DHCP option {number} is about the exchange itself: the DHCP server sets it")
    if 1 <= number <= LAST or name == "server-ip-address":
        return number
    near = get_close_matches(name, NUMBER_OF, n=3)
    meant = f"; near it are {', '.join(near)}" if near else ""
    raise Invalid(
        f"{name!r} is neither a DHCP option's number (1-{LAST}) nor dnsmasq's name{meant}"
    )


def check_value(option: DhcpOption) -> None:
    """Check the value of a DHCPv4 option that is not blank.

    Raises:
        Invalid: dnsmasq would leave the option out, or no client could read it.
    """
    number = number_of(option)
    name = _NAME_OF.get(number, "")
    value = option.value
    addresses = name in _ADDRESSES or number == _BROADCAST
    if name in _NUMBERS:
        _check_number(option, _NUMBERS[name][1])
    elif number == VENDOR and value.removeprefix("-").isdecimal():
        raise Invalid(f"DHCP option {option.name}: give {value!r} by its bytes, such as 01:04:0a")
    elif addresses or (name not in _ANY_DIGITS and _LIKE_ADDRESSES.fullmatch(value)):
        for part in value.split(","):
            _check_address(option, part.strip())


def _check_number(option: DhcpOption, size: int) -> None:
    signed = option.value.removeprefix("-") if option.name in {"time-offset", "2"} else option.value
    most = 256**size - 1
    if size > 1 and re.fullmatch(f"({_BYTE}:){{{size - 1}}}{_BYTE}", option.value):
        return
    if not (signed.isascii() and signed.isdecimal() and int(signed) <= most):
        raise Invalid(
            f"DHCP option {option.name}: {option.value!r} is not a whole number up to {most}"
        )


def _check_address(option: DhcpOption, part: str) -> None:
    try:
        IPv4Address(part)
    except ValueError:
        raise Invalid(
            f"DHCP option {option.name}: {part!r} is not an IPv4 address; several are joined by commas"
        ) from None
