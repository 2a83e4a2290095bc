"""Types of options: parse an option's text to our type.

oslo.config calls each function with the text of a settings file, and with the function's own result
to check defaults, which it must return unchanged. An error is a ValueError whose text follows
"name='value': " in a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, ip_address
from pathlib import Path

from lessor.model import FLAT, VXLAN
from lessor.net.address import Address
from lessor.net.blocks import is_tunnel_end
from lessor.settings import FlatMapping

MAX_PORT = 65535
MAX_VNI = (1 << 24) - 1
MAX_INTERFACE_NAME = 15  # IFNAMSIZ less its closing NUL; linux/if.h
CONNECTED = "connected"  # of no_forward_cidr
_INTERFACE = re.compile(r"[^\s/:,]+")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?")


def ipv4(text: object) -> IPv4Address:
    """Parse an IPv4 address."""
    try:
        return IPv4Address(str(text).strip())
    except ValueError:
        raise ValueError("must be an IPv4 address such as 192.0.2.1") from None


def ipv4_network(text: object) -> IPv4Network:
    """Parse a block of IPv4 addresses; host bits are cleared, as in nova."""
    try:
        return IPv4Network(str(text).strip(), strict=False)
    except ValueError:
        raise ValueError("must be an IPv4 block such as 10.0.0.0/24") from None


def no_forward(text: object) -> IPv4Network | str:
    """Parse a block, or CONNECTED for the networks of a host."""
    if str(text).strip() == CONNECTED:
        return CONNECTED
    try:
        return ipv4_network(text)
    except ValueError:
        raise ValueError(f"must be {CONNECTED}, or an IPv4 block such as 10.0.0.0/24") from None


def listener(text: object) -> tuple[str, int]:
    """Parse ADDRESS:PORT; for port 0 the kernel chooses a free one."""
    host, _, port = str(text).strip().rpartition(":")
    try:
        address = str(IPv4Address("127.0.0.1" if host == "localhost" else host))
    except ValueError:
        raise ValueError("must be ADDRESS:PORT with an IPv4 address, 127.0.0.1:9696") from None
    if not port.isascii() or not port.isdigit() or int(port) > MAX_PORT:
        raise ValueError(f"port '{port}' is not 0 to {MAX_PORT}")
    return address, int(port)


def interface(text: object) -> str:
    """Parse the name of a network interface or a bridge.

    Source: dev_valid_name() in net/core/dev.c.
    """
    name = str(text).strip()
    if len(name) > MAX_INTERFACE_NAME:
        raise ValueError(f"has {len(name)} characters; Linux's maximum is {MAX_INTERFACE_NAME}")
    if name in (".", "..") or not _INTERFACE.fullmatch(name):
        raise ValueError("must be the name of an interface: no space, slash, colon or comma")
    return name


def flat_mapping(text: object) -> FlatMapping:
    """Parse NAME:BRIDGE:INTERFACE, or NAME:BRIDGE for a bridge without uplink."""
    if isinstance(text, FlatMapping):
        return text
    match [part.strip() for part in str(text).split(":")]:
        case [name, bridge] | [name, bridge, ""] if name:
            return FlatMapping(physical_network=name, bridge=interface(bridge), interface=None)
        case [name, bridge, nic] if name:
            return FlatMapping(
                physical_network=name, bridge=interface(bridge), interface=interface(nic)
            )
    raise ValueError("must be NAME:BRIDGE:INTERFACE, physnet2:br101:eth2")


def base_mac(text: object) -> str:
    """Parse the MAC whose first three (or four) octets are the prefix of generated MACs."""
    mac = str(text).strip().lower()
    if not _MAC.fullmatch(mac):
        raise ValueError("must be a MAC such as fa:16:3e:00:00:00")
    if int(mac[:2], 16) & 1:
        raise ValueError("is a group MAC (lowest bit of the first octet); no NIC may have one")
    return mac


def host_name(text: object) -> str:
    """Parse the name of a host of the fleet."""
    name = str(text).strip()
    if not _HOST.fullmatch(name):
        raise ValueError("must be a host name: letters, digits, dots and dashes, at most 255")
    return name


def path(text: object) -> Path:
    """Parse an absolute path."""
    value = Path(str(text).strip())
    if not value.is_absolute():
        raise ValueError("must be an absolute path")
    return value


def pattern(text: object) -> str:
    """Check a regular expression."""
    try:
        re.compile(str(text))
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return str(text)


def http_url(text: object) -> str:
    """Parse the URL of an HTTP server; a slash at its end is removed."""
    url = str(text).strip().rstrip("/")
    if not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", url):  # a password in it would be logged
        raise ValueError("must be a URL such as http://127.0.0.1:9697, without a user name")
    return url


def optional(item: Callable[[object], object]) -> Callable[[object], object]:
    """Return a parser that returns None for an empty text."""
    return lambda text: item(text) if str(text).strip() else None


def several(item: Callable[[object], object]) -> Callable[[object], object]:
    """Return a parser of values separated by commas, for options that may also be repeated."""

    def read(text: object) -> object:
        if not isinstance(text, str):
            return text
        return tuple(item(part) for part in text.split(",") if part.strip())

    return read


def words(text: object) -> str:
    """Parse one word of such a list."""
    return str(text).strip()


def tunnel_end(text: object) -> Address:
    """Parse the address of a host's VTEP."""
    try:
        address = ip_address(str(text).strip())
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None
    if not is_tunnel_end(address):
        raise ValueError("must be this host's address on the network between hosts")
    return address


def network_type(text: object) -> str:
    """Parse a network type."""
    kind = str(text).strip()
    if kind not in {FLAT, VXLAN}:
        raise ValueError(f"'{kind}' is neither flat nor vxlan")
    return kind


def vni_range(text: object) -> tuple[int, int]:
    """Parse FIRST:LAST, a range of VNIs.

    Source: RFC 7348 section 5 (24 bits); 0 is not used.
    """
    if isinstance(text, tuple):
        return text
    first, _, last = str(text).partition(":")
    try:
        low, high = int(first), int(last)
    except ValueError:
        raise ValueError("must be FIRST:LAST, 1:16777215") from None
    if not 1 <= low <= high <= MAX_VNI:
        raise ValueError(f"'{low}:{high}' is not a range within 1:{MAX_VNI}")
    return low, high


def datapath_type(text: object) -> str:
    """Parse the datapath type of Open vSwitch."""
    kind = str(text).strip()
    if kind not in {"", "system", "netdev"}:
        raise ValueError("must be system or netdev, or empty")
    return kind
