"""A new system with nothing but what debootstrap makes, to set up Lessor on from nothing.

Its files, processes, name and devices are its own. Its network is this machine's: apt and pip need
one, and get this machine's settings for it, copied when the test runs.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lessor.lab.process import run
from tests.docs.machine import DEVICES

SCRIPTS = Path("/usr/share/debootstrap/scripts")
MAKE_TIMEOUT_S = 900
COPIED = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")
SETTINGS = re.compile(r"(PIP_|https?_proxy$|no_proxy$)", re.IGNORECASE)
UNSHARE = ("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child")
ENTER = f"""
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mkdir -p mnt/repository
mount --bind "$2" mnt/repository
mount -o remount,bind,ro mnt/repository
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/lock
{DEVICES}
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
hostname fresh
shift 2
exec "$@"
"""


class System:
    """A root folder, and a repository that is to be cloned in it, seen there at /mnt/repository."""

    def __init__(self, root: Path, repository: Path) -> None:
        self._root = root
        self._repository = repository

    def run(self, script: str, timeout_s: float) -> tuple[int, str]:
        """Run a shell script in there, as root; return its status and what it printed.

        Raises:
            TimeoutExpired: it has not ended; all that it started is killed.
        """
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        given = {name: text for name, text in os.environ.items() if SETTINGS.match(name)}
        given |= {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8"}
        inside = ("bash", "-ec", script)
        argv = (*UNSHARE, "sh", "-c", ENTER, "sh", str(self._root), str(self._repository), *inside)
        done = subprocess.run(
            argv,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return done.returncode, done.stdout


@contextmanager
def new_system(suite: str, script: str, repository: Path) -> Iterator[System]:
    """Make a minimal system of a Debian or Ubuntu release; it is deleted at the end.

    Args:
        suite: the release's code name.
        script: what debootstrap knows it by, if it doesn't know this release yet.
        repository: a git repository, any branch checked out.

    Raises:
        CommandError: debootstrap failed.
    """
    with TemporaryDirectory(prefix="lessor-system-") as scratch:
        root, bare = Path(scratch) / "root", Path(scratch) / "repository.git"
        run(("git", "clone", "--quiet", "--bare", str(repository), str(bare)))
        options = ("--variant=minbase", "--include=ca-certificates,git")
        universe = ("--components=main,universe",) if script == "gutsy" else ()
        argv = ("debootstrap", *options, *universe, suite, str(root), "", str(SCRIPTS / script))
        run(argv, timeout_s=MAKE_TIMEOUT_S)
        for file in COPIED:
            (root / file[1:]).write_bytes(Path(file).read_bytes())
        settings = run(("apt-config", "dump", "Acquire"))
        (root / "etc/apt/apt.conf.d/99this-machine").write_text(settings)
        yield System(root, bare)
