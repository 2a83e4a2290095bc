"""Feeds lessor-dhcpd: the process that serves DHCP for all networks of this host.

A change of a reservation is one message. A change of what all reservations of a server depend on
(a range, the lease time) makes all rows anew; until that is done, the header has no fingerprint, so
that an agent that ends halfway leaves nothing that looks whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from lessor.agent.drivers.dhcp import Incident, Leases
from lessor.agent.drivers.native.heads import (
    Heads,
    changed,
    fingerprint,
    head,
    other_version,
    place_of,
    serves_alike,
)
from lessor.core.diff import Unsound
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpServer, Reservation
from lessor.dhcpd.client import IPV4, Dhcpd, entry_of, header_of
from lessor.dhcpd.messages import Done, Entry, ServerState, Welcome
from lessor.errors import Conflict, Invalid, LessorError, NotFound, Unavailable
from lessor.net.address import Address, read_address
from lessor.steps import tried
from lessor.wire import decode

PROGRAM = "lessor-dhcpd"
NOT_THERE = "it does not run"
EVERYWHERE = "all networks of this host"

Seen = dict[str, DhcpServer | Unsound[DhcpServer]]


@dataclass(slots=True)
class _Fed:
    """A server as the process has it."""

    server: DhcpServer
    revision: int
    place: str  # as `place_of` returns it; "?": not known
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)  # options, by address
    orphans: bool = True  # there may be leases that no reservation has
    unsaved: str = ""  # why a change is not on the disk of the process


class Responder:
    """lessor-dhcpd of this host, for the thread of the drivers.

    Args:
        process: talks to it.
        version: of this program; a process of another one is replaced.
        heads: what the process doesn't keep.
        leases: the lease book.
        release: end the leases of removed reservations (force_dhcp_release).
        tell: is told what happens to the process.
    """

    def __init__(
        self,
        process: Dhcpd,
        version: str,
        heads: Heads,
        leases: Leases,
        *,
        release: bool,
        tell: Callable[[Incident], None],
    ) -> None:
        self._process = process
        self._version = version
        self._heads = heads
        self._leases = leases
        self._release = release
        self._tell = tell
        self._fed: dict[str, _Fed] = {}
        self._states: dict[str, ServerState] = {}
        self._problem = ""
        self._away = NOT_THERE  # why the process can't be spoken to; "": it can
        self._served = False  # a process has served this agent

    @property
    def pid(self) -> int:
        """The process; 0: none is known."""
        return self._process.process.pid if self._process.process else 0

    @property
    def hangs(self) -> bool:
        """Whether a process ran at the last look, but could not be spoken to."""
        return bool(self.pid and self._away)

    def look(self) -> Seen:
        """Return the servers of the process; none if it does not run, or hangs."""
        try:
            welcome = self._process.hello() if self._process.process else self._process.join()
        except (Unavailable, OSError) as error:
            self._away, welcome = str(error), None
        else:
            self._away = other_version(welcome.version, self._version) if welcome else NOT_THERE
            welcome = None if self._away else welcome
        self._take(welcome)
        return {name: self._seen(state) for name, state in self._states.items()}

    def is_well(self) -> bool:
        """Tell whether the process answers, and has what it was fed with."""
        if not self.pid:
            return not self._fed
        try:
            welcome = self._process.hello()
        except Unavailable:
            return False
        known = {name: fed.revision for name, fed in self._fed.items()}
        return {one.name: one.revision for one in welcome.servers} == known and all(
            one.attached for one in welcome.servers
        )

    def bring(self, want: DhcpServer) -> bool:
        """Bring a server to the desired state; return whether it was fed anew.

        Raises:
            LessorError, OSError: it can't be; the next `look` says what it has.
        """
        place = place_of(want)
        if self._away:
            self._start()
        fed, state = self._fed.get(want.name), self._states.get(want.name)
        if fed and state and serves_alike(fed.server, want) and not self._fault(fed, state):
            if not state.complete:
                self._seed(want.name)
            self._change(fed, want)
            return False
        self._feed(want, place)
        return True

    def remove(self, name: str) -> None:
        """Serve no more there, and end the leases: no server holds them any more.

        Raises:
            LessorError, OSError: the process can't be told.
        """
        if self._away:
            self._start()
        fed = self._fed.get(name)
        self.retire(name)
        self._leases.catch_up()
        if self._release:
            self._leases.end(name, list(self._leases.live(name).values()))
        if fed is None or fed.server.namespace:  # another host may serve it next
            self._leases.forget(name)

    def retire(self, name: str) -> None:
        """Serve no more there: another program does, and has the leases.

        Raises:
            LessorError, OSError: the process can't be told.
        """
        self._process.close_server(name)
        self._heads.remove(name)
        self._fed.pop(name, None)
        self._states.pop(name, None)

    def end(self) -> None:
        """End the process.

        Raises:
            LessorError: it does not end.
        """
        self._process.end()

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with all servers."""
        if self._problem:
            yield f"{PROGRAM}: {self._problem}"
        for name, fed in sorted(self._fed.items()):
            if unsaved := self._unsaved(name, fed):
                yield (
                    f"{PROGRAM} serves {name} as it should, but a start would bring back what was "
                    f"there before: {unsaved}"
                )
            for address, why in sorted(fed.left_out.items()):
                yield f"DHCP options of {address} ({name}) are left out: {'; '.join(why)}"

    def _unsaved(self, name: str, fed: _Fed) -> str:
        """Return why changes are not on disk; "": they are by now."""
        if fed.unsaved:
            try:
                if not self._process.status(name).unsaved:
                    fed.unsaved = ""
            except LessorError:
                return fed.unsaved
        return fed.unsaved

    def close(self) -> None:
        """Let go of the process; it goes on."""
        self._process.close()
        self._fed.clear()
        self._states.clear()

    def _start(self) -> None:
        """Start the process, instead of one that hangs if it must be.

        Raises:
            Unavailable: it does not start.
            LessorError: one that hangs does not end.
            OSError: its folder can't be used.
        """
        why, died = self._away, self._served
        if died:
            self._tell(Incident("dhcp server died", PROGRAM, EVERYWHERE, {"why": why}))
        self._process.end()
        welcome = self._process.connect()
        if died:
            fields = {"why": why, "pid": welcome.pid}
            self._tell(Incident("dhcp server restarted", PROGRAM, EVERYWHERE, fields))
        self._away = ""
        self._take(welcome)
        for state in welcome.servers:
            self._seen(state)

    def _take(self, welcome: Welcome | None) -> None:
        self._states = {one.name: one for one in welcome.servers} if welcome else {}
        self._problem = welcome.problem if welcome else ""
        self._served = self._served or welcome is not None
        if welcome:
            for name in self._fed.keys() - self._states.keys():
                del self._fed[name]

    def _seen(self, state: ServerState) -> DhcpServer | Unsound[DhcpServer]:
        fed = self._fed.get(state.name)
        if fed is None:
            fed = self._fed[state.name] = self._recall(state)
        fault = self._fault(fed, state)
        if not fault and not state.complete:
            fault = f"{PROGRAM} does not know the leases of {state.name} since its start"
        if not fault and fed.orphans:
            fault = f"leases of {state.name} may belong to no port"
        return Unsound(fed.server, fault) if fault else fed.server

    def _recall(self, state: ServerState) -> _Fed:
        """Return a server that an agent before this one has fed."""
        server = self._heads.read(state.name)
        if server is None:
            return _Fed(DhcpServer(state.name, "", (), {}), 0, "?")
        try:
            revision, texts = self._process.dump(state.name)
            found = {str(key): decode(text, Reservation) for key, text in texts.items()}
        except (Conflict, Invalid, NotFound):
            return _Fed(server, 0, "?")
        server.reservations.update(found)
        place = self._place(server)
        known = state.fingerprint == fingerprint(server, place)
        live = self._leases.live(state.name).values()
        orphans = self._release and any(_owner(found, one) != one.mac for one in live)
        return _Fed(server, revision, place if known else "?", orphans=orphans)

    def _fault(self, fed: _Fed, state: ServerState) -> str:
        """Return what is wrong with a server of the process; "": nothing is."""
        label = fed.server.interface or state.name
        if not state.attached:
            return f"{PROGRAM} does not hear {label}"
        if fed.place != self._place(fed.server):
            return f"{PROGRAM} has another network namespace, or other rows, of {state.name}"
        if fed.revision != state.revision:
            return f"{PROGRAM} has other reservations of {state.name}"
        return ""

    def _place(self, server: DhcpServer) -> str:
        try:
            return place_of(server)
        except OSError:
            return "none"

    def _feed(self, want: DhcpServer, place: str) -> None:
        """Open a server's sockets, and give it all that it should have."""
        name, process = want.name, self._process
        self._fed.pop(name, None)
        header = header_of(want, fingerprint="", marked=not want.namespace)
        process.open(header)
        self._seed(name)
        rows, left_out = self._rows(want, list(want.reservations))
        _, present = process.dump(name)
        wanted = {entry.address for entry in rows}
        process.drop(name, [key for key in present if key.packed not in wanted])
        process.put(name, rows)
        unwritten = tried(lambda: self._heads.write(want))  # serves with a full disk, too
        whole = header_of(want, fingerprint=fingerprint(want, place), marked=not want.namespace)
        done = process.open(whole, sockets=False)
        self._fed[name] = _Fed(want, done.revision, place, left_out, unsaved=done.unsaved)
        self._note(name, done.revision, whole.fingerprint)
        self._end_orphans(self._fed[name], None)
        for error in unwritten:
            raise error

    def _change(self, fed: _Fed, want: DhcpServer) -> None:
        """Give a server the reservations that changed."""
        gone, fresh = changed(fed.server.reservations, want.reservations)
        rows, left_out = self._rows(want, fresh)
        kept = {entry.address for entry in rows}
        done = Done(fed.revision, fed.unsaved)
        dropped = (IPv4Address(key) for key in gone if "." in key)
        if lost := [one for one in dropped if one.packed not in kept]:
            done = self._process.drop(want.name, lost)
        if rows:
            done = self._process.put(want.name, rows)
        fed.left_out = {k: v for k, v in fed.left_out.items() if k not in gone} | left_out
        before, fed.server = fed.server, want
        fed.revision, fed.unsaved = done.revision, done.unsaved
        self._note(want.name, done.revision, self._states[want.name].fingerprint)
        if head(before) != head(want):
            self._heads.write(want)
        whole = fed.orphans
        fed.orphans = whole or bool(gone)
        if fed.orphans:
            self._end_orphans(fed, None if whole else gone)

    def _note(self, name: str, revision: int, mark: str) -> None:
        self._states[name] = ServerState(name, revision, mark, attached=True, complete=True)

    def _rows(
        self, want: DhcpServer, keys: list[str]
    ) -> tuple[list[Entry], dict[str, tuple[str, ...]]]:
        """Return ready rows of these reservations, and options that are left out of them."""
        ranges = {one.subnet_id: one for one in want.ranges if one.cidr.version == IPV4}
        rows: list[Entry] = []
        left_out: dict[str, tuple[str, ...]] = {}
        for key in keys:
            one = want.reservations[key]
            if one.subnet_id in ranges:
                row, problems = entry_of(one, ranges[one.subnet_id], want.lease_time)
                rows.append(row)
                if problems:
                    left_out[key] = problems
        return rows, left_out

    def _seed(self, name: str) -> None:
        """Tell the process of the leases that it does not know since it started."""
        self._leases.catch_up()
        self._leases.end_expired(name)
        self._process.seed(name, self._leases.live(name).values())

    def _end_orphans(self, fed: _Fed, gone: Iterable[str] | None) -> None:
        """End the leases that no reservation has; the process has forgotten them.

        Args:
            fed: the server.
            gone: addresses of reservations that are gone; None: look at all leases.

        Raises:
            LessorError: the disk is full; it is tried again.
        """
        if self._release:
            name, reservations = fed.server.name, fed.server.reservations
            self._leases.catch_up()
            live = self._leases.live(name)
            held = live.values() if gone is None else _held(live, gone)
            ended = [one for one in held if _owner(reservations, one) != one.mac]
            if ended and not self._leases.has_room():
                raise LessorError(f"{len(ended)} leases of {name} can't be ended: the disk is full")
            self._leases.end(name, ended)
        fed.orphans = False


def _held(live: Mapping[Address, LiveLease], addresses: Iterable[str]) -> Iterator[LiveLease]:
    found = (live.get(read_address(one)) for one in addresses)
    return (one for one in found if one is not None)


def _owner(reservations: Mapping[str, Reservation], lease: LiveLease) -> str:
    reserved = reservations.get(str(lease.address))
    return reserved.mac if reserved else ""
