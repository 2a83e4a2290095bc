"""What an option's text may be, and what it becomes.

Each is a function that oslo.config calls with the text of a settings file, and takes its own
result unchanged (oslo.config checks defaults that way). What is wrong is a ValueError whose words
follow "name='value': " in a message.
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
    """Read an IPv4 address."""
    try:
        return IPv4Address(str(text).strip())
    except ValueError:
        raise ValueError("must be an IPv4 address such as 192.0.2.1") from None


def ipv4_network(text: object) -> IPv4Network:
    """Read a block of IPv4 addresses; bits behind the prefix are cleared, as nova does."""
    try:
        return IPv4Network(str(text).strip(), strict=False)
    except ValueError:
        raise ValueError("must be an IPv4 block such as 10.0.0.0/24") from None


def no_forward(text: object) -> IPv4Network | str:
    """Read a block, or the word for the networks of a host."""
    if str(text).strip() == CONNECTED:
        return CONNECTED
    try:
        return ipv4_network(text)
    except ValueError:
        raise ValueError(f"must be {CONNECTED}, or an IPv4 block such as 10.0.0.0/24") from None


def listener(text: object) -> tuple[str, int]:
    """Read ADDRESS:PORT; port 0 lets the kernel choose one."""
    host, _, port = str(text).strip().rpartition(":")
    try:
        address = str(IPv4Address("127.0.0.1" if host == "localhost" else host))
    except ValueError:
        raise ValueError("must be ADDRESS:PORT with an IPv4 address, 127.0.0.1:9696") from None
    if not port.isascii() or not port.isdigit() or int(port) > MAX_PORT:
        raise ValueError(f"port '{port}' is not 0 to {MAX_PORT}")
    return address, int(port)


def interface(text: object) -> str:
    """Read the name of a network interface or a bridge.

    Source: dev_valid_name() in net/core/dev.c.
    """
    name = str(text).strip()
    if len(name) > MAX_INTERFACE_NAME:
        raise ValueError(f"{len(name)} characters; Linux takes {MAX_INTERFACE_NAME} in such a name")
    if name in (".", "..") or not _INTERFACE.fullmatch(name):
        raise ValueError("must be the name of an interface: no space, slash, colon or comma")
    return name


def flat_mapping(text: object) -> FlatMapping:
    """Read NAME:BRIDGE:INTERFACE, or NAME:BRIDGE for a bridge that stays on its host."""
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
    """Read the MAC whose first half (or first four octets) all generated ones start with."""
    mac = str(text).strip().lower()
    if not _MAC.fullmatch(mac):
        raise ValueError("must be a MAC such as fa:16:3e:00:00:00")
    if int(mac[:2], 16) & 1:
        raise ValueError("is a group MAC (lowest bit of the first octet); no NIC may have one")
    return mac


def host_name(text: object) -> str:
    """Read the name of a host of the fleet."""
    name = str(text).strip()
    if not _HOST.fullmatch(name):
        raise ValueError("must be a host name: letters, digits, dots and dashes, at most 255")
    return name


def path(text: object) -> Path:
    """Read an absolute path."""
    value = Path(str(text).strip())
    if not value.is_absolute():
        raise ValueError("must be an absolute path")
    return value


def pattern(text: object) -> str:
    """Read a regular expression."""
    try:
        re.compile(str(text))
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return str(text)


def http_url(text: object) -> str:
    """Read the address of an HTTP server, without the slash at its end."""
    url = str(text).strip().rstrip("/")
    if not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", url):  # a password in it would be logged
        raise ValueError("must be a URL such as http://127.0.0.1:9697, without a user's name")
    return url


def optional(item: Callable[[object], object]) -> Callable[[object], object]:
    """Return a reader that takes an empty text as unset."""
    return lambda text: item(text) if str(text).strip() else None


def several(item: Callable[[object], object]) -> Callable[[object], object]:
    """Return a reader of values set apart by commas, for options that may also be repeated."""

    def read(text: object) -> object:
        if not isinstance(text, str):
            return text
        return tuple(item(part) for part in text.split(",") if part.strip())

    return read


def words(text: object) -> str:
    """Read one word of such a list."""
    return str(text).strip()


def tunnel_end(text: object) -> Address:
    """Read the address at which a host's tunnels end."""
    try:
        address = ip_address(str(text).strip())
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None
    if not is_tunnel_end(address):
        raise ValueError("must be this host's address on the network between hosts")
    return address


def network_type(text: object) -> str:
    """Read a type of network that can be made."""
    kind = str(text).strip()
    if kind not in {FLAT, VXLAN}:
        raise ValueError(f"'{kind}' is none of flat, vxlan")
    return kind


def vni_range(text: object) -> tuple[int, int]:
    """Read FIRST:LAST, numbers of vxlan networks.

    Source: RFC 7348 section 5 (24 bits); 0 is nobody's.
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
    """Read who forwards the packets of Open vSwitch."""
    kind = str(text).strip()
    if kind not in {"", "system", "netdev"}:
        raise ValueError("must be system or netdev, or empty")
    return kind
