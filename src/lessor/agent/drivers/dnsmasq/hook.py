"""The program that dnsmasq calls with lease events, and the user that it runs as.

Its arguments have names that VMs choose, so it runs as a user that may add to one file and nothing
else. Only `init`, once at the start of a dnsmasq, runs as root: dnsmasq has no other way. It gets
nothing of VMs, and prints the lease table.

Source: dnsmasq(8), --dhcp-scriptuser; dnsmasq 2.90, src/lease.c (`popen` of "init").
"""

from __future__ import annotations

import errno
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lessor.agent.host.atomic import atomic_write
from lessor.agent.leases.inbox import Inbox
from lessor.errors import LessorError

HOOK = Path(__file__).parents[3] / "dhcpbridge" / "lessor-dhcpbridge"  # the one that we ship
USER = "lessor-hook"  # made by scripts/setup and packaging/sysusers.d
ANYBODY = "nobody"  # whom every system has
TRIAL_S = 10.0
EXECUTABLE = 0o755


@dataclass(frozen=True, slots=True)
class Hook:
    """The hook of a host's dnsmasqs.

    Attributes:
        program: the executable.
        user: the name of the user that it runs as.
        group: that user's group id.
        inbox: where it adds events.
        problem: why it runs as root, and what would help; "" if it doesn't.
    """

    program: Path
    user: str
    group: int
    inbox: Inbox
    problem: str = ""


class Unfit(LessorError):
    """The user lacks a right that the hook needs."""


class Apart(Unfit):
    """The spool can't take the file of the inbox."""


def hook(folder: Path, spool: Path, chosen: str = "") -> Hook:
    """Prepare the hook, and try it as its user.

    A program of ours that this user can't reach (a checkout in a home folder) is copied.

    Args:
        folder: of the inbox, and of that copy.
        spool: the folder that takes from the inbox.
        chosen: the operator's own program; "": ours.
    """
    user = _user()
    inbox = Inbox(folder, user.pw_gid)
    program = Path(chosen) if chosen else HOOK
    try:
        inbox.make()
        _link(inbox, spool)
        _try(user, ': >>"$1"', inbox.current, "write to")
        return Hook(_reached(user, program, folder), user.pw_name, user.pw_gid, inbox)
    except (Unfit, OSError, subprocess.SubprocessError) as error:
        inbox = Inbox(spool) if isinstance(error, Apart) else inbox
        problem = f"dnsmasq calls the lease hook as root: {error}; then restart the agent"
        return Hook(program, "root", user.pw_gid, inbox, problem)


def _user() -> pwd.struct_passwd:
    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        return pwd.getpwnam(ANYBODY)
    return found if found.pw_uid and found.pw_gid else pwd.getpwnam(ANYBODY)


def _link(inbox: Inbox, spool: Path) -> None:
    """Try whether the spool can take the file of the inbox.

    Raises:
        Apart: they are on different file systems.
    """
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    trial = spool / "linked"
    trial.unlink(missing_ok=True)
    try:
        trial.hardlink_to(inbox.current)
    except OSError as error:
        if error.errno == errno.EXDEV:
            where = f"{spool} is on another file system than {inbox.folder}"
            raise Apart(f"{where}; let both be on one") from error
    else:
        trial.unlink()


def _reached(user: pwd.struct_passwd, program: Path, folder: Path) -> Path:
    """Return the program, or a copy that the user can run.

    Raises:
        Unfit: the user can run neither.
        OSError: there can be no copy.
    """
    try:
        _try(user, '[ -x "$1" ]', program, "run")
    except Unfit:
        if program != HOOK:
            raise
        copy = folder / HOOK.name
        _copy(HOOK, copy)
        _try(user, '[ -x "$1" ]', copy, "run")
        return copy
    return program


def _copy(program: Path, copy: Path) -> None:
    """Put a copy in its place, whole; a running one goes on."""
    content = program.read_bytes()
    if copy.exists() and copy.read_bytes() == content:
        copy.chmod(EXECUTABLE)
        return
    atomic_write(copy, content, durable=False, mode=EXECUTABLE)


def _try(user: pwd.struct_passwd, script: str, path: Path, what: str) -> None:
    """Run a script as the user, with the user's rights only.

    Raises:
        Unfit: it fails.
    """
    done = subprocess.run(
        ("/bin/sh", "-c", script, "sh", str(path)),
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TRIAL_S,
        check=False,
    )
    if done.returncode:
        raise Unfit(f"{user.pw_name} can't {_obstacle(user, path, what)}")


def _obstacle(user: pwd.struct_passwd, path: Path, what: str) -> str:
    """Return the obstacle, and what would help."""
    for folder in reversed(path.parents):
        status = folder.stat()
        if not status.st_mode & (0o010 if status.st_gid == user.pw_gid else 0o001):
            return f"enter {folder}; chmod o+x {folder}"
    return f"{what} {path}; see its mode, and how its file system is mounted"
