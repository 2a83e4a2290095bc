"""One dnsmasq: what it has loaded, and how it comes to what is wanted.

A new reservation is a new file, live at once. What must be unread takes a reload, which makes
dnsmasq report every lease again, so changes are gathered: `bring()` says `Pending` until a reload
is due. A reload is a SIGHUP, or a restart if dnsmasq may have read a `set:` tag (dataplane.md 2.3).
A lease whose reservation is gone is ended after the reload.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from lessor.agent.drivers.dhcp import Leases
from lessor.agent.drivers.dnsmasq_folder import ServerFolder, Stamp
from lessor.agent.drivers.dnsmasq_process import Process, find, find_all, start
from lessor.agent.run import Run
from lessor.core.dnsmasq import command_line, plan
from lessor.core.dnsmasq_files import is_tagged
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpServer, Reservation
from lessor.errors import CommandError, LessorError, Pending

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


class Server:
    """The dnsmasq of one folder; `sure` says that `loaded` is what it has read."""

    def __init__(self, ground: Ground, folder: ServerFolder, loaded: DhcpServer) -> None:
        self._ground = ground
        self._folder = folder
        self._stamp: Stamp = ()
        self._reloaded_at = float("-inf")
        self._compared: _Compared = ({}, {}, [])
        self.process: Process | None = None
        self.loaded = loaded
        self.sure = False

    @property
    def name(self) -> str:
        """The bridge's name, which is the folder's and that of its lease events."""
        return self.loaded.name

    def adopt(self) -> None:
        """Find out what a server has loaded that an agent before us started."""
        found = find(self._folder.paths)
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
                self.sure = footing == _footing(self.loaded.interface, self._folder)
        except OSError:
            self.sure = False

    def seen(self) -> DhcpServer:
        """Return what is loaded, and whom a lease is still alive for, as a nobody's reservation.

        It is on no interface if it is dead, if what it has loaded isn't known, or if lease events
        were lost: then it is to be brought to what is wanted, whatever that is.
        """
        if not self.sure:
            return replace(self.loaded, interface="", ranges=(), reservations={})
        if self._alarm.exists():
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
        self._folder.remove()

    def _is_ours_whole(self) -> bool:
        """Tell whether process and files are to the last byte what we believe."""
        return (
            self.process is not None
            and self._folder.has(self.loaded)
            and self.process.argv() == command_line(self.loaded, self._folder.paths)
            and self.process.environ().items() >= self._environ(self.loaded).items()
        )

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
        if what.reload:
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
        if self._folder.tagged or any(map(is_tagged, want.reservations.values())):
            self._restart(want)
            return
        assert self.process is not None
        self.sure = False
        self._folder.doubt()
        self._folder.fill(want)
        self.process.hang_up(tagged=self._folder.tagged)
        self._settle(want)

    def _restart(self, want: DhcpServer, end: Sequence[LiveLease] = ()) -> None:
        """Start it, after the end of what runs. It keeps its leases, but for those in `end`."""
        self.sure = False
        self._folder.make()
        self._folder.doubt()
        self._folder.fill(want)
        environ = self._environ(want)
        self._stop()
        if not any(map(is_tagged, want.reservations.values())):
            self._folder.untag()
        self._ground.leases.end(want.name, end)
        self._ground.leases.prepare(want.name)
        start(self._ground.run, command_line(want, self._folder.paths), environ)
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
        """End every dnsmasq of this folder: the known one, and any that a killed agent left."""
        self._let_go()
        for process in find_all(self._folder.paths):
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
        tried(lambda: self._ground.run("dhcp_release", *told))

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
            "LESSOR_FOOTING": _footing(server.interface, self._folder),
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


def _footing(interface: str, folder: ServerFolder) -> str:
    """Return which interface and folders these are: one made anew has other numbers.

    Raises:
        OSError: there is no such interface.
    """
    try:
        index = socket.if_nametoindex(interface)
    except OSError as error:
        number = error.errno or 0
        raise OSError(number, f"no interface {interface}: {os.strerror(number)}") from error
    return f"{index},{folder.footing()}"


def _of_nobody(lease: LiveLease) -> Reservation:
    return Reservation("", "", "", lease.mac, lease.address, "", "")


def _mac(reservation: Reservation | None) -> str:
    return reservation.mac if reservation else ""
