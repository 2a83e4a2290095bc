"""A node of the lab: a machine made of namespaces.

It has its own network, mount, UTS and pid namespaces, a private /run, /var/lib/lessor and
/etc/lessor, and a shell as pid 1 that reaps. Killing that shell ends every process in the node,
and with the last one its namespaces and links. Network namespaces created inside have their names
in the node's own /run/netns.

Its pid 1 has INIT_NAME, the lab's folder and the node's name as arguments. The lab finds it by
them, even if the lab was killed before it stored anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from lessor.errors import CommandError, NotFound
from lessor.lab.process import Process, is_alive, kill, processes, read_process, run

INIT_NAME = "lessor-lab-node"
PRIVATE = ("/var/lib/lessor", "/etc/lessor")  # from the lab's folder, by these names inside

# Order: the folders are bound before /run is hidden, because the lab may be under /run.
INIT = """
set -e
folder=$1 name=$2 state=$3 etc=$4
mount --rbind "$state" /var/lib/lessor  # with the disks that are mounted below it
mount --bind "$etc" /etc/lessor
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/netns /run/lock
touch /run/resolv.conf  # this machine's name servers are not the node's
if [ -f /etc/resolv.conf ]; then mount --bind /run/resolv.conf /etc/resolv.conf; fi
mount -t sysfs sysfs /sys
mount -t proc proc /proc
echo "$name" >/proc/sys/kernel/hostname
ip link set lo up
echo ready
exec >/dev/null 2>&1 </dev/null
set +e
while :; do sleep 86400 & wait; done
"""


class Node:
    """A node by its name, whether it runs or not."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._lab = folder
        self.state_dir = folder / "nodes" / name / "state"  # /var/lib/lessor inside
        self.etc_dir = folder / "nodes" / name / "etc"  # /etc/lessor inside
        self.log_dir = folder / "log"
        self._init: Process | None = None

    def start(self) -> None:
        """Create the namespaces and their pid 1.

        Raises:
            CommandError: the kernel refuses, or a program is missing.
        """
        for path in (self.state_dir, self.etc_dir, self.log_dir, *map(Path, PRIVATE)):
            path.mkdir(parents=True, exist_ok=True)
        unshare = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child")
        init = ("sh", "-c", INIT, INIT_NAME, str(self._lab), self.name)
        argv = ("setsid", "--fork", *unshare, *init, str(self.state_dir), str(self.etc_dir))
        with (
            self.log("init").open("ab") as log,
            # setsid ends at once: pid 1 of this machine, not we, is the one to reap the node
            subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=self.env()
            ) as setsid,
        ):
            assert setsid.stdout is not None
            ready = setsid.stdout.readline()
        if ready != b"ready\n":
            words = self.log("init").read_text().strip()
            raise CommandError(f"starting lab node {self.name}: {words or 'it ended at once'}")

    @property
    def init(self) -> Process:
        """The node's pid 1, in this machine's pid namespace.

        Raises:
            NotFound: the node doesn't run.
        """
        if self._init is None or not is_alive(self._init):
            self._init = next((init for init, name in inits(self._lab) if name == self.name), None)
        if self._init is None:
            raise NotFound(f"lab node {self.name} doesn't run; see lessor lab status")
        return self._init

    @property
    def root(self) -> Path:
        """The node's file system, as a folder of this machine."""
        return Path(f"/proc/{self.init.pid}/root")

    @property
    def netns(self) -> Path:
        """The node's network namespace."""
        return Path(f"/proc/{self.init.pid}/ns/net")

    def is_running(self) -> bool:
        """Whether its pid 1 is alive."""
        try:
            return is_alive(self.init)
        except NotFound:
            return False

    def log(self, what: str) -> Path:
        """Return the file with the output of one of its programs."""
        return self.log_dir / f"{self.name}-{what}.log"

    def env(self) -> dict[str, str]:
        """Return the environment of its programs: of the caller's only the PATH."""
        tools = Path(sys.executable).parent  # where `lessor` is installed
        path = f"{tools}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {
            "PATH": path,
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "TERM": os.environ.get("TERM", "dumb"),
        }

    def entering(self, netns: str | None = None) -> tuple[str, ...]:
        """Return the arguments before a command that run it in the node, or in its namespace."""
        pid = self.init.pid
        net = f"--net={self.root}/run/netns/{netns}" if netns else "--net"
        return ("nsenter", f"--target={pid}", "--mount", "--uts", "--pid", net, "--wd=/", "--")

    def exec(
        self,
        *argv: str,
        netns: str | None = None,
        stdin: str | None = None,
        timeout_s: float = 30,
    ) -> str:
        """Run a program in the node and return its standard output.

        Raises:
            CommandError: no such program, an exit status other than 0, or a timeout.
        """
        return run((*self.entering(netns), *argv), stdin=stdin, timeout_s=timeout_s, env=self.env())

    def exec_here(self, *argv: str, stdin: str | None = None) -> str:
        """Run a program in the node's network namespace only, with this machine's files and pids.

        Raises:
            CommandError: as `exec` does.
        """
        return run(("nsenter", f"--net={self.netns}", "--", *argv), stdin=stdin, env=self.env())

    def call(self, *argv: str, netns: str | None = None) -> int:
        """Run a program in the node on this terminal and return its exit status."""
        return subprocess.run(
            (*self.entering(netns), *argv), check=False, env=self.env()
        ).returncode

    def spawn(
        self,
        what: str,
        *argv: str,
        netns: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a program in the background; its output goes to `log(what)`.

        Raises:
            CommandError: it ended at once.
        """
        shell = ("sh", "-c", 'setsid "$@" </dev/null >&2 & echo $!', "sh")
        with self.log(what).open("ab") as log:
            done = subprocess.run(
                (*self.entering(netns), *shell, *argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.env() | dict(env or {}),
                check=False,
            )
        process = read_process(int(done.stdout or 0), self.proc)
        if process is None:
            raise CommandError(
                f"{' '.join(argv)} on {self.name}: ended at once: {self.last_words(what)}"
            )
        return process

    def last_words(self, what: str) -> str:
        """Return the last lines of a program's output."""
        log = self.log(what)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join(lines[-8:])

    @property
    def proc(self) -> Path:
        """The node's /proc, with pids of its own pid namespace."""
        return self.root / "proc"

    def find(self, program: str) -> list[Process]:
        """Return the node's processes of a program, such as dnsmasq."""
        return [
            process for process, words in processes(self.proc) if Path(words[0]).name == program
        ]

    def kill(self, process: Process, signal: str = "KILL") -> bool:
        """Send a signal to a process of this node. False: it had ended."""
        if not is_alive(process, self.proc):
            return False
        try:
            self.exec("sh", "-c", f"kill -{signal} {process.pid}")
        except CommandError:
            if is_alive(process, self.proc):
                raise
            return False  # it ended meanwhile, for example as a child of one killed before
        return True

    def stop(self) -> None:
        """End all processes of the node."""
        for init, name in inits(self._lab):
            if name == self.name:
                kill(init)


def inits(folder: Path) -> Iterator[tuple[Process, str]]:
    """Yield pid 1 and name of each running node of the lab in `folder`."""
    for process, words in processes():
        match words:
            case ["sh", "-c", _, marker, lab, name, *_] if (marker, lab) == (
                INIT_NAME,
                str(folder),
            ):
                yield process, name
