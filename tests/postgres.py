"""A PostgreSQL server for tests: in a folder of its own, on a unix socket, ended with the session.

It keeps nothing (fsync off). PostgreSQL refuses root, so it runs as `postgres` there. Databases are
copied from a template that has the tables, and used again, emptied: that takes a third of the time.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from lessor.settings import ServerSettings
from lessor.store.store import Store
from lessor.store.tables import metadata

START_S = 60
OPTIONS = (
    "listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off",
    "autovacuum=off", "max_connections=300", "shared_buffers=32MB", "wal_level=minimal",
    "max_wal_senders=0", "checkpoint_timeout=1h", "log_min_messages=fatal",
)  # fmt: skip


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; Debian keeps them off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if found:
        return found[-1]
    there = shutil.which("postgres")
    assert there, "PostgreSQL is not installed: scripts/setup installs it"
    return Path(there).parent


class Cluster:
    """A server; `start` and `stop` as often as wanted."""

    def __init__(self, folder: Path, options: tuple[str, ...] = OPTIONS) -> None:
        self.folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._spare: list[str] = []
        self._open: dict[str, psycopg.Connection] = {}
        self._made = 0
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "--no-sync", "--auth=trust", "--username=lessor", "--locale=C.UTF-8",
                  "--encoding=UTF8", "--pgdata", str(folder / "data"))  # fmt: skip

    def _run(self, program: str, *args: str) -> None:
        subprocess.run(
            [programs() / program, *args],
            check=True, user=self._user, cwd=self.folder, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [arg for option in self._options for arg in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [programs() / "postgres", "-D", "data", "-k", self.folder, *settings],
                user=self._user, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.conninfo("postgres")).close()
            except psycopg.OperationalError:
                assert time.monotonic() < end, (self.folder / "log").read_text()
                assert self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends connections and writes down, SIGQUIT is a crash."""
        for conn in self._open.values():
            conn.close()
        self._open.clear()
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_S)
            self._process = None

    def conninfo(self, database: str) -> str:
        return f"host={self.folder} user=lessor dbname={database}"

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://lessor@/{database}?host={self.folder}"

    def execute(self, database: str, statement: bytes) -> None:
        with psycopg.connect(self.conninfo(database), autocommit=True) as conn:
            conn.execute(statement)

    def prepare(self) -> None:
        """Make the template: a database with all tables, and nothing in them."""
        self.execute("postgres", b"CREATE DATABASE empty")
        Store.open(ServerSettings(state_dir=self.folder, connection=self.url("empty"))).close()
        self.execute("empty", _EMPTY)

    def blank(self, template: str = "template1") -> str:
        """Return a database without tables, or a copy of another that nobody is connected to."""
        self._made += 1
        made = f"CREATE DATABASE blank{self._made} TEMPLATE {template}"
        self.execute("postgres", made.encode())
        return f"blank{self._made}"

    def leave(self, database: str) -> None:
        """Close our own connection to a database."""
        if database in self._open:
            self._open.pop(database).close()

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give an empty database with all tables; nobody may be connected to it at the end."""
        if not self._spare:
            self._made += 1
            self._spare.append(f"test{self._made}")
            self.execute("postgres", f"CREATE DATABASE test{self._made} TEMPLATE empty".encode())
        name = self._spare.pop()
        yield name
        if name not in self._open:
            self._open[name] = psycopg.connect(self.conninfo(name), autocommit=True)
        self._open[name].execute(_EMPTY)
        self._spare.append(name)


_EMPTY = "; ".join(
    f"DELETE FROM {table.name}"  # noqa: S608 - our own names
    for table in reversed(metadata.sorted_tables)
).encode()


@contextmanager
def cluster(options: tuple[str, ...] = OPTIONS) -> Iterator[Cluster]:
    """Run a server, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="lessor-pg-", dir="/tmp"))
    made = Cluster(folder, options)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)
