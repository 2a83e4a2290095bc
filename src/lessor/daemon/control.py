"""The control socket, the process's end: root sends messages and gets an answer to each.

A message is one packet (SOCK_SEQPACKET) and may pass descriptors along. Nothing here waits: the
caller's loop says when a socket is readable. A peer that does not take its answers, or sends what
is too long, is closed.

Source: unix(7).
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

from lessor.daemon.home import Home

MAX_MESSAGE = 128 << 10  # bytes; net.core.wmem_default has room for it
MAX_FDS = 4
MAX_PEERS = 8
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Closed(Exception):
    """The connection has ended."""


class Peer:
    """One connection. Close it when it is `Closed`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        """Return the descriptor, which is readable when there is a message."""
        return self._sock.fileno()

    def receive(self) -> tuple[bytes, list[int]] | None:
        """Return the next message and its descriptors; None: there is none now.

        Raises:
            Closed: the connection has ended, or a message is too long.
        """
        try:
            data, fds, flags, _ = socket.recv_fds(
                self._sock, MAX_MESSAGE, MAX_FDS, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except OSError as error:
            raise Closed from error
        if not data or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            close_all(fds)
            raise Closed
        return data, fds

    def send(self, answer: bytes) -> None:
        """Send an answer.

        Raises:
            Closed: the peer has gone, or does not take its answers.
        """
        try:
            self._sock.send(answer, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError as error:
            raise Closed from error

    def close(self) -> None:
        """End the connection."""
        self._sock.close()


class Listener:
    """Accepts connections of processes of root, or of the user that made it.

    Args:
        home: the folder with the socket; this process holds its lock.

    Raises:
        OSError: the socket can't be made.
    """

    def __init__(self, home: Home) -> None:
        self._uids = {0, os.geteuid()}
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)
        with home.control() as path:
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - text, as bind() takes it
            before = os.umask(0o177)
            try:
                self._sock.bind(path)
            finally:
                os.umask(before)
        self._sock.listen(MAX_PEERS)

    def fileno(self) -> int:
        """Return the descriptor, which is readable when somebody connects."""
        return self._sock.fileno()

    def accept(self, present: int) -> Peer | None:
        """Return the next connection; None: there is none, or it is refused.

        Args:
            present: the number of connections that there are; a further one may be refused.
        """
        try:
            sock, _ = self._sock.accept()
        except OSError:  # it has gone, or no descriptor is free
            return None
        got = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(got)
        if uid not in self._uids or present >= MAX_PEERS:
            sock.close()
            return None
        sock.setblocking(False)
        return Peer(sock)

    def close(self) -> None:
        """Accept no more connections."""
        self._sock.close()


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors that came with a message."""
    for fd in fds:
        os.close(fd)


def pass_fds(sock: socket.socket, message: bytes, fds: Iterable[int]) -> None:
    """Send a message with descriptors.

    Raises:
        OSError: it can't be sent.
    """
    passed = array.array("i", fds)
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)] if passed else []
    sock.sendmsg([message], control, socket.MSG_NOSIGNAL)
