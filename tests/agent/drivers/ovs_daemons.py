"""Open vSwitch for a test: its two daemons, in the test's namespace and in folders of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

QUIET = ("--no-chdir", "-vconsole:off", "-vsyslog:off", "-vfile:off")
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class Ovs:
    """The daemons with the userspace datapath, for whoever is in this namespace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connection = f"unix:{folder}/db.sock"
        names = ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")
        self.environment = os.environ | dict.fromkeys(names, str(folder))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self.start_database()
        self.start_switch()

    def start_database(self) -> None:
        if not (self.folder / "conf.db").exists():
            self("ovsdb-tool", "create", f"{self.folder}/conf.db", SCHEMA)
        remote = f"--remote=punix:{self.folder}/db.sock"
        self._start("ovsdb-server", f"{self.folder}/conf.db", remote)
        self.wait(self._answers)
        threads = ("other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1")
        self("ovs-vsctl", "--no-wait", "init", "--", "set", "Open_vSwitch", ".", *threads)

    def _answers(self) -> bool:
        """Tell whether the database takes connections: its socket is there a moment before."""
        with socket.socket(socket.AF_UNIX) as asking:
            return asking.connect_ex(str(self.folder / "db.sock")) == 0

    def start_switch(self) -> None:
        self._start("ovs-vswitchd", self.connection)

    def kill(self, daemon: str) -> None:
        process = self._processes.pop(daemon)
        process.kill()
        process.wait()
        for left in ("db.sock",) if daemon == "ovsdb-server" else ():
            (self.folder / left).unlink()

    def send(self, daemon: str, number: signal.Signals) -> None:
        self._processes[daemon].send_signal(number)

    def pid(self, daemon: str) -> int:
        return self._processes[daemon].pid

    def forget(self) -> None:
        """The database is lost and begins anew."""
        self.kill("ovsdb-server")
        (self.folder / "conf.db").unlink()
        self.start_database()

    def stop(self) -> None:
        for daemon in list(self._processes):
            with contextlib.suppress(ProcessLookupError):
                self._processes[daemon].send_signal(signal.SIGCONT)  # a test may have stopped it
                self._processes[daemon].send_signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait(10)

    def __call__(self, *argv: str) -> str:
        done = subprocess.run(
            argv, env=self.environment, capture_output=True, text=True, check=False, timeout=20
        )
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def wait(self, condition: Callable[[], object], limit_s: float = 10) -> None:
        until = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < until, f"still not so after {limit_s} s"
            time.sleep(0.01)

    def _start(self, daemon: str, *arguments: str) -> None:
        with (self.folder / f"{daemon}.out").open("ab") as output:
            self._processes[daemon] = subprocess.Popen(
                [daemon, *arguments, f"--pidfile={self.folder}/{daemon}.pid", *QUIET],
                env=self.environment,
                stdout=output,
                stderr=output,
            )


@contextmanager
def open_vswitch(folder: Path) -> Iterator[Ovs]:
    """Run Open vSwitch here; its processes end with the block."""
    ovs = Ovs(folder)
    try:
        ovs.start()
        yield ovs
    finally:
        ovs.stop()
