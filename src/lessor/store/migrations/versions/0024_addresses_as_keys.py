"""Addresses as keys of 16 bytes, in one order for IPv4 and IPv6; they were numbers of 32 bits."""

import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

# Rows that refer to others first: they are the first to go, and the last to come back.
_COLUMNS = {
    "pools": ("first", "last", "next_fresh"),
    "addresses": ("address",),
    "subnets": ("first", "last", "gateway_ip", "dhcp_server"),
    "prefixes": ("first", "last"),
    "address_pairs": ("first", "last"),
    "host_blocks": ("first", "last"),
    "holds": ("address",),
    "leases": ("address",),
}
_NULLABLE = ("next_fresh", "gateway_ip", "dhcp_server")
_WITH_DEFAULT = {("subnets", "first"), ("subnets", "last"), ("prefixes", "last")}
_WITH_DEFAULT |= {("host_blocks", "first"), ("host_blocks", "last")}
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, section 2.5.5.2


def upgrade() -> None:
    """Bring the schema one step on; a pool's next fresh address is NULL where there is none."""
    bind = op.get_bind()
    fresh = "CASE WHEN next_fresh <= last THEN {} END"
    if bind.dialect.name == "postgresql":
        key = "decode('{}', 'hex') || substring(int8send({}) FROM 5)"
        for table, names in _COLUMNS.items():
            keys = {name: key.format(_MAPPED.hex(), name) for name in names}
            if "next_fresh" in keys:
                keys["next_fresh"] = fresh.format(keys["next_fresh"])
            _alter(table, "BYTEA", keys, nullable_fresh=True)
    else:
        _file(bind).create_function("key_of", 1, _key_of)
        keys = {name: f"key_of({name})" for names in _COLUMNS.values() for name in names}
        keys["next_fresh"] = fresh.format(keys["next_fresh"])
        _rebuild(bind, _as_keys, keys)


def downgrade() -> None:
    """Bring the schema one step back; addresses of IPv6 have no form there."""
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        number = "('x' || encode(substring({} FROM 13), 'hex'))::bit(32)::bigint"
        for table, names in _COLUMNS.items():
            numbers = {name: number.format(name) for name in names}
            if "next_fresh" in numbers:
                numbers["next_fresh"] = f"coalesce({number}, {number} + 1)".format(
                    "next_fresh", "last"
                )
            _alter(table, "BIGINT", numbers, nullable_fresh=False)
    else:
        _file(bind).create_function("number_of", 1, _number_of)
        numbers = {name: f"number_of({name})" for names in _COLUMNS.values() for name in names}
        numbers["next_fresh"] = "coalesce(number_of(next_fresh), number_of(last) + 1)"
        _rebuild(bind, _as_numbers, numbers)


def _alter(table: str, kind: str, values: dict[str, str], *, nullable_fresh: bool) -> None:
    """Have PostgreSQL convert the columns of a table in one pass, its indexes with them."""
    before, after = [], []
    for name in values:
        if (table, name) in _WITH_DEFAULT:
            before.append(f"ALTER {name} DROP DEFAULT")
            if kind == "BIGINT":
                after.append(f"ALTER {name} SET DEFAULT 0")
        if name == "next_fresh":
            (before if nullable_fresh else after).append(
                f"ALTER {name} {'DROP' if nullable_fresh else 'SET'} NOT NULL"
            )
    turns = [f"ALTER {name} TYPE {kind} USING {value}" for name, value in values.items()]
    for changes in (before, turns, after):
        if changes:
            op.execute(f"ALTER TABLE {table} {', '.join(changes)}")
    op.execute(f"ANALYZE {table}")  # it forgot what it knew of these columns


def _file(bind: sa.Connection) -> Any:
    return bind.connection.dbapi_connection


def _rebuild(bind: sa.Connection, declared: Any, values: dict[str, str]) -> None:
    """Put rows aside, make SQLite's tables anew as they were but for these columns, fill them."""
    made = {table: _made(bind, table) for table in _COLUMNS}
    for table in _COLUMNS:
        op.execute(f"CREATE TABLE former_{table} AS SELECT * FROM {table}")  # noqa: S608 - ours
        op.execute(f"DELETE FROM {table}")  # noqa: S608 - ours
    for table in _COLUMNS:
        op.execute(f"DROP TABLE {table}")
    for table, names in reversed(_COLUMNS.items()):
        first, *indexes = made[table]
        for statement in (declared(first, table, names), *indexes):
            bind.exec_driver_sql(statement)
        columns = [row[1] for row in bind.exec_driver_sql(f"PRAGMA table_info({table})")]
        read = (values[name] if name in names else name for name in columns)
        bind.exec_driver_sql(
            f"INSERT INTO {table} ({', '.join(columns)}) "  # noqa: S608 - our own names
            f"SELECT {', '.join(read)} FROM former_{table}"
        )
        op.execute(f"DROP TABLE former_{table}")


def _made(bind: sa.Connection, table: str) -> list[str]:
    """Return the statements that make a table and its indexes, the table's first."""
    found = bind.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL "
        "ORDER BY type = 'table' DESC",
        (table,),
    )
    return [row[0] for row in found]


def _as_keys(statement: str, table: str, names: tuple[str, ...]) -> str:
    for name in names:
        nullable = "" if name in _NULLABLE else " NOT NULL"
        statement = _declared(statement, table, name, f"BLOB{nullable}")
    return statement


def _as_numbers(statement: str, table: str, names: tuple[str, ...]) -> str:
    for name in names:
        default = "DEFAULT 0 " if (table, name) in _WITH_DEFAULT else ""
        nullable = "" if name in ("gateway_ip", "dhcp_server") else "NOT NULL"
        statement = _declared(statement, table, name, f"BIGINT {default}{nullable}".strip())
    return statement


def _declared(statement: str, table: str, name: str, kind: str) -> str:
    """Give a column of a CREATE TABLE another type."""
    column = rf'(?m)^(\s*"?{name}"?) (BIGINT|BLOB)[^,\n]*'
    changed, count = re.subn(column, rf"\1 {kind}", statement)
    if count != 1:
        raise ValueError(f"{table} has no column {name} as Lessor made it: {statement}")
    return changed


def _key_of(number: int | None) -> bytes | None:
    return None if number is None else _MAPPED + number.to_bytes(4)


def _number_of(key: bytes | None) -> int | None:
    if key is None:
        return None
    if not key.startswith(_MAPPED):
        raise ValueError("an address of IPv6 can't be kept by this version")
    return int.from_bytes(key[len(_MAPPED) :])
