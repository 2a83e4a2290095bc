"""A daemon that answers each message by itself; "stop" makes it hang, "die" ends it."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

from lessor.daemon.control import Closed, Peer, close_all
from lessor.daemon.home import Home
from lessor.daemon.rights import Limits
from lessor.daemon.start import begin, confine, serve

LIMITS = Limits(memory=1 << 30, files=64, file_size=1 << 20)


def main(folder: str, ready: str, *words: str) -> None:
    begun = begin(Home(Path(folder)), int(ready), ("lessor-metadata", "nobody"))
    if words:
        sys.exit(words[0])
    outside = os.open("/", os.O_PATH)
    confine(begun, LIMITS)
    serve(begun)
    poll = select.epoll()
    poll.register(begun.listener, select.EPOLLIN)
    peers: dict[int, Peer] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == begun.listener.fileno():
                peer = begun.listener.accept(len(peers))
                if peer is not None:
                    peers[peer.fileno()] = peer
                    poll.register(peer, select.EPOLLIN)
                continue
            try:
                answer(peers[fd], outside)
            except Closed:
                peers.pop(fd).close()


def answer(peer: Peer, outside: int) -> None:
    message = peer.receive()
    if message is None:
        return
    data, fds = message
    if data == b"stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if data == b"die":
        os.abort()
    if data == b"look":
        data = repr((os.listdir("/"), str(Path.cwd()))).encode()  # noqa: PTH208
    if data == b"escape":
        try:
            os.open("etc/passwd", os.O_RDONLY, dir_fd=outside)
        except PermissionError:
            data = b"kept"
    for fd in fds:
        os.write(fd, data)
    close_all(fds)
    peer.send(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
