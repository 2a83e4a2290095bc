"""Rules of what a port's owner may have told to its VM by DHCP, and of names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lessor.errors import Invalid
from lessor.model import DhcpOption
from lessor.net.dhcp_options import check_value, number_of

IPV4 = 4
LONGEST_NAME = 64  # semantics.md B3, extra_dhcp_opts
LONGEST_VALUE = 255
LONGEST_DNS_NAME = 255
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\Z")
_NAME = re.compile(r"[A-Za-z0-9+-]+\Z")
_BLANK = ("router", "classless-static-route")


def check_options(options: Sequence[DhcpOption]) -> None:
    """Check a port's DHCP options.

    Raises:
        Invalid: a name is no option's, a line would be broken, or something is too long. dnsmasq
            reads one option a line: what follows a newline would be another one (LP 1939733).
    """
    seen: set[tuple[object, int]] = set()
    for option in options:
        _check(option)
        number = number_of(option) if option.ip_version == IPV4 else option.name
        key = (number, option.ip_version)
        if key in seen:
            raise Invalid(f"DHCP option {option.name} is given twice; give it once")
        seen.add(key)


def _check(option: DhcpOption) -> None:
    shown = option.name[: LONGEST_NAME + 1]
    if any(not char.isprintable() for char in option.name + option.value):
        raise Invalid(f"DHCP option {shown!r} has a newline or another control character in it")
    if len(option.name) > LONGEST_NAME:
        raise Invalid(f"DHCP option name {shown!r}... is longer than {LONGEST_NAME} characters")
    if len(option.value) > LONGEST_VALUE:
        raise Invalid(f"the value of DHCP option {shown} is longer than {LONGEST_VALUE} characters")
    if not option.value and option.name not in _BLANK:
        raise Invalid(f"DHCP option {shown} has no value; only {' and '.join(_BLANK)} may be blank")
    if option.ip_version not in (IPV4, 6):
        raise Invalid(f"DHCP option {shown}: ip_version {option.ip_version} is neither 4 nor 6")
    if option.ip_version != IPV4 and not _NAME.match(option.name):
        raise Invalid(f"{shown!r} is no DHCP option's name: letters, digits and hyphens")
    if option.ip_version == IPV4 and option.value:
        check_value(option)


def check_dns_name(name: str) -> None:
    """Check a port's dns_name: labels of letters, digits and hyphens, joined by dots.

    A label longer than 63 characters is let through: it is cut where DHCP needs it (A8.1).

    Raises:
        Invalid: it is something else.
    """
    if len(name) > LONGEST_DNS_NAME:
        raise Invalid(f"dns_name is {len(name)} characters long; most is {LONGEST_DNS_NAME}")
    if name and not all(_LABEL.match(label) for label in name.removesuffix(".").split(".")):
        raise Invalid(f"dns_name {name!r}: a name is of letters, digits, hyphens and dots")
