"""Runs programs as nobody, as dnsmasq may call its hook."""

from __future__ import annotations

import pwd
import subprocess
from pathlib import Path

NOBODY = pwd.getpwnam("nobody")


def as_nobody(script: str, *paths: Path, group: int = NOBODY.pw_gid) -> str | None:
    """Run a script of sh; return what it prints, None if it fails."""
    done = subprocess.run(
        ("sh", "-ec", script, "sh", *map(str, paths)),
        user=NOBODY.pw_uid,
        group=group,
        extra_groups=(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None
