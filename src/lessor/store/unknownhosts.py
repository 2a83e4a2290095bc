"""Hosts that ports were bound to before an administrator added them.

Neutron takes such a binding and says that it failed, and clients count on that. Ports and bindings name
hosts by their rows, so one is made for the name; until the host is added (`hosts.create`) it has no
token, no list shows it, and nothing is placed on it.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Collection

from sqlalchemy import Connection, bindparam, delete, exists, insert, select

from lessor.errors import Invalid
from lessor.store import networks
from lessor.store.tables import bindings, hosts, ports
from lessor.store.writer import Tx

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\Z")


def check_name(name: str) -> None:
    """Raise Invalid unless a host can have this name."""
    if not _NAME.match(name):
        raise Invalid(f"{name!r} can't be a host's name: letters, digits, '.', '-' and '_', to 253")


def ensure(tx: Tx, names: Collection[str | None]) -> None:
    """Let ports be bound to these hosts; None is no host.

    Raises:
        Invalid: bind_unknown_hosts is off and one was not added, or it can't be a host's name.
    """
    wanted = {name for name in names if name is not None}
    allowed = tx.settings.bind_unknown_hosts
    for name in sorted(wanted - _there(tx.conn, wanted, unknown=allowed)) if wanted else ():
        check_name(name)
        if not allowed:
            raise networks.no_host(name)
        row = {
            "name": name,
            "id": str(uuid.uuid4()),
            "token_hash": secrets.token_hex(32),  # of no token
            "created_at": tx.now,
            "added": False,
        }
        tx.conn.execute(insert(hosts), row)


_THERE = select(hosts.c.name, hosts.c.added)
_ONE = _THERE.where(hosts.c.name == bindparam("name"))
_SEVERAL = _THERE.where(hosts.c.name.in_(bindparam("names", expanding=True)))


def _there(conn: Connection, names: Collection[str], *, unknown: bool) -> set[str]:
    if len(names) == 1:  # as a rule; what has no list to expand costs half as much
        rows = conn.execute(_ONE, {"name": next(iter(names))})
    else:
        rows = conn.execute(_SEVERAL, {"names": list(names)})
    return {name for name, added in rows if added or unknown}


_UNUSED = delete(hosts).where(
    ~hosts.c.added,
    ~exists(select(1).where(ports.c.binding_host == hosts.c.name)),
    ~exists(select(1).where(bindings.c.host == hosts.c.name)),
)


def forget(tx: Tx) -> None:
    """Drop those that nothing is bound to any more."""
    tx.conn.execute(_UNUSED)
