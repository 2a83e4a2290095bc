"""Hosts that ports were bound to before an administrator added them.

Neutron takes such a binding and says that it failed, and clients count on that. Ports and bindings
name hosts by their rows, so one is made for the name; until the host is added (`hosts.create`) it
has no token, no list shows it, and nothing is placed on it.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Collection, Mapping

from sqlalchemy import bindparam, delete, exists, insert, select

from lessor.errors import Invalid
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.networks.addressing import no_host
from lessor.store.tables import bindings, hosts, ports

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\Z")


def check_name(name: str) -> None:
    """Raise Invalid unless a host can have this name."""
    if not _NAME.match(name):
        raise Invalid(f"{name!r} can't be a host's name: letters, digits, '.', '-' and '_', to 253")


def ensure(tx: Tx, names: Collection[str | None], known: Mapping[str, bool] | None = None) -> None:
    """Let ports be bound to these hosts; None is no host.

    Args:
        tx: the transaction.
        names: of hosts.
        known: those of them that have a row, and whether an administrator added them; None: unread.

    Raises:
        Invalid: bind_unknown_hosts is off and one was not added, or it can't be a host's name.
    """
    wanted = {name for name in names if name is not None}
    if known is None:
        known = _known(tx, wanted) if wanted else {}
    allowed = tx.settings.bind_unknown_hosts
    there = {name for name, added in known.items() if added or allowed}
    for name in sorted(wanted - there):
        check_name(name)
        if not allowed:
            raise no_host(name)
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


def _known(tx: ReadTx, names: Collection[str]) -> dict[str, bool]:
    if len(names) == 1:  # as a rule; what has no list to expand costs half as much
        rows = tx.conn.execute(_ONE, {"name": next(iter(names))})
    else:
        rows = tx.conn.execute(_SEVERAL, {"names": list(names)})
    return {name: bool(added) for name, added in rows}


_UNUSED = delete(hosts).where(
    ~hosts.c.added,
    ~exists(select(1).where(ports.c.binding_host == hosts.c.name)),
    ~exists(select(1).where(bindings.c.host == hosts.c.name)),
)


def forget(tx: Tx) -> None:
    """Drop those that nothing is bound to any more."""
    tx.conn.execute(_UNUSED)
