"""The folder of one dnsmasq: the files it reads, and our notes of what it has read.

Ours are the folders of `networks_path` that have a `server.json`: the server as last loaded,
without reservations. `doubt` is there while files and process may differ; `tagged` while the
process may have loaded a host with a `set:` tag; `unlearned` until leases of peers were fetched. A
file comes into place whole, by rename, and leaves by rename too: dnsmasq complains of files that
vanish. All files of a change are written before the first comes into place, so that a full disk
changes nothing.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lessor.agent.drivers.dnsmasq.hook import Hook
from lessor.agent.drivers.dnsmasq.own import OPEN, OwnFiles
from lessor.core.dnsmasq.command import Paths
from lessor.core.dnsmasq.files import (
    host_line,
    hosts_file,
    hosts_text,
    is_tagged,
    names_file,
    names_text,
    opts_files,
    port_options,
    read_notes,
    reserved_names,
)
from lessor.core.state import DhcpServer, Reservation
from lessor.errors import Invalid, LessorError
from lessor.net.address import place
from lessor.wire import decode, encode

GONE = ".gone-"
NAMES = "names"
Stamp = tuple[int, ...]


class Unwritable(LessorError):
    """A file can't be written; all files are as they were."""


@dataclass(frozen=True, slots=True)
class _Former:
    """What Lessor 0.1.0 wrote first in place of `DhcpServer.peers`; read so that none restarts."""

    authoritative: bool = True


