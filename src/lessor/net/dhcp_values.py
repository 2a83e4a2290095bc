"""Bytes of DHCPv4 options: from values, and from the text that users give (extra_dhcp_opts).

Text is read as dnsmasq 2.90 reads it (compared option by option), except that text keeps a last
letter b, s or i after digits, and that a value of the wrong form is refused where dnsmasq sends
something else. An option may have more than 255 bytes; the writer of a packet splits it (RFC 3396).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network

from lessor.errors import Invalid
from lessor.net.address import Address, Block, ipv4s
from lessor.net.dhcp_options import Kind, Option

NO_ADDRESS = IPv4Address(0)  # stands for the server's own
POINTER = 0xC000  # two bits, then an offset of 14
MAX_LABEL = 63
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_HEX = re.compile(r"[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2})+")
_NUMBER = re.compile(r"(-?[0-9]+)([bsi]?)", re.ASCII)
_SIZES = {"b": 1, "s": 2, "i": 4}  # a number's size by its last letter
_SECONDS = re.compile(r"([0-9]+)([smhdw]?)", re.ASCII)
_DOTTED = re.compile(r"[0-9.,/ ]*\.[0-9.,/ ]*")


def addresses(many: Iterable[Address]) -> bytes:
    """Return the IPv4 addresses among these, 4 bytes each."""
    return b"".join(one.packed for one in ipv4s(many))


def number(value: int, size: int, *, signed: bool = False) -> bytes:
    """Return a number of `size` bytes, big-endian.

    Raises:
        Invalid: it has no place in them.
    """
    try:
        return value.to_bytes(size, "big", signed=signed)
    except OverflowError as error:
        raise Invalid(f"{value} is no number of {size} bytes") from error


def routes(many: Iterable[tuple[Block, Address]]) -> bytes:
    """Return classless IPv4 routes: prefix length, the bytes that it covers, router.

    Source: RFC 3442.
    """
    return b"".join(
        _destination(block) + hop.packed for block, hop in many if isinstance(block, IPv4Network)
    )


def domains(names: Iterable[str]) -> bytes:
    """Return names in DNS form, each compressed by those before it; "." is the root.

    Raises:
        Invalid: a label is empty, too long or not ASCII.

    Source: RFC 3397; RFC 1035, 3.1 and 4.1.4.
    """
    packed = b""
    offsets: dict[tuple[str, ...], int] = {}
    for name in names:
        labels = tuple(part for part in name.removesuffix(".").split(".") if name != ".")
        for at in range(len(labels)):
            tail = labels[at:]
            if tail in offsets:
                packed += (POINTER | offsets[tail]).to_bytes(2, "big")
                break
            offsets[tail] = len(packed)
            packed += _label(name, tail[0])
        else:
            packed += b"\0"
    return packed


def encode(option: Option, text: str, own: Address) -> bytes:
    """Return the bytes of an option whose value is given as text.

    Args:
        option: tells the form of the value.
        text: not empty.
        own: the server's address, for which 0.0.0.0 stands.

    Raises:
        Invalid: the text has another form.
    """
    try:
        return _ENCODERS[option.kind](text, option.size, own)
    except (ValueError, Invalid) as error:
        raise Invalid(f"DHCP option {option.name or option.number}: {text!r}: {error}") from error


def _text(text: str, _size: int, _own: Address) -> bytes:
    return text.encode()


def _c_string(text: str, _size: int, _own: Address) -> bytes:
    return text.encode() + b"\0"


def _addresses(text: str, _size: int, own: Address) -> bytes:
    return addresses(_address(one, own) for one in _parts(text))


def _domains(text: str, _size: int, _own: Address) -> bytes:
    return domains(_parts(text))


def _sized(text: str, size: int, _own: Address) -> bytes:
    return _bytes(text) or _number(text, size)


def _by_form(text: str, size: int, own: Address) -> bytes:
    """Return bytes, a number, addresses (routes, if some have a prefix length), or the text."""
    if found := _bytes(text):
        return found
    if _NUMBER.fullmatch(text):
        return _number(text, size)
    return _descriptors(text, own) if _DOTTED.fullmatch(text) else text.encode()


def _bytes(text: str) -> bytes:
    """Return what is written as 01:0a:ff; b"" for another form."""
    return bytes(int(one, 16) for one in text.split(":")) if _HEX.fullmatch(text) else b""


def _number(text: str, size: int) -> bytes:
    """Return a number; without a size, of 1, 2 or 4 bytes, or as its last letter says."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise Invalid("not a whole number")
    value = int(found[1])
    needed = next((n for n in (1, 2) if 0 <= value < 256**n), 4)
    return number(value, _SIZES.get(found[2]) or size or needed, signed=value < 0)


def _seconds(text: str, size: int, _own: Address) -> bytes:
    found = _SECONDS.fullmatch(text)
    if found is None:
        raise Invalid("not a number of seconds, minutes (m), hours (h), days (d) or weeks (w)")
    return number(int(found[1]) * UNITS[found[2] or "s"], size)


def _sip(text: str, _size: int, _own: Address) -> bytes:
    if found := _bytes(text):
        return found
    if _DOTTED.fullmatch(text):
        return b"\1" + addresses(IPv4Address(one) for one in _parts(text))
    return b"\0" + domains(_parts(text))


def _descriptors(text: str, own: Address) -> bytes:
    """Return addresses, and destinations where a prefix length follows."""
    return b"".join(
        _destination(IPv4Network(one, strict=False)) if "/" in one else _address(one, own).packed
        for one in _parts(text)
    )


def _destination(block: Block) -> bytes:
    length = (block.prefixlen + 7) // 8
    return bytes([block.prefixlen]) + block.network_address.packed[:length]


def _address(text: str, own: Address) -> Address:
    address = IPv4Address(text)
    return own if address == NO_ADDRESS else address


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _label(name: str, label: str) -> bytes:
    if not (label.isascii() and 0 < len(label) <= MAX_LABEL):
        raise Invalid(f"{name!r} is no domain: labels have 1 to {MAX_LABEL} ASCII characters")
    return bytes([len(label)]) + label.encode()


_ENCODERS: Mapping[Kind, Callable[[str, int, Address], bytes]] = {
    Kind.ADDRESSES: _addresses,
    Kind.NUMBER: _sized,
    Kind.SIGNED: _sized,
    Kind.FLAG: _sized,
    Kind.SECONDS: _seconds,
    Kind.TEXT: _text,
    Kind.C_STRING: _c_string,
    Kind.ROUTES: _by_form,
    Kind.DOMAINS: _domains,
    Kind.SIP: _sip,
    Kind.IDENTITY: _by_form,
    Kind.ANY: _by_form,
}
