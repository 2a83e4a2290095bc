"""Column values and back: addresses as numbers, lists and maps as JSON text."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, ip_address
from typing import Any

import msgspec

from lessor.net.address import Address


def _plain(value: Any) -> str:
    return str(value)


def _parsed(kind: type, value: Any) -> Any:
    return kind(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


def decoder(kind: Any) -> Callable[[str], Any]:
    """Return what reads the JSON of a column as a type."""
    return msgspec.json.Decoder(kind, dec_hook=_parsed).decode


def packed(value: object) -> str:
    """Return the JSON of a column."""
    return _ENCODER.encode(value).decode()


_TEXTS = decoder(tuple[str, ...])


def listed(text: str, decode: Callable[[str], Any] = _TEXTS) -> Any:
    """Return the tuple in a column; mostly it is empty."""
    return () if text == "[]" else decode(text)


def mapped(text: str, decode: Callable[[str], Any]) -> Any:
    """Return the dict in a column; mostly it is empty."""
    return {} if text == "{}" else decode(text)


def address_of(number: int | None) -> IPv4Address | None:
    """Return an address column's value, None for NULL."""
    return None if number is None else IPv4Address(number)


def number_of(address: IPv4Address | None) -> int | None:
    """Return what an address column has for a value."""
    return None if address is None else int(address)


def end_of(text: str | None) -> Address | None:
    """Return the value of a column with the end of a tunnel, None for NULL."""
    return None if text is None else ip_address(text)
