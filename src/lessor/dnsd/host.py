"""All servers of a host: the table of their names, and what serves each."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence

from lessor.core.dhcp.limit import Limit
from lessor.core.dns.zone import Entry
from lessor.dnsd.clients import QUESTIONS
from lessor.dnsd.connections import Connections
from lessor.dnsd.loop import Loop
from lessor.dnsd.messages import MAX_ENTRIES, Header, ServerState
from lessor.dnsd.ready import ReadyAnswers
from lessor.dnsd.service import Service
from lessor.dnsd.sockets import sort
from lessor.dnsd.table import Page, State, Table
from lessor.errors import NotFound

SETTLE_S = 30.0  # between two looks whether the disk has room again
CLEAN_S = 0.02  # between two slices of a deleted server's names


class Host:
    """The servers of a host.

    Args:
        loop: calls it back.
        table: the names.
        limit: of a client's questions.
        problems: what went wrong at the start.

    Attributes:
        resolvers: the host's own name servers.
    """

    def __init__(
        self, loop: Loop, table: Table, limit: Limit = QUESTIONS, problems: Iterable[str] = ()
    ) -> None:
        self.resolvers: tuple[str, ...] = ()
        self._at_start = tuple(problems)
        self._loop = loop
        self._table = table
        self._limit = limit
        self._connections = Connections(loop)
        self._ready = ReadyAnswers()
        self._services: dict[str, Service] = {}
        self._cleans = False
        self._clean()
        self._settle()

    @property
    def problems(self) -> Sequence[str]:
        """What went wrong at the start, and what is wrong with the table."""
        return (*self._at_start, *([self._table.problem] if self._table.problem else []))

    def states(self) -> Iterator[ServerState]:
        """Yield the servers."""
        for name, service in self._services.items():
            state = self._state(name)
            yield ServerState(name, state.revision, state.complete, service.has_sockets)

    def open(self, header: Header, sockets: Sequence[socket.socket]) -> int:
        """Serve with these settings; return the revision of the names."""
        state = self._table.add(header.name)
        service = self._services.get(header.name)
        if service is None:
            service = self._services[header.name] = self._service(header, state)
        else:
            service.use(header.zone)
        if sockets:
            service.serve(sort(sockets))
        return state.revision

    def drop(self, name: str) -> None:
        """Serve no more, and forget the server."""
        self._table.drop(name)
        service = self._services.pop(name, None)
        if service is not None:
            service.close()
        self._clean()

    def drop_others(self) -> None:
        """Forget the names of servers that are not served."""
        for state in self._table.states:
            if state.name not in self._services:
                self._table.drop(state.name)
        self._clean()

    def change(
        self, name: str, drop: Iterable[Entry], put: Iterable[Entry], *, complete: bool
    ) -> int:
        """Drop and add names; return the revision after it.

        Raises:
            NotFound: there is no such server.
        """
        state = self._table.change(self._state(name), drop, put, complete=complete)
        self._services[name].changed()
        return state.revision

    def page(self, name: str, after: int, count: int) -> Page:
        """Return some names of a server.

        Raises:
            NotFound: there is no such server.
        """
        return self._table.page(self._state(name), after, count)

    def counts(self, name: str) -> tuple[int, dict[str, int], tuple[str, ...]]:
        """Return open questions of a server, what became of others, and silent upstream servers.

        Raises:
            NotFound: it is not served.
        """
        self._state(name)
        service = self._services[name]
        return service.open, dict(service.counts), service.silent

    def close(self) -> None:
        """Serve no more; the table stays."""
        for service in self._services.values():
            service.close()
        self._table.close()

    def _service(self, header: Header, state: State) -> Service:
        return Service(
            self._loop,
            self._connections,
            self._ready,
            header.zone,
            self._table.names(state.id),
            is_complete=lambda: self._state(header.name).complete,
            host_servers=lambda: self.resolvers,
            limit=self._limit,
        )

    def _state(self, name: str) -> State:
        state = self._table.state(name) if name in self._services else None
        if state is None:
            raise NotFound(f"no DHCP server {name} is served")
        return state

    def _clean(self) -> None:
        if not self._cleans:
            self._cleans = True
            self._loop.later(CLEAN_S, self._clean_some)

    def _clean_some(self) -> None:
        self._cleans = False
        if self._table.clean(MAX_ENTRIES):
            self._clean()

    def _settle(self) -> None:
        self._table.settle()
        self._loop.later(SETTLE_S, self._settle)
