"""Connects a terminal to a guest's serial console."""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty
from pathlib import Path

LEAVE = b"\x1d"  # Ctrl-], as telnet and virsh have it


def talk(path: Path) -> None:
    """Connect this terminal to a console's socket until Ctrl-] or the guest's end."""
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(str(path))
        tty.setraw(keyboard)
        try:
            _copy(keyboard, console)
        finally:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _copy(keyboard: int, console: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([keyboard, console.fileno()], [], [])
        if console.fileno() in ready:
            said = console.recv(4096)
            if not said:
                return
            os.write(sys.stdout.fileno(), said)
        if keyboard in ready:
            typed = os.read(keyboard, 4096)
            if not typed or LEAVE in typed:
                return
            console.sendall(typed)
