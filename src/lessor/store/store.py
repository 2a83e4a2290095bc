"""The store: all persistent state of the server. Thread-safe; writes return once on disk.

What is special to a noun is a function of its module, run by `read` or `write`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from sqlalchemy import Engine

from lessor.errors import Unavailable
from lessor.settings import ServerSettings
from lessor.store import instances as instance_rules
from lessor.store import views
from lessor.store.addresses import housekeeping
from lessor.store.addresses import leases as lease_rules
from lessor.store.collection import Declared, Rows
from lessor.store.engine import database, place, recovery
from lessor.store.engine.access import Database
from lessor.store.hosts import failover
from lessor.store.hosts import rules as host_rules
from lessor.store.networks import initial
from lessor.store.networks import rules as network_rules
from lessor.store.networks import subnets as subnet_rules
from lessor.store.noun import Noun
from lessor.store.pools import rules as pool_rules
from lessor.store.pools import scopes as scope_rules
from lessor.store.ports import rules as port_rules
from lessor.store.sharing import rbac

PURGE_S = 600.0
TIDY_S = 60.0


class Store(Database):
    """Networks, subnets, ports, leases, hosts, on one database.

    Errors are those of `lessor.errors`, their `type` the name that Neutron has for them.
    """

    networks = Declared(network_rules.NOUN)
    subnets = Declared(subnet_rules.NOUN)
    ports = Declared(port_rules.NOUN)
    subnetpools = Declared(pool_rules.NOUN)
    address_scopes = Declared(scope_rules.NOUN)
    rbac_policies = Declared(rbac.NOUN)
    instances = Declared(instance_rules.NOUN)

    @classmethod
    def declared(cls) -> dict[str, Noun[Any, Any]]:
        """Return the declarations of its nouns, by name."""
        values = [value for base in reversed(cls.__mro__) for value in vars(base).values()]
        return {one.noun.name: one.noun for one in values if isinstance(one, Declared)}

    def __init__(
        self, engine: Engine, settings: ServerSettings, clock: Callable[[], float]
    ) -> None:
        super().__init__(engine, settings, clock, self.declared())
        self.hosts = Rows(self, host_rules.get, host_rules.find)
        self.leases = Rows(self, lease_rules.get, lease_rules.find)
        self._purged_at = 0.0
        self._tidied_at = clock()

    @classmethod
    def open(cls, settings: ServerSettings, clock: Callable[[], float] = time.time) -> Self:
        """Open the database, making it or bringing its tables up to date first.

        Raises:
            ConfigError: a setting can't be met.
            Unavailable: the file can't be opened or written.
        """
        engine = database.open_engine(settings)
        database.begin_run(engine, clock())
        store = cls(engine, settings, clock)
        try:
            store.write(initial.make)
            store.write(views.note_form)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Write the last heartbeats, and close the database."""
        with suppress(Unavailable):  # heartbeats are worth no error
            failover.write_heartbeats(self)
        super().close()

    def housekeep(self) -> None:
        """Do the periodic work; called about every 10 s."""
        failover.write_heartbeats(self)
        if not self.peers.keeps:
            return
        if self.read(lambda tx: recovery.is_on(tx.conn)):
            self.write(recovery.end_in_time)
        while self.write(housekeeping.time_out) == housekeeping.AT_ONCE:
            pass
        if self.clock() - self._purged_at >= PURGE_S:
            self.write(housekeeping.purge)
            self._purged_at = self.clock()
        if self.clock() - self._tidied_at >= TIDY_S:
            here = self.write(lambda tx: database.tidy(tx.conn))
            place.settle(self._engine, here)
            self._tidied_at = self.clock()
