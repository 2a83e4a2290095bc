"""One dnsmasq: what it has loaded, and how it comes to what is wanted.

A new reservation is a new file, live at once. What must be unread takes a reload, which makes
dnsmasq report every lease again, so changes are gathered: `bring()` says `Pending` until a reload
is due. A reload is a SIGHUP, or a restart if dnsmasq may have read a `set:` tag (dataplane.md 2.3).
A lease whose reservation is gone is ended after the reload.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from lessor.agent.drivers.dhcp import KnownLeases, Leases
from lessor.agent.drivers.dnsmasq_folder import ServerFolder, Stamp
from lessor.agent.drivers.dnsmasq_process import Process, Scan, find, find_all, start
from lessor.agent.run import Run
from lessor.core.dnsmasq import command_line, plan
from lessor.core.dnsmasq_files import is_tagged
from lessor.core.leases import LiveLease, given_elsewhere
from lessor.core.state import DhcpServer, Reservation
from lessor.errors import CommandError, LessorError, Pending
from lessor.netns import identity, inside, prefix

LEAST_GAP_S = 1.0  # between two reloads of one server
REPORT_S = 0.003  # what the report of one lease costs, dnsmasq's fork and the hook
REPORT_SHARE = 0.25  # of a processor that reports after reloads may take
RELEASE_S = 1.0  # until dnsmasq says that it has ended a lease
STALL_S = 0.001  # what dnsmasq's own reload takes longer for each lease, on a busy machine
POLL_S = 0.01

# leases and reservations, and the leases that no reservation stands behind
_Compared = tuple[Mapping[IPv4Address, LiveLease], Mapping[str, Reservation], list[LiveLease]]


@dataclass(frozen=True, slots=True)
class Ground:
    """What all servers of a host share."""

    root: Path  # networks_path
    spool: Path  # the file that the hook adds events to
    leases: Leases
    alarms: Path  # a folder elsewhere than the spool, for what can't be spooled
    hook: Path
    release: bool  # force_dhcp_release
    run: Run
    clock: Callable[[], float]  # seconds, never going back
    retired: list[Process]  # that somebody may still watch
    scan: Callable[[], Scan]  # all dnsmasqs, as of the beginning of this pass
    known: KnownLeases | None = None


class Server:
    """The dnsmasq of one folder; `sure` says that `loaded` is what it has read."""

    def __init__(self, ground: Ground, folder: ServerFolder, loaded: DhcpServer) -> None:
        self._ground = ground
        self._folder = folder
        self._stamp: Stamp = ()
        self._reloaded_at = float("-inf")
        self._compared: _Compared = ({}, {}, [])
        self._missing: list[LiveLease] = []  # that others gave; a start takes them
        self.asked_at = float("-inf")
        self.process: Process | None = None
        self.loaded = loaded
        self.sure = False

    @property
    def name(self) -> str:
        """The bridge's name or the network's id: the folder's name, and that of lease events."""
        return self.loaded.name

    def adopt(self) -> None:
        """Find out what a server has loaded that an agent before us started."""
        found = find(self._folder.paths, self._ground.scan())
        self.process = found[0] if found else None
        for other in found[1:]:
            other.close()
        try:
            self.loaded = replace(self.loaded, reservations=self._folder.reservations())
            self.sure = not self._folder.doubtful and self._is_ours_whole()
            self._stamp = self._folder.stamp()
        except (OSError, ValueError):
            self.sure = False

    def look(self, *, verify: bool) -> None:
        """Notice a death, and what somebody else did to the folder or the interface."""
        if self.process and not self.process.alive():
            self._let_go()
        if not self.process:
            self.sure = False
        if not self.sure:
            return
        try:
            stamp = self._folder.stamp()
            if verify or stamp != self._stamp:
                self.sure = self._is_ours_whole()
                self._stamp = stamp
            elif self.process:
                footing = self.process.environ().get("LESSOR_FOOTING")
                self.sure = footing == _footing(self.loaded, self._folder)
        except OSError:
            self.sure = False

    def learn(self) -> bool:
        """Ask for leases that other servers gave; False: nobody answers."""
        return self._ask(self.loaded)

    def is_curious(self) -> bool:
        """Tell whether others may give leases, or gave some that were never asked for."""
        others = self.is_one_of_several() or self._folder.unlearned
        return self.sure and others and self._ground.known is not None

    def seen(self) -> DhcpServer:
        """Return what is loaded, and whom a lease is still alive for, as a nobody's reservation.

        It is on no interface if it is dead, if what it has loaded isn't known, if lease events
        were lost, or if it lacks leases that others gave: then it is to be brought to what is wanted, whatever that is.
        """
        if not self.sure:
            return replace(self.loaded, interface="", ranges=(), reservations={})
        if self._missing or self._alarm.exists():
            return replace(self.loaded, interface="")
        strays = {str(one.address): _of_nobody(one) for one in self._strays()}
        reservations = self.loaded.reservations | strays if strays else self.loaded.reservations
        return replace(self.loaded, reservations=reservations)

    def bring(self, want: DhcpServer) -> Iterator[Exception]:
        """Bring it to what is wanted, as far as it goes; yield what is in the way."""
        if not self.sure:
            yield from tried(lambda: self._restart(want))
        else:
            yield from tried(lambda: self._change(want))
        if self.sure:
            yield from tried(self._heed_alarm)
            yield from tried(self._end_strays)

    def remove(self) -> None:
        """End it, and its leases: nobody serves them any more."""
        self.sure = False
        self._folder.doubt()
        self._stop()
        if self._ground.release:
            leases = self._ground.leases
            leases.end(self.name, list(leases.live(self.name).values()))
        if self.loaded.namespace:  # should it come back, what is true then is in the store
            self._ground.leases.forget(self.name)
        self._folder.remove()

    def is_one_of_several(self) -> bool:
        """Tell whether others serve the same network."""
        return bool(self.loaded.namespace) and not self.loaded.authoritative

    def _ask(self, server: DhcpServer) -> bool:
        """Find out which leases of others are missing here; False: nobody answers."""
        self.asked_at = self._ground.clock()
        networks = dict.fromkeys(r.network_id for r in server.ranges)
        told = self._ground.known(tuple(networks)) if self._ground.known else ()
        if told is not None:
            owners = {key: one.mac for key, one in server.reservations.items()}
            live = self._ground.leases.live(server.name)
            found = given_elsewhere(told, live, owners)
            unknown = any(one.address not in live for one in found)
            self._missing = found if unknown else []  # longer ones come along
        self._folder.note_learned(learned=told is not None)
        return told is not None

    def _is_ours_whole(self) -> bool:
        """Tell whether process and files are to the last byte what we believe."""
        return (
            self.process is not None
            and self._is_in(self.process, self.loaded.namespace)
            and self._folder.has(self.loaded)
            and self.process.argv() == command_line(self.loaded, self._folder.paths)
            and self.process.environ().items() >= self._environ(self.loaded).items()
        )

    def _is_in(self, process: Process, namespace: str) -> bool:
        return not namespace or process.namespace() == identity(namespace)

    def _change(self, want: DhcpServer) -> None:
        """Tell a running server what changed."""
        what = plan(self.loaded, want, self._folder.paths)
        if what.restart:
            self._restart(want)
            return
        if what.names:
            self.loaded = replace(self.loaded, names=want.names)
            self._folder.rename_all(self.loaded)
        if what.add:
            self._add(what.add)
        if what.reload or self._missing:
            self._await_turn(urgent=bool(what.blocked))
            self._reload(want)

    def _add(self, fresh: Sequence[Reservation]) -> None:
        self._folder.add(fresh, self.loaded)
        added = {str(one.address): one for one in fresh}
        self.loaded = replace(self.loaded, reservations=self.loaded.reservations | added)
        self._stamp = self._folder.stamp()

    def _await_turn(self, *, urgent: bool) -> None:
        """Let a reload through if it is due: the more leases are reported again, the rarer.

        Raises:
            Pending: it isn't.
        """
        cost = len(self._ground.leases.live(self.name)) * REPORT_S / REPORT_SHARE
        gap = LEAST_GAP_S if urgent else max(LEAST_GAP_S, cost)
        wait = self._reloaded_at + gap - self._ground.clock()
        if wait > 0:
            message = f"dnsmasq of {self.name} reloads in {wait:.1f} s; changes are gathered"
            raise Pending(message, key=self.name, retry_s=wait)

    def _reload(self, want: DhcpServer) -> None:
        """Make a running server forget what isn't wanted any more."""
        if self._missing or self._folder.tagged or any(map(is_tagged, want.reservations.values())):
            self._restart(want)
            return
        assert self.process is not None
        self.sure = False
        self._folder.doubt()
        self._folder.fill(want)
        self.process.hang_up(tagged=self._folder.tagged)
        self._settle(want)

    def _restart(self, want: DhcpServer, end: Sequence[LiveLease] = ()) -> None:
        """Start it, after the end of what runs. It keeps its leases, but for those in `end`.

        In a namespace it may be the successor of another host's, which gave leases.
        """
        self.sure = False
        self._folder.make()
        if want.namespace and not self._ground.leases.live(want.name):
            self._ask(want)
        self._folder.doubt()
        self._folder.fill(want)
        environ = self._environ(want)
        self._stop()
        if not any(map(is_tagged, want.reservations.values())):
            self._folder.untag()
        self._ground.leases.end(want.name, end)
        self._ground.leases.seed(want.name, self._missing)
        self._missing = []
        self._ground.leases.prepare(want.name)
        start(self._ground.run, command_line(want, self._folder.paths), environ, want.namespace)
        found = find(self._folder.paths)
        if not found:
            raise CommandError(f"dnsmasq of {want.name} ended right after its start; see its log")
        self.process = found[0]
        self._settle(want)

    def _settle(self, loaded: DhcpServer) -> None:
        self._folder.trust()
        self.loaded = loaded
        self._stamp = self._folder.stamp()
        self._reloaded_at = self._ground.clock()
        self.sure = True

    def _stop(self) -> None:
        """End every dnsmasq of this folder: the known one, and any that a killed agent left.

        One that is dying has no command line any more, but its sockets still: it is waited for.
        """
        if self.process:
            self.process.stop()
        self._let_go()
        for process in find_all(self._folder.paths, self._ground.scan()):
            process.stop()
            process.close()

    def _let_go(self) -> None:
        if self.process:
            self._ground.retired.append(self.process)
            self.process = None

    def _strays(self) -> list[LiveLease]:
        """Return the live leases that no reservation stands behind."""
        if not self._ground.release:
            return []
        live, loaded = self._ground.leases.live(self.name), self.loaded.reservations
        if self._compared[0] is not live or self._compared[1] is not loaded:
            strays = [one for one in live.values() if _mac(loaded.get(str(one.address))) != one.mac]
            self._compared = live, loaded, strays
        return self._compared[2]

    def _end_strays(self) -> None:
        """Make dnsmasq end them and see it done; where it doesn't, start it without them.

        Source: semantics.md A7.4, D2.1.
        """
        leases = self._ground.leases
        strays = self._strays()
        for lease in strays:
            self._release(lease)
        held = len(leases.live(self.name)) if strays else 0
        patience = RELEASE_S + len(strays) * REPORT_S + held * STALL_S
        for _ in range(round(patience / POLL_S)):
            if not strays:
                return
            time.sleep(POLL_S)
            leases.catch_up()
            strays = self._strays()
        if strays:
            self._restart(self.loaded, strays)

    def _release(self, lease: LiveLease) -> None:
        """Send a DHCPRELEASE as the client would; whether it took is seen by the caller."""
        client_id = (lease.client_id,) if lease.client_id else ()
        told = (self.loaded.interface, str(lease.address), lease.mac, *client_id)
        within = prefix(self.loaded.namespace)
        tried(lambda: self._ground.run(*within, "dhcp_release", *told))

    def _heed_alarm(self) -> None:
        """Have all leases reported again after an event was lost, once there is room for them.

        Where a reload would be a restart there is none: only the process knows what was lost, and
        renewals will tell.
        """
        if not self._alarm.exists():
            return
        if not self._ground.leases.has_room():
            raise LessorError(
                f"lease events of {self.name} are lost: {self._ground.spool.parent} has no room; "
                "free some (DHCP goes on)"
            )
        if self.process and not self._folder.tagged:
            self.process.hang_up(tagged=self._folder.tagged)
        self._alarm.unlink()

    def _environ(self, server: DhcpServer) -> dict[str, str]:
        """Return what the hook needs, and what the process stands on."""
        return {
            "LESSOR_SPOOL": str(self._ground.spool),
            "LESSOR_INSTANCE": server.name,
            "LESSOR_LEASES": str(self._ground.leases.table(server.name)),
            "LESSOR_ALARM": str(self._alarm),
            "LESSOR_FOOTING": _footing(server, self._folder),
        }

    @property
    def _alarm(self) -> Path:
        return self._ground.alarms / self.name


def tried(step: Callable[[], object]) -> list[Exception]:
    """Do a step that holds up no other; return what went wrong."""
    try:
        step()
    except (LessorError, OSError) as error:
        return [error]
    return []


def _footing(server: DhcpServer, folder: ServerFolder) -> str:
    """Return which namespace, interface and folders these are: one made anew has other numbers.

    Raises:
        OSError: there is no such namespace or interface.
    """
    interface = server.interface
    where = ""
    if server.namespace:
        interface += f" in {server.namespace}"
        where = "{},{},".format(*identity(server.namespace))
    with inside(server.namespace):
        try:
            index = socket.if_nametoindex(server.interface)
        except OSError as error:  # Python gives it no number
            raise OSError(errno.ENODEV, f"no interface {interface}") from error
    return f"{where}{index},{folder.footing()}"


def _of_nobody(lease: LiveLease) -> Reservation:
    return Reservation("", "", "", lease.mac, lease.address, "", "")


def _mac(reservation: Reservation | None) -> str:
    return reservation.mac if reservation else ""
