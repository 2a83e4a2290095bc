"""A fresh machine for following a page of the documentation, made of namespaces.

Its files are this machine's, but what is written there is gone with it (an overlay in memory), and
/run, /dev and /etc/lessor are its own. It has an `eth0` (192.0.2.10) towards a host outside
(192.0.2.1), which tells who asks. systemd is its pid 1 where there is one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from lessor.lab.process import run
from lessor.lab.wait import wait_for
from tests.docs.terminal import Terminal

SYSTEMD = Path("/lib/systemd/systemd")
OUTSIDE = "192.0.2.1"
UNSHARE = ("unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child")
# A group of its own before the namespace of groups is made: systemd takes that for the root.
JOIN_GROUP = """
set -e
scratch=$1
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch"/up "$scratch"/work "$scratch"/root "$scratch"/groups
mount -t cgroup2 cgroup2 "$scratch/groups"
mkdir "$scratch/groups/$3"
echo 0 >"$scratch/groups/$3/cgroup.procs"
umount "$scratch/groups"
exec unshare --cgroup -- sh -c "$4" sh "$@"
"""
LEAVE_GROUP = """
set -e
mount -t cgroup2 cgroup2 "$1"
find "$1/${1##*/}" -depth -type d -exec rmdir {} +
"""
# A /dev of its own, in the present folder.
DEVICES = """mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm dev/net
for node in null zero full random urandom tty net/tun; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
"""
# /proc/sys is read-only but for the network: the rest is this machine's too.
INIT = f"""
set -e
scratch=$1 lower=$2 repository=$5 cache=$6
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$scratch/up,workdir=$scratch/work" "$scratch/root"
cd "$scratch/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for folder in tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$folder"; done
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/lock
{DEVICES}rm -rf etc/lessor var/lib/lessor var/lib/lessor-agent var/lib/private/lessor opt/lessor
lend() {{
    mkdir -p "$2"
    mount --bind "$1" "$2"
    mount -o remount,bind,ro "$2"
}}
lend "$repository" mnt/repository
[ "$repository" = /opt/lessor ] || lend "$repository" ".$repository"
lend "$cache" root/.cache/lessor
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
rmdir /.old
hostname fresh
echo fresh >/etc/hostname
ip link set lo up
shift 6
exec env -i container=lxc PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""
# An environment in the checkout there: the repository's packages, but the checkout's own product.
# (The repository's .venv has its own path, which services can't read in /tmp, /home or /root.)
LEND_ENVIRONMENT = r"""/usr/bin/python3 -m venv --without-pip .venv
ls -d "$PWD/src" /mnt/repository/.venv/lib/python3*/site-packages > "$(echo .venv/lib/python3*/site-packages)/lent.pth"
printf '#!%s\nfrom lessor.cli.main import main\nmain()\n' "$PWD/.venv/bin/python" > .venv/bin/lessor
chmod +x .venv/bin/lessor
cp /mnt/repository/.venv/stamp .venv/"""
OUTSIDE_INIT = ("unshare", "--net", "--pid", "--fork", "--kill-child")
SHELL = ("sh", "-c", "set +e; while :; do sleep 86400 & wait; done")


class Machine:
    """A fresh machine and the host outside; `stop` ends all of both.

    Args:
        repository: what a user clones; mounted at /mnt/repository, and at its own path for its
            .venv-clients, read-only.
        cache: cache of the lab's guest, mounted in root's home, read-only.
        lower: folders with its initial files, separated by ":".
    """

    def __init__(self, repository: Path, cache: Path, lower: str = "/") -> None:
        self._places = (str(repository), str(cache))
        self._lower = lower
        self._scratch = Path(tempfile.mkdtemp(prefix="lessor-docs-"))
        self._children: list[subprocess.Popen[bytes]] = []
        self._inits: list[int] = []
        self._terminals: list[Terminal] = []
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - stop() closes it
        self.has_systemd = SYSTEMD.exists()
        self._init = (str(SYSTEMD), "--unit=basic.target") if self.has_systemd else SHELL

    def start(self) -> None:
        """Boot it and the host outside, and lay the cable."""
        words = (str(self._scratch), self._lower, self._scratch.name, INIT, *self._places)
        self._pid = self._child(*UNSHARE, "sh", "-c", JOIN_GROUP, "sh", *words, *self._init)
        self._outside = self._child(*OUTSIDE_INIT, sys.executable, "-m", "lessor.lab.outside")
        try:
            wait_for(self._is_up, 30, "the machine has booted")
        except (TimeoutError, FileNotFoundError) as error:
            self._log.seek(0)
            error.add_note(self._log.read().decode())
            raise
        self._lay_cable()

    def _child(self, *argv: str) -> int:
        """Start a program that forks once and return that child's pid."""
        nothing = subprocess.DEVNULL
        child = subprocess.Popen(argv, stdin=nothing, stdout=nothing, stderr=self._log)
        self._children.append(child)
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        pid = int(wait_for(lambda: children.read_text().split(), 5, argv[-1])[0])
        self._inits.append(pid)
        return pid

    def _is_up(self) -> bool:
        words = Path(f"/proc/{self._pid}/cmdline").read_text().split("\0")[:-1]
        if words != list(self._init) or not self.has_systemd:
            return words == list(self._init)
        asked = subprocess.run(
            (*self.entering(), "systemctl", "is-system-running"), capture_output=True, check=False
        )
        return asked.stdout.strip() in {b"running", b"degraded"}

    def _lay_cable(self) -> None:
        here = ("nsenter", f"--net=/proc/{self._pid}/ns/net", "ip")
        there = ("nsenter", f"--net=/proc/{self._outside}/ns/net")
        far = f"/proc/{self._outside}/ns/net"
        run((*here, *f"link add eth0 type veth peer name eth0 netns {far}".split()))
        for ip, address in ((here, "192.0.2.10"), ((*there, "ip"), OUTSIDE)):
            run((*ip, *f"address add {address}/24 dev eth0".split()))
            run((*ip, "link", "set", "eth0", "up"))
        run((*here, *f"route add default via {OUTSIDE}".split()))

    def entering(self) -> tuple[str, ...]:
        """Return the words that run what follows them in there."""
        everything = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return ("nsenter", f"--target={self._pid}", *everything, "--")

    def terminal(self, environment: dict[str, str], inside: tuple[str, ...] = ()) -> Terminal:
        """Open a terminal in there, as root; `inside` are words that run what follows them."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        given = {"HOME": "/root", "PATH": path, "LANG": "C.UTF-8", "TERM": "xterm"} | environment
        shell = ("setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting")
        terminal = Terminal((*self.entering(), *inside, *shell), given)
        self._terminals.append(terminal)
        return terminal

    def stop(self) -> None:
        """End it, and leave nothing."""
        for terminal in self._terminals:
            terminal.close()
        for pid in self._inits:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # all that is in its pid namespace ends with it
        for child in self._children:
            child.wait(10)
        self._log.close()
        run(("unshare", "--mount", "sh", "-c", LEAVE_GROUP, "sh", str(self._scratch)))
        self._scratch.rmdir()
