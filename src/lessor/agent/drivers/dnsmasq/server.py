"""One dnsmasq: what it has loaded, and how it comes to what is wanted.

A new reservation is a new file, live at once. What must be unread takes a reload, which makes
dnsmasq report every lease again, so changes are gathered: `bring()` says `Pending` until a reload
is due. A reload is a SIGHUP, or a restart if dnsmasq may have read a `set:` tag (dataplane.md 2.3).
A lease whose reservation is gone is ended after the reload.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from lessor.agent.drivers.dnsmasq.alarm import Alarm
from lessor.agent.drivers.dnsmasq.context import Ground, footing, tried
from lessor.agent.drivers.dnsmasq.filter import attach_filter
from lessor.agent.drivers.dnsmasq.folder import ServerFolder, Stamp, Unwritable
from lessor.agent.drivers.dnsmasq.health import Health
from lessor.agent.drivers.dnsmasq.process import Process, find, find_all, start
from lessor.agent.drivers.dnsmasq.starttable import StartTable
from lessor.agent.drivers.dnsmasq.strays import REPORT_S, Strays
from lessor.core.dnsmasq.command import command_line, plan
from lessor.core.dnsmasq.files import is_tagged, reserved_names
from lessor.core.leases import LiveLease, given_elsewhere
from lessor.core.state import DhcpServer, Reservation
from lessor.errors import CommandError, LessorError, Pending
from lessor.netns import identity

LEAST_GAP_S = 1.0  # between two reloads of one server
# Restarts for what projects may change (subnets): so many at once, then one in so many seconds. Nobody
# on the bridge is answered meanwhile, which is 30 to 100 ms.
RESTARTS, RESTART_S = 10, 1.0
REPORT_SHARE = 0.25  # of a processor that reports after reloads may take
WALK_S = 50e-9  # of dnsmasq's time for each lease and reservation, which it compares at each file
NAMES_SHARE = 0.005  # of its time that files of names may take: of 200 VMs one waits for them
MOST_NAMES_S = 60.0  # that a name waits for others; a VM has its own with its lease


class Server:
    """The dnsmasq of one folder; `sure` says that `loaded` is what it has read."""

    def __init__(self, ground: Ground, folder: ServerFolder, loaded: DhcpServer) -> None:
        self._ground = ground
        self._folder = folder
        self._stamp: Stamp = ()
        self._reloaded_at = float("-inf")
        self._free_restarts, self._counted_at = float(RESTARTS), float("-inf")
        self._strays = Strays(ground)
        self._alarm = Alarm(ground.runtime / "alarms" / loaded.name, ground.hook.group)
        self._table = StartTable(ground.runtime / "leases" / loaded.name)
        self._missing: list[LiveLease] = []  # that others gave; a start takes them
        self._unnamed: list[Reservation] = []  # live, but for their names
        self._named_at = float("-inf")
        self._unwritable = ""  # why names could not be put in place, if they could not
        self._unfiltered = ""  # why it hears what VMs say for others, if it does
        self.asked_at = float("-inf")
        self.health = Health(ground, folder)
        self.process: Process | None = None
        self.loaded = loaded
        self.sure = False

    @property
    def name(self) -> str:
        """The bridge's name or the network's id: the folder's name, and that of lease events."""
        return self.loaded.name

    @property
    def folder(self) -> ServerFolder:
        """Its files."""
        return self._folder

    def adopt(self) -> None:
        """Find out what a server has loaded that an agent before us started."""
        found = find(self._folder.paths, self._ground.scan())
        self.process = found[0] if found else None
        for other in found[1:]:
            other.close()
        self._filter()
        try:
            self.loaded = replace(self.loaded, reservations=self._folder.reservations())
            self._unnamed = self._folder.unnamed(self.loaded)
            whole = self._is_ours_whole() and not self._folder.rewritten()
            self.sure = whole and not self._folder.doubtful
            self._stamp = self._folder.stamp()
            self._folder.own_all()
            self._ground.watch(self._folder)
            self.health.unproven = _any(self.loaded)
        except (OSError, ValueError):
            self.sure = False

    def look(self, *, verify: bool) -> None:
        """Notice a death, a fault, and what somebody else did to the folder or the interface."""
        if verify:
            tried(self._alarm.arm)
            self._filter()
        process = self.process
        alive = process is not None and process.alive()
        if process and self.sure and self.health.stop_reason(process, self.loaded, alive=alive):
            self.sure = False
        if not alive:
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
                if not self.sure and not self._folder.has(self.loaded, self._unnamed):
                    self.health.overwritten([], self.loaded)
            elif self.process:
                stands = self.process.environ().get("LESSOR_FOOTING")
                self.sure = stands == footing(self.loaded, self._folder)
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
        were lost, if it lacks leases that others gave, or if it doesn't answer: then it is to be
        brought to what is wanted, whatever that is.
        """
        if not self.sure:
            return replace(self.loaded, interface="", ranges=(), reservations={})
        if self._missing or self._alarm.raised() or self._complaint():
            return replace(self.loaded, interface="")
        strays = {str(one.address): _of_nobody(one) for one in self._strays.of(self.loaded)}
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
        if complaint := self._complaint():
            yield LessorError(complaint)

    def remove(self) -> None:
        """End it, and its leases: nobody serves them any more."""
        self.sure = False
        tried(self._folder.doubt)
        self._stop()
        if self._ground.release:
            leases = self._ground.leases
            leases.end(self.name, list(leases.live(self.name).values()))
        if self.loaded.namespace:  # should it come back, what is true then is in the store
            self._ground.leases.forget(self.name)
        self._folder.remove()
        self._alarm.remove()

    def miss_events(self) -> None:
        """Have all its leases reported again: events were lost."""
        self._alarm.set()

    def _complaint(self) -> str:
        complaint = self.health.complaint(self.process, self.loaded)
        return complaint or self._unwritable or self._unfiltered

    def _filter(self) -> None:
        """Have it hear only clients that speak for themselves, also one that an older agent started."""
        if not self.process or not self.process.alive():
            return
        self._unfiltered = ""
        for error in tried(partial(attach_filter, self.process)):
            label = self._ground.label(self.loaded)
            self._unfiltered = (
                f"dnsmasq of {label} believes what a VM says for another one: {error}"
            )

    def is_one_of_several(self) -> bool:
        """Tell whether others serve the same network."""
        return bool(self.loaded.namespace) and self.loaded.peers

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
            and self._folder.has(self.loaded, self._unnamed)
            and self.process.argv() == command_line(self.loaded, self._folder.paths)
            and self.process.environ().items() >= self._environ(self.loaded).items()
        )

    def _is_in(self, process: Process, namespace: str) -> bool:
        return not namespace or process.namespace() == identity(namespace)

    def _change(self, want: DhcpServer) -> None:
        """Tell a running server what changed."""
        what = plan(self.loaded, want, self._folder.paths)
        if what.restart:
            self._await_restart()
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
        self._unnamed += [one for one in fresh if reserved_names([one])]
        self.health.unproven = fresh[-1]

    def write_names(self) -> bool:
        """Put names in place that wait for it; return whether it is news that this fails, or not.

        For each file dnsmasq compares all reservations and leases that it has, and answers nobody
        meanwhile: the more there are, the rarer.
        """
        if not (self.sure and self._unnamed and self._is_time_for_names()):
            return False
        self._named_at = self._ground.clock()
        before, self._unwritable = self._unwritable, ""
        try:
            self._folder.add_names(self._unnamed)
        except Unwritable as error:
            label = self._ground.label(self.loaded)
            self._unwritable = f"dnsmasq of {label} lacks names of new ports: {error}"
        else:
            self._unnamed = []
            self._stamp = self._folder.stamp()
        return bool(before) != bool(self._unwritable)

    def _is_time_for_names(self) -> bool:
        live = len(self._ground.leases.live(self.name))
        walk_s = live * len(self.loaded.reservations) * WALK_S
        gap = min(walk_s / NAMES_SHARE, MOST_NAMES_S)
        return self._ground.clock() >= self._named_at + gap

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

    def _await_restart(self) -> None:
        """Let a restart through that a change asks for, unless there were many of late.

        Raises:
            Pending: there were.
        """
        now = self._ground.clock()
        since = max(0.0, now - self._counted_at)
        free = min(self._free_restarts + since / RESTART_S, RESTARTS)
        if free < 1:
            wait = (1 - free) * RESTART_S
            message = f"dnsmasq of {self.name} restarts in {wait:.1f} s; changes are gathered"
            raise Pending(message, key=self.name, retry_s=wait)
        self._free_restarts, self._counted_at = free - 1, now

    def _reload(self, want: DhcpServer) -> None:
        """Make a running server forget what isn't wanted any more."""
        if self._missing or self._folder.tagged or any(map(is_tagged, want.reservations.values())):
            self._restart(want)
            return
        assert self.process is not None
        self._fill(want)
        self.process.hang_up(tagged=self._folder.tagged)
        self._settle(want)

    def _fill(self, want: DhcpServer) -> None:
        """Write its files; where they can't be written, what runs is as sure as before."""
        sure, self.sure = self.sure, False
        self.health.refill()
        try:
            self._folder.fill(want)
        except Unwritable:
            self.sure = sure
            raise
        self._unnamed, self._unwritable = [], ""

    def _restart(self, want: DhcpServer, end: Sequence[LiveLease] = ()) -> None:
        """Start it, after the end of what runs. It keeps its leases, but for those in `end`.

        In a namespace it may be the successor of another host's, which gave leases.
        """
        try:
            self._folder.make()
            if want.namespace and not self._ground.leases.live(want.name):
                self._ask(want)
            self._fill(want)
        except Unwritable as error:
            self._start_as_filed(error)
            return
        self._start(want, end)

    def _start_as_filed(self, obstacle: Unwritable) -> None:
        """Start what does not serve with its files of before; they are older, and no address in them is anybody else's.

        Raises:
            LessorError: always, with what is in the way.
        """
        filed, process = self._folder.filed(), self.process
        goes_on = process and process.alive() and not self.health.is_hung(process)
        if filed and not goes_on:
            self._start(filed, ())
        serving = "serves with its reservations of before" if filed else "does not run"
        label = self._ground.label(self.loaded)
        raise LessorError(f"dnsmasq of {label} {serving}: {obstacle}") from obstacle

    def _start(self, want: DhcpServer, end: Sequence[LiveLease]) -> None:
        leases = self._ground.leases
        if end and not leases.has_room():
            raise LessorError(f"{len(end)} leases of {want.name} can't be ended: the disk is full")
        self.sure = False
        environ = {**self._environ(want), "LESSOR_LEASES": str(self._table.path)}
        self._stop()
        if not any(map(is_tagged, want.reservations.values())):
            self._folder.untag()
        tried(self._alarm.arm)
        without_leases = tried(lambda: self._hand_over_leases(want, end))
        try:
            start(self._ground.run, command_line(want, self._folder.paths), environ, want.namespace)
        finally:
            self._table.remove()
        found = find(self._folder.paths)
        if not found:
            raise CommandError(f"dnsmasq of {want.name} ended right after its start; see its log")
        self.process = found[0]
        self._filter()
        self._ground.watch(self._folder)
        self._settle(want)
        for error in without_leases:
            label = self._ground.label(want)
            raise LessorError(f"dnsmasq of {label} started without its leases: {error}")

    def _hand_over_leases(self, want: DhcpServer, end: Sequence[LiveLease]) -> None:
        """Write the leases that it starts with; without, it learns of them at renewals."""
        leases = self._ground.leases
        leases.end(want.name, end)
        leases.seed(want.name, self._missing)
        self._missing = []
        leases.end_expired(want.name)
        self._table.write(leases.live(want.name).values())

    def _settle(self, loaded: DhcpServer) -> None:
        self._folder.trust()
        self.loaded = loaded
        self._stamp = self._folder.stamp()
        self._reloaded_at = self._ground.clock()
        self.health.unproven = _any(loaded)
        self.sure = True
        self.health.serves(loaded)

    def _stop(self) -> None:
        """End every dnsmasq of this folder: the known one, and any that a killed agent left.

        One that is dying has no command line any more, but its sockets still: it is waited for.
        """
        if self.process:
            self.process.stop(hung=self.health.is_hung(self.process))
        self._let_go()
        for process in find_all(self._folder.paths, self._ground.scan()):
            process.stop()
            process.close()

    def _let_go(self) -> None:
        if self.process:
            self._ground.retired.append(self.process)
            self.process = None

    def _end_strays(self) -> None:
        """End the leases that no reservation stands behind; start it without those that stay."""
        if left := self._strays.end(self.loaded):
            self._restart(self.loaded, left)

    def _heed_alarm(self) -> None:
        """Have all leases reported again after an event was lost, once there is room for them.

        Where a reload would be a restart there is none: only the process knows what was lost, and
        renewals will tell.
        """
        if not self._alarm.raised():
            return
        if not self._ground.leases.has_room():
            raise LessorError(
                f"lease events of {self.name} are lost: {self._ground.hook.inbox.folder} has no room; "
                "free some (DHCP goes on)"
            )
        self._alarm.clear()  # before: what is lost of what comes now raises it again
        if self.process and not self._folder.tagged:
            self.process.hang_up(tagged=self._folder.tagged)

    def _environ(self, server: DhcpServer) -> dict[str, str]:
        """Return what the hook needs for events, and what the process stands on."""
        return {
            "LESSOR_SPOOL": str(self._ground.hook.inbox.current),
            "LESSOR_INSTANCE": server.name,
            "LESSOR_ALARM": str(self._alarm.path),
            "LESSOR_FOOTING": footing(server, self._folder),
        }


def _of_nobody(lease: LiveLease) -> Reservation:
    return Reservation("", "", "", lease.mac, lease.address, "", "")


def _any(server: DhcpServer) -> Reservation | None:
    return next(iter(server.reservations.values()), None)
