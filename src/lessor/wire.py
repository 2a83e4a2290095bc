"""JSON form of the model: between agents and server, and of an agent's view on disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, ip_interface
from pathlib import Path
from socket import AF_INET, inet_pton
from typing import Any, TypeVar

import msgspec

from lessor.errors import Invalid
from lessor.net.address import Address, Block, Interface, read_address, read_block

T = TypeVar("T")


def _address(text: str) -> Address:
    """Read an address as `read_address` does; one of IPv4 in a third of the time.

    Views have thousands of them.
    """
    if ":" not in text:
        with suppress(OSError, ValueError):
            return IPv4Address(inet_pton(AF_INET, text))
    return read_address(text)


_PARSERS: dict[Any, Callable[[str], object]] = {
    Address: _address,
    Block: read_block,
    Interface: ip_interface,
    IPv4Address: IPv4Address,
    IPv4Network: IPv4Network,
    Path: Path,
}


def _plain(value: Any) -> Any:
    if isinstance(value, Address | Block | Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def _parsed(kind: type, value: Any) -> Any:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    parse = _PARSERS.get(kind)
    if parse is None:
        raise ValueError(f"{type(value).__name__} is no {kind.__name__}")
    return parse(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


def encode(value: object) -> bytes:
    """Return the JSON of a model value, or of a list or dict of model values."""
    return _ENCODER.encode(value)


def decode(data: bytes, kind: type[T]) -> T:
    """Parse JSON as a value of `kind`. Unknown fields are ignored: the peer may be newer.

    Raises:
        Invalid: it isn't JSON, or has another shape.
    """
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=_parsed)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Invalid(f"not a {kind.__name__}: {error}") from error