class ServerFolder:
    """The files of one server."""

    def __init__(self, root: Path, name: str, hook: Hook, config_file: str = "") -> None:
        self.path = root / name
        self.paths = Paths(self.path, hook.program, hook.user, config_file)
        self._header = self.path / "server.json"
        self._base = Path(self.paths.base)
        self._doubt = self.path / "doubt"
        self._tagged = self.path / "tagged"
        self._lacking = self.path / "unlearned"
        self._folders = [self.path / one for one in ("hosts", "opts", NAMES)]
        self._own = OwnFiles(self._folders)

    def make(self) -> None:
        """Make the folders; dnsmasq reads them as nobody.

        Raises:
            Unwritable: there is no room for them.
            LessorError: the user nobody can't enter a folder above.
        """
        with _writing(self.path):
            for folder in [*self._folders, self.path / "tmp"]:
                folder.mkdir(parents=True, exist_ok=True)
            for folder in [self.path, *self._folders]:
                if stat.S_IMODE(folder.stat().st_mode) != OPEN:
                    folder.chmod(OPEN)
        for folder in self.path.parents:
            if not folder.stat().st_mode & 0o001:
                raise LessorError(
                    f"dnsmasq reads {self.path} as nobody, who can't enter {folder}; "
                    f"chmod o+x {folder}"
                )

    def header(self) -> DhcpServer | None:
        """Return the server as last loaded; None: this is no folder of ours."""
        try:
            content = self._header.read_bytes()
            server, former = decode(content, DhcpServer), decode(content, _Former)
        except (FileNotFoundError, NotADirectoryError, Invalid):
            return None
        return server if former.authoritative else replace(server, peers=True)

    @property
    def doubtful(self) -> bool:
        """Whether the process may have read other files than these."""
        return self._doubt.exists()

    @property
    def tagged(self) -> bool:
        """Whether the process may have read a `set:` tag."""
        return self._tagged.exists()

    @property
    def lacks_peer_leases(self) -> bool:
        """Whether leases of peers may be missing here."""
        return self._lacking.exists()

    def note_peer_leases(self, *, fetched: bool) -> None:
        """Note whether the leases of peers were fetched."""
        if fetched:
            self._lacking.unlink(missing_ok=True)
        else:
            _touch(self._lacking)

    def doubt(self) -> None:
        """Note that files and process are about to differ, if there are files."""
        if self.path.exists():
            _touch(self._doubt)

    def trust(self) -> None:
        """Note that the process has read what is here."""
        self._doubt.unlink(missing_ok=True)

    def fill(self, server: DhcpServer) -> None:
        """Make the files those of `server`, to the last byte, and note a doubt before the first.

        Raises:
            Unwritable: nothing has changed.
        """
        if any(map(is_tagged, server.reservations.values())):
            _touch(self._tagged)
        wanted = self._wanted(server)
        files = {folder / name: text for folder, of in wanted.items() for name, text in of.items()}
        base = {self._base: hosts_text(server.reservations.values()), self._header: _head(server)}
        self._stage({**files, **base})
        self.doubt()
        for folder, names in wanted.items():
            for name in sorted(_names(folder) - names.keys()):
                self._drop(folder / name)
            for name in names:
                self._place(folder / name)
        for path in base:
            self._place(path)

    def add(self, reservations: Collection[Reservation], server: DhcpServer) -> None:
        """Put new reservations in place: they are live when this returns. Their names follow.

        Raises:
            Unwritable: nothing has changed.
        """
        files = {}
        for one in filter(is_tagged, reservations):
            _touch(self._tagged)
            files[self.path / "opts" / f"port-{one.port_id}"] = port_options(one, server)
        name, text = hosts_file(reservations)
        files[self.path / "hosts" / name] = text
        self._put(files)

    def add_names(self, reservations: Collection[Reservation]) -> None:
        """Put the names of reservations in place: dnsmasq looks through all it has once a file.

        Raises:
            Unwritable: nothing has changed.
        """
        name, text = names_file(reservations)
        self._put({self.path / NAMES / name: text})

    def unnamed(self, server: DhcpServer) -> list[Reservation]:
        """Return the reservations of `server` that have a name which is in no file."""
        there = self._named()
        named = ((one, reserved_names([one]).rstrip()) for one in server.reservations.values())
        return [one for one, line in named if line and line not in there]

    def rename_all(self, server: DhcpServer) -> None:
        """Put the further names of `server` in place: they are live when this returns.

        Raises:
            Unwritable: nothing has changed.
        """
        self._put({self.path / NAMES / NAMES: names_text(server), self._header: _head(server)})

    def untag(self) -> None:
        """Note that no process of this folder runs, so that none has read a tag."""
        self._tagged.unlink(missing_ok=True)

    def reservations(self) -> dict[str, Reservation]:
        """Return the reservations, by address, as the notes in their files have them.

        Raises:
            ValueError: a file isn't ours, or not whole.
        """
        files = [self._base, *(self.path / "hosts").iterdir()]
        read = [one for file in files for one in read_notes(file.read_text())]
        return {str(one.address): one for one in read}

    def has(self, server: DhcpServer, unnamed: Iterable[Reservation] = ()) -> bool:
        """Tell whether the files are those of `server`, to the last byte.

        Args:
            server: as it should be.
            unnamed: reservations whose names were not put in place yet.
        """
        try:
            present = {path.name: path.read_text() for path in (self.path / "hosts").iterdir()}
            since = _since(server, present)
            hosts, opts, _ = self._folders
            wanted = {
                hosts: {name: hosts_text(reserved) for name, reserved in since.items()},
                opts: opts_files(server),
            }
            return (
                self._base.read_text() == hosts_text(_based(server, since))
                and self._has_names(server, unnamed)
                and all(
                    _names(folder) == files.keys()
                    and all((folder / name).read_text() == text for name, text in files.items())
                    for folder, files in wanted.items()
                )
            )
        except (OSError, ValueError, KeyError):
            return False

    def filed(self) -> DhcpServer | None:
        """Return the server that the files describe; None: they are not whole."""
        header = self.header()
        try:
            return replace(header, reservations=self.reservations()) if header else None
        except (OSError, ValueError):
            return None

    def lost(self, server: DhcpServer) -> list[Reservation]:
        """Return the reservations of `server` that are in no file, by address."""
        there: set[str] = set()
        hosts = self.path / "hosts"
        for path in (self._base, *(hosts.iterdir() if hosts.exists() else ())):
            with suppress(OSError, ValueError):
                there.update(path.read_text().splitlines())
        gone = [one for one in server.reservations.values() if host_line(one) not in there]
        return sorted(gone, key=lambda one: place(one.address))

    def rewritten(self) -> bool:
        """Tell whether the reservations are younger than our note, which we write after them.

        Raises:
            OSError: one of them is missing.
        """
        return self._base.stat().st_mtime_ns > self._header.stat().st_mtime_ns

    def watched(self) -> list[Path]:
        """Return the folders whose files dnsmasq reads."""
        return [self.path, *self._folders]

    def is_foreign(self, path: Path, *, gone: bool) -> bool:
        """Tell whether a change of this file was somebody else's; see `OwnFiles`."""
        if path.parent == self.path and path not in {self._base, self._header, *self._folders}:
            return False
        return self._own.is_foreign(path, gone=gone)

    def own_all(self) -> None:
        """Take the files as they are for ours: they were compared."""
        inner = (one for folder in self._folders for one in folder.iterdir())
        self._own.take([self._base, self._header, *inner])

    def stamp(self) -> Stamp:
        """Return what changes when a file comes or goes."""
        return tuple(path.stat().st_mtime_ns for path in (*self._folders, self._base))

    def fingerprint(self) -> str:
        """Return which folders these are: a dnsmasq watches those that it was started with."""
        return ",".join(str(folder.stat().st_ino) for folder in self._folders)

    def remove(self) -> None:
        """Remove all of it, or what an earlier removal had to leave."""
        gone = self.path.with_name(f"{GONE}{self.path.name}")
        if self.path.exists():
            shutil.rmtree(gone, ignore_errors=True)
            self.path.rename(gone)
        if gone.exists():
            shutil.rmtree(gone)

    def _wanted(self, server: DhcpServer) -> Mapping[Path, Mapping[str, str]]:
        """Return the files of each folder once all reservations are in the base."""
        hosts, opts, names = self._folders
        reserved = reserved_names(server.reservations.values())
        return {
            opts: opts_files(server),  # before the reservations that need them
            hosts: {},
            names: {NAMES: names_text(server), self._base.name: reserved},
        }

    def _named(self) -> set[str]:
        """Return the lines that give reservations their names, of whatever file."""
        files = (path for path in (self.path / NAMES).iterdir() if path.name != NAMES)
        return {line for path in files for line in path.read_text().splitlines()}

    def _has_names(self, server: DhcpServer, unnamed: Iterable[Reservation]) -> bool:
        waiting = {str(one.address) for one in unnamed}
        named = [one for key, one in server.reservations.items() if key not in waiting]
        further = (self.path / NAMES / NAMES).read_text() == names_text(server)
        return further and self._named() == set(reserved_names(named).splitlines())

    def _put(self, files: Mapping[Path, str]) -> None:
        self._stage(files)
        for path in files:
            self._place(path)

    def _stage(self, files: Mapping[Path, str]) -> None:
        """Write the files where nobody reads them yet."""
        for path, text in files.items():
            new = self._new(path)
            with _writing(path):
                new.write_text(text)
                new.chmod(0o644)

    def _place(self, path: Path) -> None:
        """Put a staged file in its place."""
        new = self._new(path)
        self._own.place(path, new)
        new.replace(path)

    def _drop(self, path: Path) -> None:
        gone = self._new(path)
        self._own.drop(path)
        path.replace(gone)
        gone.unlink()

    def _new(self, path: Path) -> Path:
        return self.path / "tmp" / f"{path.parent.name}.{path.name}"


