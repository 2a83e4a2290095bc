"""Feeds lessor-dnsd: the process that answers DNS for all networks of this host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import filterfalse

from lessor.agent.drivers.dhcp import Incident
from lessor.agent.drivers.native.heads import changed, other_version, place_of
from lessor.core.dns.zone import Entry, Zone, entries, is_address, reserved, zone_of
from lessor.core.state import DhcpServer
from lessor.daemon.home import Home
from lessor.daemon.process import end
from lessor.dnsd import files
from lessor.dnsd.client import Dnsd
from lessor.dnsd.messages import Servers, ServerState
from lessor.errors import LessorError

PROGRAM = "lessor-dnsd"
EVERYWHERE = "all networks of this host"


@dataclass(slots=True)
class _Named:
    """A server as the process has it."""

    server: DhcpServer
    revision: int
    zone: Zone
    place: str  # as `place_of` returns it


class Resolver:
    """lessor-dnsd of this host, for the thread of the drivers.

    Args:
        home: the folder of the process.
        version: of this program; a process of another one is replaced.
        resolvers: returns the name servers of the host itself.
        tell: is told what happens to the process.
    """

    def __init__(
        self,
        home: Home,
        version: str,
        resolvers: Callable[[], Sequence[str]],
        tell: Callable[[Incident], None],
    ) -> None:
        self._home = home
        self._version = version
        self._resolvers = resolvers
        self._tell = tell
        self._process: Dnsd | None = None
        self._named: dict[str, _Named] = {}
        self._states: Mapping[str, ServerState] = {}
        self._problems: Sequence[str] = ()
        self._told: tuple[str, ...] | None = None  # the host's name servers
        self._away = "it does not run"  # why the process can't be spoken to; "": it can
        self._served = False  # a process has served this agent

    @property
    def pid(self) -> int:
        """The process; 0: none is known."""
        return self._process.process.pid if self._process else 0

    def look(self) -> None:
        """Learn what the process has; nothing if it does not run, or hangs."""
        self._away = ""
        try:
            if self._process is None and self._home.holder():
                self._process = Dnsd(self._home, self._version)
            if self._process is not None:
                found = self._process.hello()
                self._away = other_version(found.program, self._version)
                if not self._away:
                    self._take(found)
                    return
            else:
                self._away = "it does not run"
        except (LessorError, OSError) as error:
            self._away = str(error)
        self._take(None)

    def fault(self, server: DhcpServer) -> str:
        """Return what is wrong with a server's DNS since the last look; "": nothing is.

        Args:
            server: as DHCP serves it, in the namespace that there is now.
        """
        state = self._states.get(server.name)
        if state is None or not state.serves:
            return f"{PROGRAM} does not answer for {server.name}"
        named = self._named.get(server.name) or self._recall(server, state)
        if named is None or not state.complete:
            return f"{PROGRAM} may have other names of {server.name}"
        if named.revision != state.revision:
            return f"{PROGRAM} has other names of {server.name}"
        return ""

    def is_well(self) -> bool:
        """Tell whether the process answers, and has what it was fed with."""
        if self._process is None:
            return not self._named
        try:
            self._follow_host()
            states = self._process.hello().states
        except LessorError:
            return False
        known = {name: named.revision for name, named in self._named.items()}
        return {one.name: one.revision for one in states} == known and all(
            one.serves for one in states
        )

    def bring(self, want: DhcpServer, *, doubtful: bool) -> None:
        """Bring a server's DNS to the desired state.

        Args:
            want: the server.
            doubtful: the process may have sockets in another namespace, or on other addresses.

        Raises:
            LessorError, OSError: it can't be; the next `look` says what it has.
        """
        process, name, place = self._live(), want.name, place_of(want)
        named, state, zone = self._named.get(name), self._states.get(name), zone_of(want)
        fits = named is not None and _where(named.zone, named.place) == _where(zone, place)
        if state is None or not state.serves or (doubtful and not fits):
            self.remove(name)  # the ports are free only then
            process.open(want)
            named = state = None
        elif named is None or named.zone != zone:
            process.configure(want)
        whole = named is None or state is None or named.revision != state.revision
        gone, fresh = self._all(want) if whole or named is None else _changes(named.server, want)
        self._named.pop(name, None)
        if whole or gone or fresh or named is None:
            revision = process.feed(name, gone, fresh)
        else:
            revision = named.revision
        self._named[name] = _Named(want, revision, zone, place)
        self._states = {
            **self._states,
            name: ServerState(name, revision, complete=True, serves=True),
        }

    def remove(self, name: str) -> None:
        """Answer no more there.

        Raises:
            LessorError, OSError: the process can't be told.
        """
        if name in self._states or name in self._named:
            self._live().drop(name)
        self._named.pop(name, None)
        self._states = {key: one for key, one in self._states.items() if key != name}

    def names(self) -> Iterator[str]:
        """Yield the names of the servers that the process had at the last look."""
        yield from self._states

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with all of it."""
        yield from (f"{PROGRAM}: {problem}" for problem in self._problems)
        given = {one for named in self._named.values() for one in named.server.upstream_dns}
        for one in sorted(filterfalse(is_address, given)):
            yield f"name server {one} is left out: {PROGRAM} takes addresses alone"

    def close(self) -> None:
        """Let go of the process; it goes on."""
        if self._process is not None:
            self._process.close()
            self._process = None
        self._named.clear()
        self._states = {}
        self._told = None

    def _recall(self, server: DhcpServer, state: ServerState) -> _Named | None:
        """Take over what an agent before this one has fed; None: it differs, or is not known."""
        zone = zone_of(server)
        try:
            if files.zone(self._home.folder, server.name) == zone and self._all(server) == ([], []):
                named = _Named(server, state.revision, zone, place_of(server))
                return self._named.setdefault(server.name, named)
        except (LessorError, OSError):
            return None
        return None

    def _all(self, want: DhcpServer) -> tuple[list[Entry], list[Entry]]:
        """Return what to drop and to add, whatever the process has."""
        have = set() if want.name not in self._states else set(self._live().names(want.name))
        wanted = set(entries(want))
        return sorted(have - wanted), sorted(wanted - have)

    def _live(self) -> Dnsd:
        """Return the connection; start a process if none runs that answers.

        Raises:
            LessorError: it does not start, or one that hangs does not end.
            OSError: its folder can't be used.
        """
        if self._process is not None and not self._away:
            return self._process
        why, died = self._away, self._served
        if died:
            self._tell(Incident("dns server died", PROGRAM, EVERYWHERE, {"why": why}))
        self.end()
        self._process = process = Dnsd(self._home, self._version)
        if died:
            fields = {"why": why, "pid": process.process.pid}
            self._tell(Incident("dns server restarted", PROGRAM, EVERYWHERE, fields))
        self._away = ""
        self._take(process.hello())
        self._follow_host()
        return process

    def _take(self, found: Servers | None) -> None:
        self._states = {one.name: one for one in found.states} if found else {}
        self._problems = found.problems if found else ()
        self._served = self._served or self._process is not None
        if found:
            for name in self._named.keys() - self._states.keys():
                del self._named[name]

    def _follow_host(self) -> None:
        """Tell the process of the host's name servers, if they changed."""
        told = tuple(self._resolvers())
        if self._process is not None and told != self._told:
            self._process.use_resolvers(told)
            self._told = told

    def end(self) -> None:
        """End the process.

        Raises:
            LessorError: it does not end.
        """
        process, self._process = self._process, None
        self._told = None
        if process is not None:
            process.close()
        end(self._home)


def _where(zone: Zone, place: str) -> tuple[object, ...]:
    """Return all that a server's sockets depend on."""
    return place, {one.server for one in zone.ranges}


def _changes(before: DhcpServer, want: DhcpServer) -> tuple[list[Entry], list[Entry]]:
    """Return the names that are gone, and those that are new."""
    gone, fresh = changed(before.reservations, want.reservations)
    drop = [one for key in gone for one in reserved(before.reservations[key])]
    put = [one for key in fresh for one in reserved(want.reservations[key])]
    if before.names != want.names:
        old, new = (set(entries(_further(one))) for one in (before, want))
        drop += sorted(old - new)
        put += sorted(new - old)
    return drop, put


def _further(server: DhcpServer) -> DhcpServer:
    """Return a server with the names that no reservation has alone."""
    return DhcpServer(server.name, "", (), {}, server.names)
