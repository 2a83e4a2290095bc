"""The program that dnsmasq calls with lease events, and the user that it runs as.

Its arguments have names that VMs choose, so it runs as a user that may add to one file and nothing
else. Only `init`, once at the start of a dnsmasq, runs as root: dnsmasq has no other way. It gets
nothing of VMs, and prints the lease table.

Source: dnsmasq(8), --dhcp-scriptuser; dnsmasq 2.90, src/lease.c (`popen` of "init").
"""

from __future__ import annotations

import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lessor.agent.host.atomic import atomic_write
from lessor.agent.leases.inbox import Apart, Inbox, link, writer
from lessor.errors import LessorError

HOOK = Path(__file__).parents[3] / "dhcpbridge" / "lessor-dhcpbridge"  # the one that we ship
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


def hook(folder: Path, spool: Path, chosen: str = "") -> Hook:
    """Prepare the hook, and try it as its user.

    A program of ours that this user can't reach (a checkout in a home folder) is copied.

    Args:
        folder: of the inbox, and of that copy.
        spool: the folder that takes from the inbox.
        chosen: the operator's own program; "": ours.
    """
    user = writer()
    inbox = Inbox(folder, user.pw_gid)
    program = Path(chosen) if chosen else HOOK
    try:
        inbox.make()
        link(inbox, spool)
        _try(user, ': >>"$1"', inbox.current, "write to")
        return Hook(_reached(user, program, folder), user.pw_name, user.pw_gid, inbox)
    except (Apart, Unfit, OSError, subprocess.SubprocessError) as error:
        inbox = Inbox(spool) if isinstance(error, Apart) else inbox
        problem = f"dnsmasq calls the lease hook as root: {error}; then restart the agent"
        return Hook(program, "root", user.pw_gid, inbox, problem)


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