def our_folders(root: Path, hook: Hook, config_file: str = "") -> dict[str, ServerFolder]:
    """Return the folders of ours in `root`, and end removals that were interrupted."""
    if not root.exists():
        return {}
    for path in root.glob(f"{GONE}*"):
        shutil.rmtree(path)
    names = sorted(path.name for path in root.iterdir())
    folders = {name: ServerFolder(root, name, hook, config_file) for name in names}
    return {name: folder for name, folder in folders.items() if folder.header() is not None}


def _since(server: DhcpServer, files: Mapping[str, str]) -> dict[str, list[Reservation]]:
    """Return the reservations of `server` in these files, by the names such files have."""
    noted = ([str(one.address) for one in read_notes(text)] for text in files.values())
    reserved = ([server.reservations[key] for key in keys] for keys in noted)
    return {hosts_file(of)[0]: of for of in reserved}


def _based(server: DhcpServer, since: Mapping[str, Sequence[Reservation]]) -> list[Reservation]:
    """Return the reservations of `server` that aren't in files of their own."""
    own = {str(one.address) for reserved in since.values() for one in reserved}
    return [one for key, one in server.reservations.items() if key not in own]


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder))  # noqa: PTH208 - names only: there may be thousands


def _head(server: DhcpServer) -> str:
    return encode(replace(server, reservations={})).decode()


def _touch(path: Path) -> None:
    with _writing(path):
        path.touch()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say which file can't be written, and why."""
    try:
        yield
    except OSError as error:
        raise Unwritable(f"can't write {path}: {error.strerror}; {_remedy(error)}") from error


def _remedy(error: OSError) -> str:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return "free some space" if full else "see whether its file system is mounted and writable"
