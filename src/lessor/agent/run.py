"""Runs programs."""

from __future__ import annotations

import subprocess
from typing import Protocol

from lessor.errors import CommandError


class Run(Protocol):
    """Runs a program to its end and returns its standard output."""

    def __call__(self, *argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        """Run `argv`.

        Raises:
            CommandError: it isn't there, exited with another status than 0, or took too long.
        """


def run(*argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
    """Run a program on this host; see `Run`."""
    shown = " ".join(argv)
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError as error:
        raise CommandError(f"{shown}: there is no program {argv[0]}; install it") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{shown}: still running after {timeout_s:g} s") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip()
        raise CommandError(f"{shown}: exit {done.returncode}: {words}")
    return done.stdout
