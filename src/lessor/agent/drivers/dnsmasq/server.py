"""One dnsmasq: what it has loaded, and how it reaches the desired state.

A new reservation is a new file, live at once. A removed one takes a reload, after which dnsmasq
reports every lease again, so changes are gathered: `bring()` raises `Pending` until a reload is
due. A reload is a SIGHUP, or a restart if dnsmasq may have read a `set:` tag (dataplane.md 2.3).
A lease without a reservation is ended after the reload.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from lessor.agent.drivers.dnsmasq.alarm import Alarm
from lessor.agent.drivers.dnsmasq.context import DnsmasqContext, fingerprint
from lessor.agent.drivers.dnsmasq.faults import Health
from lessor.agent.drivers.dnsmasq.filter import attach_filter
from lessor.agent.drivers.dnsmasq.folder import ServerFolder, Stamp, Unwritable
from lessor.agent.drivers.dnsmasq.orphans import REPORT_S, Orphans
from lessor.agent.drivers.dnsmasq.process import Process, find, find_all, start
from lessor.agent.drivers.dnsmasq.starttable import StartTable
from lessor.core.diff import Unsound
from lessor.core.dnsmasq.command import command_line, plan
from lessor.core.dnsmasq.files import is_tagged, reserved_names
from lessor.core.leases import LiveLease, peer_leases
from lessor.core.state import DhcpServer, Reservation
from lessor.errors import CommandError, LessorError, Pending
from lessor.netns import identity
from lessor.steps import tried

# Fingerprint of what a process was started on, in its environment. The name is that of 0.1.0, so
# that an upgraded agent restarts no server.
FINGERPRINT = "LESSOR_FOOTING"
MIN_GAP_S = 1.0  # between two reloads of one server
# Restarts for changes that projects may make (subnets): so many at once, then one in so many
# seconds. A restart leaves the whole bridge without answers for 30 to 100 ms.
RESTARTS, RESTART_S = 10, 1.0
REPORT_SHARE = 0.25  # of a processor that reports after reloads may take
WALK_S = 50e-9  # of dnsmasq's time for each lease and reservation, which it compares at each file
NAMES_SHARE = 0.005  # of its time that files of names may take: of 200 VMs one waits for them
MAX_NAMES_S = 60.0  # that a name waits for others; a VM has its own with its lease


class Server:
    """The dnsmasq of one folder; `sure` says that `loaded` is what it has read."""

    def __init__(self, context: DnsmasqContext, folder: ServerFolder, loaded: DhcpServer) -> None:
        self._context = context
        self._folder = folder
        self._stamp: Stamp = ()
        self._reloaded_at = float("-inf")
        self._free_restarts, self._counted_at = float(RESTARTS), float("-inf")
        self._orphans = Orphans(context)
        self._alarm = Alarm(context.runtime / "alarms" / loaded.name, context.hook.group)
        self._table = StartTable(context.runtime / "leases" / loaded.name)
        self._missing: list[LiveLease] = []  # of peers; a start takes them
        self._unnamed: list[Reservation] = []  # live, but for their names
        self._named_at = float("-inf")
        self._unwritable = ""  # why names could not be written; "": they could
        self._unfiltered = ""  # why it hears requests for other clients; "": it doesn't
        self.asked_at = float("-inf")
        self.health = Health(context, folder)
        self.process: Process | None = None
        self.loaded = loaded
        self.sure = False

    @property
    def name(self) -> str:
        """The bridge's name or the network's id; names the folder, and the server in events."""
        return self.loaded.name

    @property
    def folder(self) -> ServerFolder:
        """Its files."""
        return self._folder

    def adopt(self) -> None:
        """Read what a server has loaded that an earlier agent started."""
        found = find(self._folder.paths, self._context.scan())
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
            self._context.watch(self._folder)
            self.health.unproven = _any(self.loaded)
        except (OSError, ValueError):
            self.sure = False

    def look(self, *, verify: bool) -> None:
        """Notice a dead process, a fault, and foreign changes of folder or interface."""
        if verify:
            tried(self._alarm.arm)
            self._filter()
        process = self.process
        alive = process is not None and process.alive()
        if process and self.sure and self.health.stop_reason(process, self.loaded, alive=alive):
            self.sure = False
        if not alive:
            self._retire_process()
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
                started_on = self.process.environ().get(FINGERPRINT)
                self.sure = started_on == fingerprint(self.loaded, self._folder)
        except OSError:
            self.sure = False

    def fetch_peer_leases(self) -> bool:
        """Ask the store for the leases of peers; False: it is unreachable."""
        return self._ask(self.loaded)

    def wants_peer_leases(self) -> bool:
        """Tell whether peers may give leases, or gave some that were never fetched."""
        others = self.has_peers() or self._folder.lacks_peer_leases
        return self.sure and others and self._context.known is not None

    def seen(self) -> DhcpServer | Unsound[DhcpServer]:
        """Return what is loaded; a lease without a reservation is one without a port.

        Without ranges and reservations if the server is dead, or if it is unknown what it has.
        """
        if why := self._fault():
            known = self.loaded if self.sure else replace(self.loaded, ranges=(), reservations={})
            return Unsound(known, why)
        orphans = {str(one.address): _without_port(one) for one in self._orphans.of(self.loaded)}
        reservations = self.loaded.reservations | orphans if orphans else self.loaded.reservations
        return replace(self.loaded, reservations=reservations)

    def bring(self, want: DhcpServer) -> Iterator[Exception]:
        """Bring it to the desired state, as far as possible; yield the obstacles."""
        if not self.sure:
            yield from tried(lambda: self._restart(want))
        else:
            yield from tried(lambda: self._change(want))
        if self.sure:
            yield from tried(self._handle_lost_events)
            yield from tried(self._end_orphans)
        if complaint := self._complaint():
            yield LessorError(complaint)

    def remove(self) -> None:
        """End it, and its leases: no server holds them any more."""
        self._end()
        if self._context.release:
            leases = self._context.leases
            leases.end(self.name, list(leases.live(self.name).values()))
        if self.loaded.namespace:  # if it comes back, it takes its leases from the store
            self._context.leases.forget(self.name)
        self._remove_files()

    def retire(self) -> None:
        """End it; another program serves, and has its leases."""
        self._end()
        self._remove_files()

    def report_lost_events(self) -> None:
        """Have all leases reported again: events were lost."""
        self._alarm.set()

    def _end(self) -> None:
        self.sure = False
        tried(self._folder.doubt)
        self._stop()

    def _remove_files(self) -> None:
        self._folder.remove()
        self._alarm.remove()
        self._table.remove()

    def _fault(self) -> str:
        """Return why the server is to be brought to the desired state, whatever that is."""
        dnsmasq = f"dnsmasq of {self._context.label(self.loaded)}"
        if not self.process:
            return f"{dnsmasq} does not run"
        if not self.sure:
            return f"it is unknown what {dnsmasq} has loaded"
        if self._missing:
            return f"{dnsmasq} lacks leases of its peers"
        return (
            f"lease events of {self.name} were lost" if self._alarm.raised() else self._complaint()
        )

    def _complaint(self) -> str:
        complaint = self.health.complaint(self.process, self.loaded)
        return complaint or self._unwritable or self._unfiltered

    def _filter(self) -> None:
        """Attach the filter of DHCP clients, also to a process that an older agent started."""
        if not self.process or not self.process.alive():
            return
        self._unfiltered = ""
        for error in tried(partial(attach_filter, self.process)):
            label = self._context.label(self.loaded)
            self._unfiltered = (
                f"dnsmasq of {label} believes what a VM says for another one: {error}"
            )

    def has_peers(self) -> bool:
        """Tell whether other hosts serve the same network."""
        return bool(self.loaded.namespace) and self.loaded.peers

    def _ask(self, server: DhcpServer) -> bool:
        """Find the leases of peers that are missing here; False: the store is unreachable."""
        self.asked_at = self._context.clock()
        networks = dict.fromkeys(r.network_id for r in server.ranges)
        known = self._context.known(tuple(networks)) if self._context.known else ()
        if known is not None:
            owners = {key: one.mac for key, one in server.reservations.items()}
            live = self._context.leases.live(server.name)
            found = peer_leases(known, live, owners)
            unknown = any(one.address not in live for one in found)
            self._missing = found if unknown else []  # longer ones come along
        self._folder.note_peer_leases(fetched=known is not None)
        return known is not None

    def _is_ours_whole(self) -> bool:
        """Tell whether process and files match `loaded` to the last byte."""
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
        """Load what changed into a running server."""
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
        """Write names that wait; return whether that fails for the first time, or works again.

        At each file dnsmasq compares all its reservations with all its leases, and answers nobody
        meanwhile: the more there are, the longer the gap between two files.
        """
        if not (self.sure and self._unnamed and self._is_time_for_names()):
            return False
        self._named_at = self._context.clock()
        before, self._unwritable = self._unwritable, ""
        try:
            self._folder.add_names(self._unnamed)
        except Unwritable as error:
            label = self._context.label(self.loaded)
            self._unwritable = f"dnsmasq of {label} lacks names of new ports: {error}"
        else:
            self._unnamed = []
            self._stamp = self._folder.stamp()
        return bool(before) != bool(self._unwritable)

    def _is_time_for_names(self) -> bool:
        live = len(self._context.leases.live(self.name))
        walk_s = live * len(self.loaded.reservations) * WALK_S
        gap = min(walk_s / NAMES_SHARE, MAX_NAMES_S)
        return self._context.clock() >= self._named_at + gap

    def _await_turn(self, *, urgent: bool) -> None:
        """Wait for the next reload: the more leases it reports again, the longer the gap.

        Raises:
            Pending: it is not due.
        """
        cost = len(self._context.leases.live(self.name)) * REPORT_S / REPORT_SHARE
        gap = MIN_GAP_S if urgent else max(MIN_GAP_S, cost)
        wait = self._reloaded_at + gap - self._context.clock()
        if wait > 0:
            message = f"dnsmasq of {self.name} reloads in {wait:.1f} s; changes are gathered"
            raise Pending(message, key=self.name, retry_s=wait)

    def _await_restart(self) -> None:
        """Limit the restarts that changes cause.

        Raises:
            Pending: there were too many of late.
        """
        now = self._context.clock()
        since = max(0.0, now - self._counted_at)
        free = min(self._free_restarts + since / RESTART_S, RESTARTS)
        if free < 1:
            wait = (1 - free) * RESTART_S
            message = f"dnsmasq of {self.name} restarts in {wait:.1f} s; changes are gathered"
            raise Pending(message, key=self.name, retry_s=wait)
        self._free_restarts, self._counted_at = free - 1, now

    def _reload(self, want: DhcpServer) -> None:
        """Make a running server forget what is no longer desired."""
        if self._missing or self._folder.tagged or any(map(is_tagged, want.reservations.values())):
            self._restart(want)
            return
        assert self.process is not None
        self._fill(want)
        self.process.hang_up(tagged=self._folder.tagged)
        self._settle(want)

    def _fill(self, want: DhcpServer) -> None:
        """Write its files; if they can't be written, nothing has changed."""
        sure, self.sure = self.sure, False
        self.health.refill()
        try:
            self._folder.fill(want)
        except Unwritable:
            self.sure = sure
            raise
        self._unnamed, self._unwritable = [], ""

    def _restart(self, want: DhcpServer, end: Sequence[LiveLease] = ()) -> None:
        """Start it, after the running process ended. It keeps its leases, except those in `end`.

        In a namespace it may succeed a server of another host, which gave leases.
        """
        try:
            self._folder.make()
            if want.namespace and not self._context.leases.live(want.name):
                self._ask(want)
            self._fill(want)
        except Unwritable as error:
            self._start_as_filed(error)
            return
        self._start(want, end)

    def _start_as_filed(self, obstacle: Unwritable) -> None:
        """Start a server that is down with its present files, which are out of date.

        No address in them has another owner.

        Raises:
            LessorError: always, with the obstacle.
        """
        filed, process = self._folder.filed(), self.process
        goes_on = process and process.alive() and not self.health.is_hung(process)
        if filed and not goes_on:
            self._start(filed, ())
        serving = "serves with its reservations of before" if filed else "does not run"
        label = self._context.label(self.loaded)
        raise LessorError(f"dnsmasq of {label} {serving}: {obstacle}") from obstacle

    def _start(self, want: DhcpServer, end: Sequence[LiveLease]) -> None:
        leases = self._context.leases
        if end and not leases.has_room():
            raise LessorError(f"{len(end)} leases of {want.name} can't be ended: the disk is full")
        self.sure = False
        environ = {**self._environ(want), "LESSOR_LEASES": str(self._table.path)}
        self._stop()
        if not any(map(is_tagged, want.reservations.values())):
            self._folder.untag()
        tried(self._alarm.arm)
        without_leases = tried(lambda: self._hand_over_leases(want, end))
        start(self._context.run, command_line(want, self._folder.paths), environ, want.namespace)
        found = find(self._folder.paths)
        if not found:
            raise CommandError(f"dnsmasq of {want.name} ended right after its start; see its log")
        self.process = found[0]
        self._filter()
        self._context.watch(self._folder)
        self._settle(want)
        for error in without_leases:
            label = self._context.label(want)
            raise LessorError(f"dnsmasq of {label} started without its leases: {error}")

    def _hand_over_leases(self, want: DhcpServer, end: Sequence[LiveLease]) -> None:
        """Write the leases that it starts with; without them, renewals bring them back."""
        leases = self._context.leases
        if end:
            tried(lambda: leases.end(want.name, end))  # if it fails, they are orphans again
        leases.seed(want.name, self._missing)
        self._missing = []
        leases.end_expired(want.name)
        self._table.write(leases.live(want.name).values())

    def _settle(self, loaded: DhcpServer) -> None:
        self._folder.trust()
        self.loaded = loaded
        self._stamp = self._folder.stamp()
        self._reloaded_at = self._context.clock()
        self.health.unproven = _any(loaded)
        self.sure = True
        self.health.serves(loaded)

    def _stop(self) -> None:
        """End every dnsmasq of this folder: the known one, and any that a killed agent left.

        A dying process has no command line any more, but still its sockets: it is waited for.
        """
        if self.process:
            self.process.stop(hung=self.health.is_hung(self.process))
        self._retire_process()
        for process in find_all(self._folder.paths, self._context.scan()):
            process.stop()
            process.close()

    def _retire_process(self) -> None:
        if self.process:
            self._context.retired.append(self.process)
            self.process = None

    def _end_orphans(self) -> None:
        """End the leases without a reservation; restart without those that dnsmasq holds on to."""
        if left := self._orphans.end(self.loaded):
            self._restart(self.loaded, left)

    def _handle_lost_events(self) -> None:
        """Have all leases reported again after an event was lost, once there is room for them.

        A server whose reload would be a restart is left alone: only the running process knows the
        lost events; renewals repeat them.
        """
        if not self._alarm.raised():
            return
        if not self._context.leases.has_room():
            folder = self._context.hook.inbox.folder
            raise LessorError(
                f"lease events of {self.name} are lost: {folder} has no room; free some "
                "(DHCP goes on)"
            )
        self._alarm.clear()  # before: what is lost of what comes now raises it again
        if self.process and not self._folder.tagged:
            self.process.hang_up(tagged=self._folder.tagged)

    def _environ(self, server: DhcpServer) -> dict[str, str]:
        """Return what the hook needs for events, and the fingerprint of what it starts on."""
        return {
            "LESSOR_SPOOL": str(self._context.hook.inbox.current),
            "LESSOR_INSTANCE": server.name,
            "LESSOR_ALARM": str(self._alarm.path),
            FINGERPRINT: fingerprint(server, self._folder),
        }


def _without_port(lease: LiveLease) -> Reservation:
    return Reservation("", "", "", lease.mac, lease.address, "", "")


def _any(server: DhcpServer) -> Reservation | None:
    return next(iter(server.reservations.values()), None)
