"""Serves DHCP by lessor-dhcpd, and DNS by lessor-dnsd, for all networks of a host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial

from lessor.agent.drivers.dhcp import Former, Incident, ServerError
from lessor.agent.drivers.exits import DeathWatch
from lessor.agent.drivers.native.resolver import Resolver
from lessor.agent.drivers.native.responder import Responder
from lessor.core.diff import Changes, Unsound, as_read
from lessor.core.state import DhcpServer
from lessor.signal import Signal
from lessor.steps import tried

ASK_S = 1.5  # between two questions whether the processes answer


class NativeDriver:
    """The DHCP servers of one host.

    Args:
        responder: feeds lessor-dhcpd.
        resolver: feeds lessor-dnsd.
        incidents: emitted by both.
        former: servers of another program; each is retired once this one serves in its place;
            None: there are none.
    """

    def __init__(
        self,
        responder: Responder,
        resolver: Resolver,
        incidents: Signal[[Incident]],
        former: Former | None,
    ) -> None:
        self.changed: Signal[[]] = Signal()
        self.incidents = incidents
        self._responder = responder
        self._resolver = resolver
        self._former = former
        self._pidfds: dict[int, int] = {}  # by pid
        self._retired: list[int] = []

    def observe(self) -> dict[str, DhcpServer | Unsound[DhcpServer]]:
        """Return our servers by name, with what each has."""
        found = self._responder.look()
        self._resolver.look()
        for name, one in found.items():
            fault = self._resolver.fault(as_read(one))
            if fault and not isinstance(one, Unsound):
                found[name] = Unsound(one, fault)
        for name in self._resolver.names():
            if name not in found:
                found[name] = Unsound(DhcpServer(name, "", (), {}), "it has DNS alone")
        if self._former is not None:
            for name, server in self._former.servers().items():
                found[name] = Unsound(server, f"{self._former.program} serves it")
        return found

    def apply(self, changes: Changes[DhcpServer]) -> None:
        """Bring and remove servers, independently of each other."""
        problems: list[Exception] = []
        for one in changes.create + changes.replace:
            problems += _named(one.name, tried(partial(self._bring, one)))
        for one in changes.delete:
            problems += _named(one.name, tried(partial(self._remove, one.name)))
        if problems:
            raise ExceptionGroup(f"{len(problems)} problems with DHCP servers", problems)

    def problems(self) -> Sequence[str]:
        """Return what is wrong with all servers of this host."""
        return [*self._responder.problems(), *self._resolver.problems()]

    def verify(self) -> None:
        """Do nothing: each look asks the processes for the revision of all that they have."""

    async def run(self, thread: Executor) -> None:
        """Notice that a process has ended, hangs, or lost something, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(DeathWatch(self.pidfds, self.changed.emit).run())
            group.create_task(self._ask(thread))

    def pidfds(self) -> Mapping[int, str]:
        """Return what becomes readable when a process ends, with its name.

        A descriptor stays open until the next call but one, so that it can be given up in time.
        """
        for pidfd in self._retired:
            os.close(pidfd)
        found = {self._responder.pid: "lessor-dhcpd", self._resolver.pid: "lessor-dnsd"}
        found.pop(0, None)
        self._retired = [pidfd for pid, pidfd in self._pidfds.items() if pid not in found]
        self._pidfds = {pid: pidfd for pid, pidfd in self._pidfds.items() if pid in found}
        for pid in found.keys() - self._pidfds.keys():
            with suppress(ProcessLookupError):  # the next question finds that it has ended
                self._pidfds[pid] = os.pidfd_open(pid)
        return {pidfd: found[pid] for pid, pidfd in self._pidfds.items()}

    def close(self) -> None:
        """Let go of the processes; they go on."""
        self._responder.close()
        self._resolver.close()
        if self._former is not None:
            self._former.close()
        for pidfd in (*self._pidfds.values(), *self._retired):
            os.close(pidfd)
        self._pidfds, self._retired = {}, []

    async def _ask(self, thread: Executor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(ASK_S)
            if not await loop.run_in_executor(thread, self._are_well):
                self.changed.emit()

    def _are_well(self) -> bool:
        return self._responder.is_well() and self._resolver.is_well()

    def _bring(self, want: DhcpServer) -> None:
        """Serve DHCP before the former program ends, and DNS after: only one can have its port."""
        fed_anew = self._responder.bring(want)
        self._retire(want.name)
        self._resolver.bring(want, doubtful=fed_anew)

    def _remove(self, name: str) -> None:
        self._retire(name)
        self._responder.remove(name)
        self._resolver.remove(name)

    def _retire(self, name: str) -> None:
        if self._former is not None:
            self._former.retire(name)


def _named(name: str, problems: Iterable[Exception]) -> Iterator[Exception]:
    return (ServerError(str(one), key=name) for one in problems)
