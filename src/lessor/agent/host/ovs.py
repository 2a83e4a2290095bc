"""Open vSwitch's database, through ovsdbapp: what is in it, and whole transactions.

ovsdbapp keeps a copy of the database up to date in a thread of its own. Only the columns that we
need are asked for, so that counters, which OVS writes every few seconds, wake nobody.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovs.db.idl import SchemaHelper
from ovsdbapp.backend.ovs_idl import transaction
from ovsdbapp.backend.ovs_idl.command import BaseCommand
from ovsdbapp.backend.ovs_idl.connection import Connection, OvsdbIdl
from ovsdbapp.backend.ovs_idl.idlutils import ExceptionResult, fetch_schema_json
from ovsdbapp.schema.open_vswitch import impl_idl

from lessor.agent.host.ovs_alive import database_obstacle
from lessor.errors import CommandError, Unavailable

# it writes a line without time and host at each try to connect; what is wrong is in our exceptions
logging.getLogger("ovsdbapp").setLevel(logging.CRITICAL)

OWNER = {"owner": "lessor"}  # external_ids of what is ours
WAIT_S = 0.1  # longest wait in one piece: the connection may break off, and nobody tell
RETRY_MS = 500
LOCK_S = 2.0  # longest wait for ovsdbapp's thread: it holds its lock while the database hangs
SCHEMA = "Open_vSwitch"
COLUMNS = {
    "Open_vSwitch": ["bridges", "next_cfg", "cur_cfg"],
    "Bridge": [
        *("name", "datapath_type", "fail_mode", "protocols"),
        *("other_config", "external_ids", "ports"),
    ],
    "Port": ["name", "tag", "external_ids", "interfaces"],
    "Interface": [
        *("name", "type", "options", "external_ids", "ofport", "error"),
        *("bfd", "bfd_status"),
    ],
}
Step = Callable[[Any], Any]  # makes a command of ovsdbapp's API: lambda api: api.del_port("x")


@dataclass(frozen=True, slots=True)
class PortRow:
    """A port with one interface, as the database has it."""

    name: str
    bridge: str
    tag: int | None
    external_ids: Mapping[str, str]
    type: str  # the interface's; "" is a device of the system
    options: Mapping[str, str]
    interface_ids: Mapping[str, str]  # external_ids of the interface
    ofport: int | None  # None: ovs-vswitchd has not seen it yet; -1: it could not be made
    error: str
    bfd: Mapping[str, str]
    bfd_status: Mapping[str, str]

    @property
    def ours(self) -> bool:
        """Whether it carries our mark."""
        return is_ours(self.external_ids)


@dataclass(frozen=True, slots=True)
class BridgeRow:
    """A bridge, as the database has it."""

    name: str
    datapath_type: str  # "": system
    fail_mode: str
    protocols: frozenset[str]
    external_ids: Mapping[str, str]
    ports: tuple[PortRow, ...]  # all but bonds

    @property
    def ours(self) -> bool:
        """Whether it carries our mark."""
        return is_ours(self.external_ids)


class Ovsdb:
    """A connection, made when it is first needed, and again when it was lost.

    Args:
        connection: where the database is ("unix:/run/openvswitch/db.sock").
        timeout_s: longest wait for the database.
        switch_s: longest wait for ovs-vswitchd after a change.
        obstacle: says why Open vSwitch can't be used; "": it can. While it can't, nothing waits.
    """

    def __init__(
        self,
        connection: str,
        timeout_s: float = 10,
        switch_s: float = 5,
        *,
        obstacle: Callable[[], str] = str,
    ) -> None:
        self._remote = connection
        self._timeout_s = timeout_s
        self._switch_s = switch_s
        self._obstacle = obstacle
        self._changed = threading.Condition()
        self._connecting = threading.RLock()  # the thread that counts drops reads, too
        self._listeners: list[Callable[[], None]] = []
        self._api: Any = None

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener`, in another thread, when something changed or the connection is lost."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Callable[[], None]) -> None:
        """Call it no more."""
        self._listeners.remove(listener)

    def bridges(self) -> dict[str, BridgeRow]:
        """Return all bridges by name.

        Raises:
            Unavailable: the database does not answer.
        """
        api = self._connected()
        with self._locked(api):
            rows = [_bridge(row) for row in api.tables["Bridge"].rows.values()]
        return {row.name: row for row in rows}

    def ports(self) -> dict[str, PortRow]:
        """Return all ports of all bridges by name; raises as `bridges`."""
        return {port.name: port for bridge in self.bridges().values() for port in bridge.ports}

    def transact(self, steps: Sequence[Step]) -> None:
        """Do all steps, or none, and wait until ovs-vswitchd has done its part.

        If ovs-vswitchd does not run, the wait ends after the time limit without an error: it does
        its part when it starts.

        Raises:
            Unavailable: the database does not answer.
            CommandError: it refused.
        """
        api = self._connected()
        changes = _Transaction(api, api.connection, check_error=True, log_errors=False)
        changes.obstacle = self._obstacle
        for step in steps:
            changes.add(step(api))
        try:
            changes.commit()
        except Unavailable:
            raise
        except Exception as error:  # ovsdbapp raises RuntimeError, IndexError and its own
            raise CommandError(f"{self._remote}: {error or type(error).__name__}") from error
        self._await_switch(api)

    def close(self) -> None:
        """End the connection and its thread."""
        if self._api is None:
            return
        connection, self._api = self._api.connection, None
        if connection.txns.full():  # its thread waits for a database that hangs
            connection.is_running = False  # it ends when that goes on
        else:
            connection.stop(LOCK_S)

    # --- the connection

    @contextmanager
    def _locked(self, api: Any) -> Iterator[None]:
        if not api.connection.lock.acquire(timeout=LOCK_S):
            raise Unavailable(f"{self._remote}: Open vSwitch's database does not answer")
        try:
            yield
        finally:
            api.connection.lock.release()

    def _connected(self) -> Any:
        with self._connecting:
            return self._current()

    def _current(self) -> Any:
        if why := self._obstacle():
            raise Unavailable(why)
        if self._api is not None and not self._api.idl.is_current:
            self.close()  # a new one is quicker than its waiting times, and starts from nothing
        if self._api is None:
            self._api = self._connect()
        api = self._api
        if not api.tables["Open_vSwitch"].rows:
            raise Unavailable(f"{self._remote}: the database of Open vSwitch is not set up yet")
        return api

    def _connect(self) -> Any:
        try:
            self._ask()
            helper = SchemaHelper(None, fetch_schema_json(self._remote, SCHEMA))
            for table, columns in COLUMNS.items():
                helper.register_columns(table, columns)
            idl = _Idl(self._remote, helper)
            idl.tell = self._tell
            idl.retry_every(RETRY_MS)
            connection = Connection(idl, self._timeout_s)
            # ovsdbapp keeps the connection in the class: one of its own for each database
            api = type("Api", (impl_idl.OvsdbIdl,), {})(connection, start=False)
            connection.start()
        except Exception as error:  # ovsdbapp raises a bare Exception
            raise Unavailable(
                f"Open vSwitch's database at {self._remote} does not answer: "
                f"{error or type(error).__name__}; is openvswitch-switch running?"
            ) from error
        return api

    def _ask(self) -> None:
        """Make sure that the database answers: ovsdbapp would wait for ever.

        Raises:
            Unavailable: it doesn't.
        """
        place = socket_of(self._remote)
        if place and (why := database_obstacle(place)):
            raise Unavailable(why)

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
        for listener in tuple(self._listeners):
            listener()

    def _await_switch(self, api: Any) -> None:
        until = time.monotonic() + self._switch_s
        with self._changed:
            while not (_caught_up(api) or self._obstacle()) and time.monotonic() < until:
                self._changed.wait(WAIT_S)


class _Idl(OvsdbIdl):  # type: ignore[misc] # untyped library
    """The copy of the database; tells when it changed or was cut off."""

    tell: Callable[[], None]

    def retry_every(self, milliseconds: int) -> None:
        """Look for a lost database so often; ovs would wait up to 8 s."""
        self._session.reconnect.set_backoff(milliseconds, milliseconds)

    @property
    def is_current(self) -> bool:
        """Whether it is connected and complete."""
        return bool(self.state == self.IDL_S_MONITORING and self._session.is_connected())

    def run(self) -> bool:
        before = self.change_seqno, self.is_current
        changed = bool(super().run())
        if before != (self.change_seqno, self.is_current):
            self.tell()
        return changed


class _Transaction(transaction.Transaction):  # type: ignore[misc] # untyped library
    """One that asks ovs-vswitchd, by `next_cfg`, to say in `cur_cfg` when it is done."""

    obstacle: Callable[[], str] = str

    def commit(self) -> Any:
        """Wait for the database as long as it can be used.

        Raises:
            Unavailable: it did not answer.
        """
        waiting = self.ovsdb_connection.txns
        self._waited(lambda: waiting.put(self, timeout=WAIT_S))
        result = self._waited(lambda: self.results.get(timeout=WAIT_S))
        if isinstance(result, ExceptionResult):
            raise result.ex
        return result

    def _waited(self, step: Callable[[], Any]) -> Any:
        until = time.monotonic() + self.timeout
        while True:
            try:
                return step()
            except (queue.Empty, queue.Full):
                if (why := self.obstacle()) or time.monotonic() > until:
                    late = f"Open vSwitch's database did not answer within {self.timeout:g} s"
                    raise Unavailable(why or late) from None

    def pre_commit(self, txn: Any) -> None:
        txn.expected_ifaces = set()  # ovsdbapp's add_port() adds to it
        self.api._ovs.increment("next_cfg")  # noqa: SLF001 - ovsdbapp offers no other way


def exactly(table: str, name: str, column: str, value: Any) -> Step:
    """Return a step that gives a column a value.

    `db_set` would leave a map's other keys, and a value that can't be there unsaid.
    """
    return lambda api: _Exactly(api, table, name, column, value)


class _Exactly(BaseCommand):  # type: ignore[misc] # untyped library
    def __init__(self, api: Any, table: str, name: str, column: str, value: Any) -> None:
        super().__init__(api)
        self._place, self._column, self._value = (table, name), column, value

    def run_idl(self, _: Any) -> None:
        row = self.api.lookup(*self._place)
        setattr(row, self._column, self._value)  # only logs what can't be
        if getattr(row, self._column) != self._value:
            raise ValueError(f"{' '.join(self._place)}: {self._column} can't be {self._value}")


def without(bridge: str, names: Collection[str]) -> Step:
    """Return a step that removes ports; `del_port` takes seconds for hundreds of them."""
    return lambda api: _Without(api, bridge, names)


class _Without(BaseCommand):  # type: ignore[misc] # untyped library
    def __init__(self, api: Any, bridge: str, names: Collection[str]) -> None:
        super().__init__(api)
        self._bridge, self._names = bridge, frozenset(names)

    def run_idl(self, _: Any) -> None:
        row = self.api.lookup("Bridge", self._bridge)
        for port in row.ports:
            if port.name in self._names:
                row.delvalue("ports", port)  # the database drops what nothing refers to


def is_ours(external_ids: Mapping[str, str]) -> bool:
    """Tell whether a row's external_ids carry our mark."""
    return OWNER.items() <= external_ids.items()


