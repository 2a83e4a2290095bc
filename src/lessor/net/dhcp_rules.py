"""Rules of a port's DHCP options and DNS name.

dnsmasq leaves out an option that it can't read, and says so in its log only: the VM would never
get it, and its owner would not know why. So what dnsmasq 2.90 leaves out is refused here; lengths
are those of the options' sources.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address

from lessor.errors import Invalid
from lessor.model import DhcpOption
from lessor.net.dhcp_options import VENDOR, Kind, Option, find

IPV4 = 4
MAX_NAME = 64  # semantics.md B3, extra_dhcp_opts
MAX_VALUE = 255
MAX_DNS_NAME = 255
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\Z")
_NAME = re.compile(r"[A-Za-z0-9+-]+\Z")
_BLANK = ("router", "classless-static-route")
_SIZED = frozenset({Kind.NUMBER, Kind.SIGNED, Kind.FLAG})
_ANY_DIGITS = frozenset(  # 1.2.3 is a value of them
    {Kind.TEXT, Kind.C_STRING, Kind.SECONDS, Kind.IDENTITY, Kind.DOMAINS}
)
_BYTE = "[0-9A-Fa-f]{2}"
_LIKE_ADDRESSES = re.compile(r"[0-9.,]*\.[0-9.,]*")


def check_options(options: Sequence[DhcpOption]) -> None:
    """Check a port's DHCP options.

    Raises:
        Invalid: a name is no option's, a line would be broken, or something is too long. dnsmasq
            reads one option a line: what follows a newline would be another one (LP 1939733).
    """
    seen: set[tuple[object, int]] = set()
    for option in options:
        _check(option)
        number = find(option.name).number if option.ip_version == IPV4 else option.name
        key = (number, option.ip_version)
        if key in seen:
            raise Invalid(f"DHCP option {option.name} is given twice; give it once")
        seen.add(key)


def _check(option: DhcpOption) -> None:
    shown = option.name[: MAX_NAME + 1]
    if any(not char.isprintable() for char in option.name + option.value):
        raise Invalid(f"DHCP option {shown!r} has a newline or another control character in it")
    if len(option.name) > MAX_NAME:
        raise Invalid(f"DHCP option name {shown!r}... is longer than {MAX_NAME} characters")
    if len(option.value) > MAX_VALUE:
        raise Invalid(f"the value of DHCP option {shown} is longer than {MAX_VALUE} characters")
    if not option.value and option.name not in _BLANK:
        raise Invalid(f"DHCP option {shown} has no value; only {' and '.join(_BLANK)} may be blank")
    if option.ip_version not in (IPV4, 6):
        raise Invalid(f"DHCP option {shown}: ip_version {option.ip_version} is neither 4 nor 6")
    if option.ip_version != IPV4 and not _NAME.match(option.name):
        raise Invalid(f"{shown!r} is no DHCP option's name: letters, digits and hyphens")
    if option.ip_version == IPV4 and option.value:
        _check_value(option, find(option.name))


def _check_value(given: DhcpOption, option: Option) -> None:
    value = given.value
    if option.kind in _SIZED:
        _check_number(given, option)
    elif option.number == VENDOR and value.removeprefix("-").isdecimal():
        raise Invalid(f"DHCP option {given.name}: give {value!r} by its bytes, such as 01:04:0a")
    elif option.kind is Kind.ADDRESSES or (
        option.kind not in _ANY_DIGITS and _LIKE_ADDRESSES.fullmatch(value)
    ):
        for part in value.split(","):
            _check_address(given, part.strip())


def _check_number(given: DhcpOption, option: Option) -> None:
    value = given.value
    digits = value.removeprefix("-") if option.kind is Kind.SIGNED else value
    most = 256**option.size - 1
    if option.size > 1 and re.fullmatch(f"({_BYTE}:){{{option.size - 1}}}{_BYTE}", value):
        return
    if not (digits.isascii() and digits.isdecimal() and int(digits) <= most):
        raise Invalid(f"DHCP option {given.name}: {value!r} is not a whole number up to {most}")


def _check_address(given: DhcpOption, part: str) -> None:
    try:
        IPv4Address(part)
    except ValueError:
        raise Invalid(
            f"DHCP option {given.name}: {part!r} is not an IPv4 address; "
            "several are joined by commas"
        ) from None


def check_dns_name(name: str) -> None:
    """Check a port's dns_name: labels of letters, digits and hyphens, joined by dots.

    A label longer than 63 characters is let through: it is cut where DHCP needs it (A8.1).

    Raises:
        Invalid: it is something else.
    """
    if len(name) > MAX_DNS_NAME:
        raise Invalid(f"dns_name is {len(name)} characters long; most is {MAX_DNS_NAME}")
    if name and not all(_LABEL.match(label) for label in name.removesuffix(".").split(".")):
        raise Invalid(f"dns_name {name!r}: a name is of letters, digits, hyphens and dots")
