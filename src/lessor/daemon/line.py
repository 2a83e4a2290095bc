"""The control socket, the agent's end: a message, and its answer within a time.

The process has no rights and reads what guests send, so its answers are a stranger's: bounded, and
checked by whoever asks.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence

from lessor.daemon.control import MAX_MESSAGE, pass_fds
from lessor.daemon.home import Home
from lessor.daemon.process import Process
from lessor.errors import Unavailable

DYING_S = 0.5
ANSWER_S = 3.0  # a process that takes longer hangs


class Line:
    """A connection to a running daemon. For one thread.

    Args:
        home: the folder of the process.
        process: what to watch meanwhile; it stays the caller's.

    Raises:
        Unavailable: nobody listens there.
    """

    def __init__(self, home: Home, process: Process) -> None:
        self._process = process
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)
        try:
            with home.control() as path:
                self._sock.connect(path)
        except OSError as error:  # BlockingIOError as well: so many wait that it hangs
            self._sock.close()
            raise Unavailable(f"process {process.pid} can't be reached: {error}") from error

    def ask(self, message: bytes, fds: Sequence[int] = (), timeout_s: float = ANSWER_S) -> bytes:
        """Send a message with these descriptors, and return its answer.

        After an error there is no telling what the next answer belongs to: close the line.

        Raises:
            Unavailable: the process has ended, or does not answer in time.
        """
        until = time.monotonic() + timeout_s
        try:
            self._wait(select.POLLOUT, until)
            pass_fds(self._sock, message, fds)
            self._wait(select.POLLIN, until)
            answer = self._sock.recv(MAX_MESSAGE)
        except OSError as error:
            raise Unavailable(f"process {self._process.pid}: {error}") from error
        if not answer:
            alive = self._process.alive(DYING_S)  # its sockets are closed before its end
            what = "has closed the connection" if alive else "has ended"
            raise Unavailable(f"process {self._process.pid} {what}")
        return answer

    def close(self) -> None:
        """End the connection."""
        self._sock.close()

    def _wait(self, event: int, until: float) -> None:
        poll = select.poll()
        poll.register(self._sock, event)
        poll.register(self._process.pidfd, select.POLLIN)
        left = max(0.0, until - time.monotonic())
        ready = dict(poll.poll(left * 1000))
        if self._sock.fileno() in ready:
            return
        if ready:
            raise Unavailable(f"process {self._process.pid} has ended")
        raise Unavailable(f"process {self._process.pid} does not answer")