def socket_of(connection: str) -> Path | None:
    """Return the Unix socket of the database; None: it is reached otherwise."""
    kind, _, path = connection.partition(":")
    return Path(path) if kind == "unix" else None


def rundir(connection: str) -> str:
    """Return the folder of the sockets of ovs-vswitchd: where the database's is.

    Without a Unix socket it is the usual one.
    """
    kind, _, path = connection.partition(":")
    return str(Path(path).parent) if kind == "unix" else "/run/openvswitch"


def kernel_datapath() -> bool:
    """Tell whether the kernel has Open vSwitch's datapath, loaded or as a module."""
    if Path("/sys/module/openvswitch").exists():
        return True
    release = Path("/proc/sys/kernel/osrelease").read_text().strip()
    modules = Path("/lib/modules", release)
    lists = (modules / "modules.dep", modules / "modules.builtin")
    return any("/openvswitch.ko" in one.read_text() for one in lists if one.exists())


def _caught_up(api: Any) -> bool:
    return all(row.cur_cfg >= row.next_cfg for row in api.tables["Open_vSwitch"].rows.values())


def _bridge(row: Any) -> BridgeRow:
    return BridgeRow(
        name=row.name,
        datapath_type=row.datapath_type,
        fail_mode="".join(row.fail_mode),
        protocols=frozenset(row.protocols),
        external_ids=dict(row.external_ids),
        ports=tuple(_port(row.name, port) for port in row.ports if len(port.interfaces) == 1),
    )


def _port(bridge: str, row: Any) -> PortRow:
    (interface,) = row.interfaces
    return PortRow(
        name=row.name,
        bridge=bridge,
        tag=next(iter(row.tag), None),
        external_ids=dict(row.external_ids),
        type=interface.type,
        options=dict(interface.options),
        interface_ids=dict(interface.external_ids),
        ofport=next(iter(interface.ofport), None),
        error="".join(interface.error),
        bfd=dict(interface.bfd),
        bfd_status=dict(interface.bfd_status),
    )
