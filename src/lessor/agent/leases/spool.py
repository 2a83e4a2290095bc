"""The lease events of this host's DHCP servers, on disk until the store has them.

DHCP servers add lines to a file of the inbox. The agent links that file here as the next numbered
segment, replaces it by an empty one and reads the segment. A writer that had opened the file before
still adds to the segment, so the next one is read only after all writers have closed this one (a
write lease, fcntl(2), is refused until then).

An event's number follows from `state` (the number of events in removed segments) and its place, so
it is the same after any crash: `state` is on disk before a segment is removed, and segments before
it are not read again. Torn lines have no number.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from lessor.agent.host.atomic import atomic_write
from lessor.agent.leases.inbox import Inbox
from lessor.core.leases import LiveLease, event_line, parse_line
from lessor.errors import Invalid
from lessor.model import LeaseEvent
from lessor.wire import decode, encode

ENOUGH = 5000  # events that are handed out at a time
LARGEST = 64 << 20  # bytes of a segment that are read: a million events
ROOM = 8192  # bytes
SHOWN = 80  # characters of a refused line
UPTIME = Path("/proc/uptime")  # the hook reads it too: a shell has no other clock at no cost
_SEGMENT = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True)
class _State:
    epoch: str
    cut: int = 0  # the last event that was handed over
    first: int = 1  # the first segment that is still there
    before: int = 0  # events in the segments before that one


@dataclass(slots=True)
class _Segment:
    size: int
    whole: bool  # no writer has it open any more
    events: list[LeaseEvent]


class Spool:
    """One folder of lease events. One agent reads it; any number of processes write.

    Args:
        folder: of segments and state; made if it is missing.
        inbox: where DHCP servers add events, on the same file system.
        clock: seconds since 1970.
    """

    def __init__(self, folder: Path, inbox: Inbox, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._inbox = inbox
        self._clock = clock
        self._lock = threading.RLock()
        self._read: dict[int, _Segment] = {}
        self._overran = False
        self._log = structlog.get_logger()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(OSError):  # reading reports a full disk
            inbox.make()
        self._is_settled = False
        self._state = self._load()
        self._drop_passed()

    @property
    def epoch(self) -> str:
        """The name of this spool: another spool numbers other events."""
        return self._state.epoch

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder

    @property
    def current(self) -> Path:
        """The file that events are added to."""
        return self._inbox.current

    def read(self, limit: int = ENOUGH, after: int = 0) -> list[LeaseEvent]:
        """Return the first events that are neither cut nor up to `after`, in order."""
        with self._lock:
            start = max(after, self._state.cut)
            found: list[LeaseEvent] = []
            for segment in self._segments():
                skipped = start - segment.events[0].seq + 1 if segment.events else 0
                found += segment.events[max(skipped, 0) :][: limit - len(found)]
                if len(found) >= limit:
                    break
            return found

    def cut(self, upto: int) -> None:
        """Forget the events up to `upto`, which the store has."""
        with self._lock:
            cut = max(upto, self._state.cut)
            first, before = self._state.first, self._state.before
            for index in self._indices():
                segment = self._read.get(index)
                if segment is None or not segment.whole or before + len(segment.events) > cut:
                    break
                first, before = index + 1, before + len(segment.events)
            self._save(_State(self._state.epoch, cut, first, before))
            self._drop_passed()

    def add(self, instance: str, action: str, lease: LiveLease) -> None:
        """Add an event in place of a DHCP server."""
        line = f"\n{event_line(instance, _uptime(), action, lease)}\n".encode()
        self._inbox.make()
        with self.current.open("ab", buffering=0) as file:
            file.write(line)

    def has_room(self) -> bool:
        """Tell whether an event can be written now, without the room reserved for root."""
        trial = self._folder / "trial"
        try:
            disk = os.statvfs(self._folder)
            if disk.f_blocks and disk.f_bavail * disk.f_frsize < ROOM:
                return False
            trial.write_bytes(b"\n" * ROOM)
        except OSError:
            return False
        finally:
            with suppress(OSError):
                trial.unlink(missing_ok=True)
        return True

    def overran(self) -> bool:
        """Tell whether a segment was too large to be read to its end, since the last call."""
        overran, self._overran = self._overran, False
        return overran

    def _segments(self) -> Iterator[_Segment]:
        """Go through the segments, including new ones, as far as their numbers are certain."""
        before = self._state.before
        index = self._state.first
        while self._take(index):
            segment = self._segment(index, before)
            yield segment
            if not segment.whole:
                return
            before += len(segment.events)
            index += 1

    def _segment(self, index: int, before: int) -> _Segment:
        """Read a segment, or return it as read before if nothing was added since."""
        known = self._read.get(index)
        if known and known.whole:
            return known
        with self._path(index).open("rb") as file:
            whole = _has_no_writer(file.fileno())
            status = os.fstat(file.fileno())
            if known and not whole and known.size == status.st_size:
                return known
            text = file.read(min(status.st_size, LARGEST)).decode(errors="replace")
        if whole and status.st_size > LARGEST:
            self._log.error("lease events too many", file=str(file.name), read=LARGEST)
            self._overran = True
        events = self._events(text, before, status.st_mtime, whole=whole)
        made = _Segment(status.st_size, whole, events)
        self._read[index] = made
        return made

    def _events(self, text: str, before: int, latest: float, *, whole: bool) -> list[LeaseEvent]:
        *lines, rest = text.split("\n")
        if whole:
            lines.append(rest)
        booted_at = self._clock() - _uptime()
        events: list[LeaseEvent] = []
        refused: list[str] = []
        for line in filter(None, lines):
            event = parse_line(line, before + len(events) + 1, booted_at, latest)
            if event is None:
                refused.append(line)
            else:
                events.append(event)
        if refused and whole:
            first = refused[0][:SHOWN]
            self._log.warning("lease events refused", lines=len(refused), first=first)
        return events

    def _take(self, index: int) -> bool:
        """Make sure that there is a segment of this number, which no further writer opens.

        False: nothing was written. A crash between the two steps is repaired here.
        """
        known = self._read.get(index)
        if known and known.whole:
            return True
        path = self._path(index)
        if self._is_idle(path):
            return False
        with self._alone():
            self._inbox.make()
            if not path.exists() and not self._begin(path):
                return False
            if path.samefile(self.current):
                self._inbox.renew()
        return True

    def _is_idle(self, path: Path) -> bool:
        """Tell whether nothing was written since the last segment; asked at each look."""
        former = self._folder / "current"
        apart = former == self.current or not former.exists()
        return apart and self._inbox.is_empty() and not path.exists()

    def _begin(self, path: Path) -> bool:
        """Make a segment of the events written since; False: there are none."""
        former = self._folder / "current"  # of DHCP servers that an agent without an inbox started
        if former != self.current and former.exists() and former.stat().st_size:
            former.rename(path)
            return True
        if not self.current.stat().st_size:
            return False
        path.hardlink_to(self.current)
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Exclude other readers meanwhile: `lessor agent plan` reads as well."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _path(self, index: int) -> Path:
        return self._folder / f"{index:012}"

    def _indices(self) -> list[int]:
        names = (path.name for path in self._folder.iterdir())
        return sorted(int(name) for name in names if _SEGMENT.fullmatch(name))

    def _load(self) -> _State:
        """Return the state; a new spool, and one whose state is lost, has a new epoch."""
        try:
            state = decode((self._folder / "state").read_bytes(), _State)
        except (FileNotFoundError, Invalid):
            state = _State(str(uuid.uuid4()), first=min(self._indices(), default=1))
            with suppress(OSError):
                self._save(state)
        else:
            self._is_settled = True
        return state

    def settle(self) -> None:
        """Make sure that the spool's name is on disk, before the server sees it.

        Raises:
            OSError: it can't be written.
        """
        with self._lock:
            if not self._is_settled:
                self._save(self._state)

    def _save(self, state: _State) -> None:
        atomic_write(self._folder / "state", encode(asdict(state)), durable=True)
        self._state = state
        self._is_settled = True

    def _drop_passed(self) -> None:
        for index in self._indices():
            if index < self._state.first:
                with suppress(OSError):  # it is passed over next time as well
                    self._path(index).unlink()
                self._read.pop(index, None)


def _has_no_writer(file: int) -> bool:
    """Tell whether no other descriptor of that file is open, here or in another process.

    An opener that meets the lease makes the kernel send us a signal, so one that is ignored by
    default is chosen.

    Source: fcntl(2), F_SETLEASE.
    """
    fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except BlockingIOError:
        return False
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def _uptime() -> float:
    """Return for how many seconds the host is up."""
    return float(UPTIME.read_text().split()[0])
