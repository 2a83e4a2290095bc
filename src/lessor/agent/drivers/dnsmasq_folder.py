"""The folder of one dnsmasq: what it reads, and our notes of what it has read.

Ours are the folders of `networks_path` that have a `server.json`: what the server was last told,
without reservations. `doubt` is there while files and process may differ; `tagged` while the
process may have loaded a host with a `set:` tag; `unlearned` while it isn't known what leases other
servers gave. A file comes into place whole, by rename, and
leaves by rename too: dnsmasq complains of files that vanish.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from lessor.core.dnsmasq import Paths
from lessor.core.dnsmasq_files import (
    hosts_file,
    hosts_text,
    is_tagged,
    names_text,
    opts_files,
    port_options,
    read_notes,
)
from lessor.core.state import DhcpServer, Reservation
from lessor.errors import Invalid, LessorError
from lessor.wire import decode, encode

GONE = ".gone-"
NAMES = "names"
Stamp = tuple[int, ...]


class ServerFolder:
    """The files of one server."""

    def __init__(self, root: Path, name: str, hook: Path) -> None:
        self.path = root / name
        self.paths = Paths(self.path, hook)
        self._header = self.path / "server.json"
        self._base = Path(self.paths.base)
        self._doubt = self.path / "doubt"
        self._tagged = self.path / "tagged"
        self._unlearned = self.path / "unlearned"
        self._folders = [self.path / one for one in ("hosts", "opts", NAMES)]

    def make(self) -> None:
        """Make the folders; dnsmasq reads them as nobody.

        Raises:
            LessorError: nobody can't come here.
        """
        for folder in [*self._folders, self.path / "tmp"]:
            folder.mkdir(parents=True, exist_ok=True)
        for folder in [self.path, *self._folders]:
            folder.chmod(0o755)
        for folder in self.path.parents:
            if not folder.stat().st_mode & 0o001:
                raise LessorError(
                    f"dnsmasq reads {self.path} as nobody, who can't enter {folder}; "
                    f"chmod o+x {folder}"
                )

    def header(self) -> DhcpServer | None:
        """Return what the server was last told; None: this is no folder of ours."""
        try:
            return decode(self._header.read_bytes(), DhcpServer)
        except (FileNotFoundError, NotADirectoryError, Invalid):
            return None

    @property
    def doubtful(self) -> bool:
        """Whether the process may have read something else than what is here."""
        return self._doubt.exists()

    @property
    def tagged(self) -> bool:
        """Whether the process may have read a `set:` tag."""
        return self._tagged.exists()

    @property
    def unlearned(self) -> bool:
        """Whether leases of others may be missing here."""
        return self._unlearned.exists()

    def note_learned(self, *, learned: bool) -> None:
        """Note whether it is known what leases others gave."""
        if learned:
            self._unlearned.unlink(missing_ok=True)
        else:
            self._unlearned.touch()

    def doubt(self) -> None:
        """Note that files and process are about to differ; nothing if there are no files."""
        if self.path.exists():
            self._doubt.touch()

    def trust(self) -> None:
        """Note that the process has read what is here."""
        self._doubt.unlink(missing_ok=True)

    def fill(self, server: DhcpServer) -> None:
        """Make the files those of `server`, to the last byte."""
        if any(map(is_tagged, server.reservations.values())):
            self._tagged.touch()
        for folder, wanted in self._wanted(server, {}).items():
            for name in sorted(_names(folder) - wanted.keys()):
                self._drop(folder / name)
            for name, text in wanted.items():
                self._put(folder / name, text)
        self._put(self._base, hosts_text(server.reservations.values()))
        self._put(self._header, encode(replace(server, reservations={})).decode())

    def add(self, reservations: Collection[Reservation], server: DhcpServer) -> None:
        """Put new reservations in place: they are live when this returns."""
        for one in filter(is_tagged, reservations):
            self._tagged.touch()
            self._put(self.path / "opts" / f"port-{one.port_id}", port_options(one, server))
        name, text = hosts_file(reservations)
        self._put(self.path / "hosts" / name, text)

    def rename_all(self, server: DhcpServer) -> None:
        """Put the further names of `server` in place: they are live when this returns."""
        self._put(self.path / NAMES / NAMES, names_text(server))
        self._put(self._header, encode(replace(server, reservations={})).decode())

    def untag(self) -> None:
        """Note that no process of this folder runs, so that none has read a tag."""
        self._tagged.unlink(missing_ok=True)

    def reservations(self) -> dict[str, Reservation]:
        """Return the reservations by what their files say of themselves.

        Raises:
            ValueError: a file isn't ours, or not whole.
        """
        files = [self._base, *(self.path / "hosts").iterdir()]
        read = [one for file in files for one in read_notes(file.read_text())]
        return {str(one.address): one for one in read}

    def has(self, server: DhcpServer) -> bool:
        """Tell whether the files are those of `server`, to the last byte."""
        try:
            present = {path.name: path.read_text() for path in (self.path / "hosts").iterdir()}
            since = {str(one.address) for text in present.values() for one in read_notes(text)}
            based = [one for key, one in server.reservations.items() if key not in since]
            wanted = self._wanted(server, _as_told(server, present))
            return self._base.read_text() == hosts_text(based) and all(
                _names(folder) == files.keys()
                and all((folder / name).read_text() == text for name, text in files.items())
                for folder, files in wanted.items()
            )
        except (OSError, ValueError, KeyError):
            return False

    def stamp(self) -> Stamp:
        """Return what changes when a file comes or goes."""
        return tuple(path.stat().st_mtime_ns for path in (*self._folders, self._base))

    def footing(self) -> str:
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

    def _wanted(
        self, server: DhcpServer, since: Mapping[str, str]
    ) -> Mapping[Path, Mapping[str, str]]:
        """Return the files of each folder; `since` are the reservations that aren't in the base."""
        hosts, opts, names = self._folders
        return {
            opts: opts_files(server),  # before the reservations that need them
            hosts: since,
            names: {NAMES: names_text(server)},
        }

    def _put(self, path: Path, text: str) -> None:
        new = self.path / "tmp" / path.name
        new.write_text(text)
        new.chmod(0o644)
        new.replace(path)

    def _drop(self, path: Path) -> None:
        gone = self.path / "tmp" / path.name
        path.replace(gone)
        gone.unlink()


def our_folders(root: Path, hook: Path) -> dict[str, ServerFolder]:
    """Return the folders of ours in `root`, and end removals that were interrupted."""
    if not root.exists():
        return {}
    for path in root.glob(f"{GONE}*"):
        shutil.rmtree(path)
    folders = {path.name: ServerFolder(root, path.name, hook) for path in sorted(root.iterdir())}
    return {name: folder for name, folder in folders.items() if folder.header() is not None}


def _as_told(server: DhcpServer, files: Mapping[str, str]) -> dict[str, str]:
    """Return what these files of reservations must be, if they are those of `server`."""
    told = ([str(one.address) for one in read_notes(text)] for text in files.values())
    return dict(hosts_file([server.reservations[key] for key in keys]) for keys in told)


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder))  # noqa: PTH208 - names only: there may be thousands
