"""Column values and back: lists and maps as JSON text."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from lessor.net.address import Address, Block


def _plain(value: Any) -> str:
    return str(value)


_PARSERS: dict[Any, Callable[[str], Any]] = {Address: ip_address, Block: ip_network}


def _parsed(kind: type, value: Any) -> Any:
    return _PARSERS.get(kind, kind)(value)


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


def end_of(text: str | None) -> Address | None:
    """Return the value of a column with the end of a tunnel, None for NULL."""
    return None if text is None else ip_address(text)
