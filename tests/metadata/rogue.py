"""Programs in place of the guest process; each misbehaves in its own way.

Executed as `python -m tests.metadata.rogue`; what it does is in the environment's LANG.
"""

import os
import socket
import struct
import sys
import time

from lessor.metadata.messages import (
    HANDED,
    OF_PROCESS,
    AskFacts,
    KeepPassword,
    Left,
    Ready,
    framed,
)

ONE = 1  # number of the first connection
AT_ONCE = {
    "floods": struct.pack("=I", OF_PROCESS + 1),
    "babbles": struct.pack("=I", 5) + b"\xc1abcd",
    "asks twice": framed(AskFacts(ONE, 1)) + framed(AskFacts(ONE, 2)),
    "long password": framed(KeepPassword(ONE, 1, "x" * 1021)),
    "leaves twice": framed(Left(ONE)) * 2 + framed(Left(ONE + 1)),
}


def main(handing: socket.socket, line: socket.socket, what: str) -> None:
    if what == "fails":
        sys.exit("this line is shown")
    line.recv(4096)
    line.sendall(framed(Ready()))
    if what != "lasts":
        data, _, _, _ = socket.recv_fds(handing, HANDED.size, 1)
        assert HANDED.unpack(data) == (ONE,)
    if what == "asks of others":
        ask_of_others(line)
    line.sendall(AT_ONCE.get(what, b""))
    time.sleep(60)


def ask_of_others(line: socket.socket) -> None:
    """Ask for others' metadata, and then for that of the one connection; say what was told."""
    for other in range(ONE + 1, ONE + 50):
        line.sendall(framed(AskFacts(other, other)) + framed(KeepPassword(other, other, "mine")))
    line.sendall(framed(AskFacts(ONE, 7, "127.0.0.9")))
    told = b""
    while b"Answer" not in told:
        told += line.recv(65536)
    sys.exit(f"{told.count(b'Answer')} answer, of {'b' if b'vm-b' in told else 'a'}")


if __name__ == "__main__":
    handing, line = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    main(handing, line, os.environ["LANG"])
