"""Runs programs."""

from __future__ import annotations

import subprocess
from pathlib import PurePath
from typing import Protocol

from lessor.errors import CommandError

# seconds that a program takes at most on a busy host; one that takes longer hangs, or waits for a
# lock or a daemon that does, and everything else on the host waits with it
LIMITS_S = {
    "ovs-ofctl": 3.0,
    "ovs-appctl": 3.0,
    "nft": 5.0,
    "iptables-save": 5.0,
    "iptables-restore": 5.0,
    "iptables-nft-save": 5.0,
    "iptables-legacy-save": 5.0,
    "sysctl": 2.0,
    "ip": 10.0,  # batches for hundreds of namespaces
}
USUAL_LIMIT_S = 10.0
XTABLES = "; another program may hold the xtables lock, see: fuser -v /run/xtables.lock"


class TookTooLong(CommandError):
    """A program was still running at its limit, and was ended."""


class Run(Protocol):
    """Runs a program to its end and returns its standard output."""

    def __call__(self, *argv: str, stdin: str | None = None, timeout_s: float = 0) -> str:
        """Run `argv`.

        Args:
            argv: the program and its arguments.
            stdin: its standard input.
            timeout_s: its limit; 0: the usual one of the program.

        Raises:
            CommandError: it isn't there, exited with another status than 0, or took too long.
        """


def run(*argv: str, stdin: str | None = None, timeout_s: float = 0) -> str:
    """Run a program on this host; see `Run`."""
    shown = " ".join(argv)
    limit_s = timeout_s or limit_of(argv[0])
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except FileNotFoundError as error:
        raise CommandError(f"{shown}: there is no program {argv[0]}; install it") from error
    except subprocess.TimeoutExpired as error:
        lock = XTABLES if PurePath(argv[0]).name.startswith("iptables") else ""
        raise TookTooLong(f"{shown}: still running after {limit_s:g} s{lock}") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip()
        raise CommandError(f"{shown}: exit {done.returncode}: {words}")
    return done.stdout


def limit_of(program: str) -> float:
    """Return the limit of a program, in seconds."""
    return LIMITS_S.get(PurePath(program).name, USUAL_LIMIT_S)
