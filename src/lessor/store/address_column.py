"""Columns of addresses: keys of 16 bytes in the database (`net.keys`), addresses in Python.

Both databases compare bytes as unsigned ones, so `<`, `BETWEEN` and the order of an index are the
order of addresses, of either family.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Dialect,
    LargeBinary,
    TypeDecorator,
    cast,
    func,
    literal,
    type_coerce,
)

from lessor.net.address import Address
from lessor.net.keys import WIDTH, address_of, key_of

_BLOCK_BYTES = WIDTH - 1


class AddressColumn(TypeDecorator[Address]):
    """The type of such a column, and of a parameter that is compared with one."""

    impl = LargeBinary
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002 - SQLAlchemy's
        """Return what makes a key of an address."""
        return _written

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:  # noqa: ARG002 - SQLAlchemy's
        """Return what makes an address of a key."""
        return _read


def _written(address: Address | None) -> bytes | None:
    return None if address is None else key_of(address)


def _read(key: bytes | None) -> Address | None:
    return None if key is None else address_of(key)


def raw(column: ColumnElement[Any]) -> ColumnElement[bytes]:
    """Return a column of addresses whose values are left as keys: where there are many."""
    return type_coerce(column, LargeBinary)


def block_of(column: ColumnElement[Any]) -> ColumnElement[bytes]:
    """Return the keys of a column without their last byte: 256 addresses have the same."""
    return func.substr(column, 1, _BLOCK_BYTES, type_=LargeBinary)


def last_of_block(block: ColumnElement[bytes]) -> ColumnElement[Any]:
    """Return the last address of a block."""
    # SQLite makes text of what is joined, with the same bytes
    return cast(block.op("||")(literal(b"\xff", LargeBinary)), AddressColumn)
